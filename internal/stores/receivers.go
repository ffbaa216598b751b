package stores

import (
	"context"
	"errors"
	"time"

	"rekey/internal/bus"
	"rekey/internal/jobs"
	"rekey/internal/kv"
	"rekey/internal/notify"
)

// Receivers keeps in JetStream the states of receivers and of the notifications that they refused, and which receivers
// are served.
type Receivers struct {
	*kv.Store[notify.State]
	served *kv.Store[mark] // In the same bucket.
}

// mark says that a worker serves a receiver.
type mark struct {
	Worker string `json:"worker"` // Who gave it last.
}

// signKey is the key of the sign of a receiver in the store.
func signKey(receiver string) string { return "served." + receiver }

// NewReceivers returns the store of a connection's namespace.
func NewReceivers(c *bus.Conn) *Receivers {
	bucket := c.Names().Notify()
	return &Receivers{Store: bus.Store[notify.State](c, bucket), served: bus.Store[mark](c, bucket)}
}

// MarkServed gives a sign that a receiver is served, unless another worker gave one after the one that was seen last; zero: whatever
// was given. It returns the latest one.
func (s *Receivers) MarkServed(ctx context.Context, receiver, worker string, seen uint64) (latest uint64, err error) {
	latest, err = s.ServedMark(ctx, receiver)
	if err != nil || seen != 0 && latest != seen {
		return latest, err
	}
	given, err := s.served.Save(ctx, signKey(receiver), mark{Worker: worker}, latest)
	if errors.Is(err, jobs.ErrConflict) {
		return latest, nil // Another worker was faster.
	}
	return given, err
}

// ServedMark returns which sign of a receiver was given last, zero when none was.
func (s *Receivers) ServedMark(ctx context.Context, receiver string) (uint64, error) {
	_, latest, err := s.served.Load(ctx, signKey(receiver))
	return latest, err
}

// Forget drops what is known of a receiver: under the same name another one may come.
func (s *Receivers) Forget(ctx context.Context, name string) error {
	return s.Put(ctx, notify.ReceiverKey(name), notify.State{})
}

// Wake lets a receiver that waits be looked at anew: it was changed, maybe for what it failed for.
// One that fails in this moment, at another worker, waits on.
func (s *Receivers) Wake(ctx context.Context, name string) error {
	state, revision, err := s.Load(ctx, notify.ReceiverKey(name))
	if err != nil || state.RetryAt.IsZero() {
		return err
	}
	state.RetryAt = time.Time{}
	_, err = s.Save(ctx, notify.ReceiverKey(name), state, revision)
	if errors.Is(err, jobs.ErrConflict) {
		return nil
	}
	return err
}
