package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/backoff"
	"rekey/internal/layout"
	"rekey/internal/names"
)

// presenceTimeout bounds the question whether a worker lives. A server answers at once where nothing listens.
const presenceTimeout = 2 * time.Second

// Presence is how a worker's process shows that it lives, and finds out whether another one of its name does: each
// listens on a subject of its own, and where nothing listens, the server says so.
type Presence struct {
	Conn     *Conn
	Worker   string // Its name.
	Instance string // Names the process.
}

func (p Presence) own(instance string) string { return p.Conn.names.Worker(p.Worker) + "." + instance }

// Appear makes this process answer, until the connection ends, and returns the instance of another one that has its
// name and lives, or "".
func (p Presence) Appear(ctx context.Context) (namesake string, err error) {
	answer := func(msg *nats.Msg) {
		if msg.Reply != "" {
			_ = msg.Respond([]byte(p.Instance)) // It fails with the connection, and then we are not there.
		}
	}
	// Who has our name is asked between the two: of two processes that begin at once, one sees the other.
	if _, err := p.Conn.nc.Subscribe(p.own(p.Instance), answer); err != nil {
		return "", fmt.Errorf("answering as worker %s: %w", p.Worker, err)
	}
	if namesake, err = p.ask(ctx, p.Conn.names.Worker(p.Worker)); err != nil {
		return "", err
	}
	if _, err := p.Conn.nc.Subscribe(p.Conn.names.Worker(p.Worker), answer); err != nil {
		return "", fmt.Errorf("answering as worker %s: %w", p.Worker, err)
	}
	ctx, cancel := context.WithTimeout(ctx, presenceTimeout)
	defer cancel()
	if err := p.Conn.nc.FlushWithContext(ctx); err != nil {
		return "", fmt.Errorf("answering as worker %s: %w", p.Worker, err)
	}
	return namesake, nil
}

// Lives reports whether another process of this worker's name is connected to NATS.
func (p Presence) Lives(ctx context.Context, instance string) (bool, error) {
	answer, err := p.ask(ctx, p.own(names.SubjectToken(instance)))
	return answer != "", err
}

// ask returns which instance answers on a subject, or "" when the server says that nothing listens there.
func (p Presence) ask(ctx context.Context, subject string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, presenceTimeout)
	defer cancel()
	msg, err := p.Conn.nc.RequestWithContext(ctx, subject, nil)
	if errors.Is(err, nats.ErrNoResponders) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("asking whether worker %s lives: %w", p.Worker, err)
	}
	return string(msg.Data), nil
}

// HandOverAgain makes the server hand over at once what workers hold that are gone, which it would do when ackWait is
// over. What living workers hold longer than patience may be handed over a second time, which the ledger recognises.
func (c *Conn) HandOverAgain(ctx context.Context, patience time.Duration) error {
	const server = 100 * time.Millisecond // So long a server waits after a change of ack_wait (nats-server, consumer.go).
	var held []layout.Consumer
	for _, want := range layout.Consumers(c.names) {
		info, err := layout.Ask[*jetstream.ConsumerInfo](ctx, c, "CONSUMER.INFO."+want.Stream+"."+want.Durable, nil)
		if err != nil {
			return fmt.Errorf("looking at consumer %s: %w", want.Durable, err)
		}
		if info.NumAckPending > 0 {
			held = append(held, want)
		}
	}
	if len(held) == 0 {
		return nil
	}
	if err := c.setAckWait(ctx, held, patience); err != nil {
		return errors.Join(err, c.setAckWait(ctx, held, layout.AckWait))
	}
	_ = backoff.Sleep(ctx, 2*server+patience)
	// It must not stay so, whatever becomes of ctx.
	return c.setAckWait(context.WithoutCancel(ctx), held, layout.AckWait)
}

func (c *Conn) setAckWait(ctx context.Context, consumers []layout.Consumer, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	for _, want := range consumers {
		cons, err := layout.Ask[*jetstream.ConsumerInfo](ctx, c, "CONSUMER.INFO."+want.Stream+"."+want.Durable, nil)
		if err != nil {
			return fmt.Errorf("looking at consumer %s: %w", want.Durable, err)
		}
		cfg := cons.Config
		cfg.AckWait = wait
		if _, err := c.js.UpdateConsumer(ctx, want.Stream, cfg); err != nil {
			return fmt.Errorf("changing ack_wait of consumer %s: %w", want.Durable, err)
		}
	}
	return nil
}
