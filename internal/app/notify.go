package app

import (
	"context"
	"reflect"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"rekey/internal/bus"
	"rekey/internal/jobs"
	"rekey/internal/notify"
	"rekey/internal/redact"
	"rekey/internal/stores"
	"rekey/internal/wire"
)

// notifier runs the receivers of the configuration that is in force.
type notifier struct {
	*worker
	store   *stores.Receivers
	sender  *notify.Sender
	wanted  atomic.Pointer[[]notify.Receiver]
	changed chan struct{} // Holds a token after wanted was changed.

	removing sync.WaitGroup // Of receivers' places.
}

// startNotify starts telling the receivers. Each has its place in the results before any job can end, for which the upkeep
// sees, or, where that fails, as soon as it works: no job waits for it.
func (w *worker) startNotify(s storage) {
	n := &notifier{
		worker: w, store: s.notify, sender: notify.NewSender(w.Version, w.LookupEnv), changed: make(chan struct{}, 1),
	}
	w.notifier = n
	n.use(wire.Receivers(w.Config))
	w.stack.push("connections to receivers", stopGrace, func(context.Context) error { n.sender.Close(); return nil })
	w.background(partNotify, n.run)
}

// use makes these the receivers, once those under way are settled.
func (n *notifier) use(receivers []notify.Receiver) {
	n.wanted.Store(&receivers)
	select {
	case n.changed <- struct{}{}:
	default: // It is to look already.
	}
}

// served is a receiver that runs.
type served struct {
	receiver notify.Receiver
	stop     func() // Waits for its end.
}

// run keeps the wanted receivers running until ctx ends.
func (n *notifier) run(ctx context.Context) error {
	running := map[string]served{}
	defer func() {
		var stopping sync.WaitGroup
		for _, s := range running {
			stopping.Go(s.stop)
		}
		stopping.Wait()
		n.removing.Wait()
	}()
	for {
		// After a failure this begins anew, and whether anything was changed since does not matter.
		if err := n.change(ctx, running); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-n.changed:
		}
	}
}

// change stops the receivers that are not wanted any more, or otherwise, and starts those that do not run.
func (n *notifier) change(ctx context.Context, running map[string]served) error {
	wanted := *n.wanted.Load()
	names := map[string]notify.Receiver{}
	for _, t := range wanted {
		names[t.Name] = t
	}
	for name, s := range running {
		receiver, stays := names[name]
		if stays && reflect.DeepEqual(receiver, s.receiver) {
			continue
		}
		s.stop()
		delete(running, name)
		if !stays {
			n.removing.Go(func() { n.remove(ctx, name) })
		} else if err := n.store.Wake(ctx, name); err != nil {
			n.log.Warn("a receiver that was changed waits as it did", zap.String("receiver", name), zap.Error(err))
		}
	}
	if err := n.metrics.SetReceivers(wire.ReceiverNames(wanted)); err != nil {
		return err
	}
	for _, t := range wanted {
		if _, runs := running[t.Name]; runs {
			continue
		}
		s, err := n.serve(ctx, t)
		if err != nil {
			return err
		}
		running[t.Name] = s
	}
	return nil
}

// serve starts one receiver. What is wrong with its secrets keeps its own notifications waiting.
func (n *notifier) serve(ctx context.Context, t notify.Receiver) (served, error) {
	if err := n.sender.Check(&t); err != nil {
		n.log.Error("a receiver cannot be notified yet", zap.String("receiver", t.Name), zap.Error(err))
	}
	deliverer, err := notify.NewDeliverer(notify.Config{
		Receiver: t, Sender: n.sender, Store: n.store, DeadLetters: deadLetters{n.conn, n.Known}, Recorder: n.metrics, Logger: n.Logger,
		Now: n.conn.Clock().Now,
	})
	if err != nil {
		return served{}, err
	}
	subscriber := &bus.Subscriber{
		Conn: n.conn, Subscription: wire.SubscriptionOf(&t), Deliverer: deliverer, Recorder: n.metrics, Logger: n.Logger,
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var part sync.WaitGroup
	part.Go(func() { n.keep(ctx, partNotify, subscriber.Run) })
	part.Go(func() { n.showServed(ctx, t.Name) })
	return served{receiver: t, stop: func() { cancel(jobs.ErrStopping); part.Wait() }}, nil
}

// deadLetters stores the dead letters of notifications, without known secrets.
type deadLetters struct {
	conn  *bus.Conn
	known *redact.Known
}

// Add stores the dead letter of a notification.
func (l deadLetters) Add(ctx context.Context, letter notify.DeadLetter) error {
	letter.Reason = l.known.Hide(letter.Reason)
	return l.conn.DeadLetterNotification(ctx, letter)
}
