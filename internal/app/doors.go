package app

import (
	"context"
	"errors"

	"rekey/internal/bus"
	"rekey/internal/config"
	"rekey/internal/door"
	"rekey/internal/kinds"
	"rekey/internal/wire"
)

// useDoors opens the doors of a configuration in the place of those before. They publish as soon as NATS answers, and ask
// senders to wait until then.
func (w *worker) useDoors(c *config.Config) error {
	rules, err := wire.NewRules(c, w.atlas, wire.Sealer{Keyring: w.keys}, nil)
	if err != nil {
		return err
	}
	containing := kinds.Containing()
	doors, err := door.New(door.Config{
		Doors: wire.Doors(c), Publisher: doorEvents{w.conn}, Sealer: w.keys, Known: w.Known.Set, Recorder: w.metrics, Auditor: w.trail.refusals, Tracer: w.tracer, Logger: w.Logger,
		Finder:    wire.SecretFinder{Rules: rules, Names: w.conn.Names(), Now: w.conn.Clock().Now},
		Bodies:    w.bodies,
		Client:    wire.TransmitterClient,
		LookupEnv: w.LookupEnv, Now: w.conn.Clock().Now,
		Containing: string(containing.Name), ContainingParam: containing.Secrets()[0].Name,
	})
	if err != nil {
		return err
	}
	if err := w.metrics.SetDoors(wire.DoorNames(c)); err != nil {
		return err
	}
	w.api.Doors(doors.Handlers())
	w.doors.Store(doors)
	select {
	case w.doorsChanged <- struct{}{}:
	default: // It is to look already.
	}
	return nil
}

// runDoors polls for the doors that are open until ctx ends.
func (w *worker) runDoors(ctx context.Context) error {
	for ctx.Err() == nil {
		select {
		case <-w.doorsChanged: // Those that are open now are the changed ones.
		default:
		}
		if err := w.pollUntilChanged(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) pollUntilChanged(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- w.doors.Load().Run(ctx) }()
	select {
	case <-ctx.Done():
	case <-w.doorsChanged:
	}
	stop()
	return <-ended
}

// doorEvents stores the events of doors.
type doorEvents struct{ conn *bus.Conn }

// PublishEvent implements door.Publisher.
func (e doorEvents) PublishEvent(ctx context.Context, sender, class string, data []byte, headers map[string]string) error {
	if err := e.conn.Ready(); err != nil {
		return err
	}
	err := e.conn.PublishEvent(ctx, sender, class, data, headers)
	if errors.Is(err, bus.ErrTooLarge) {
		return errors.Join(door.ErrTooLarge, err)
	}
	return err
}
