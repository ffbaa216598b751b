package fleet

import (
	"context"
	"errors"
	"time"

	"rekey/internal/bus"
	"rekey/internal/jobs"
	"rekey/internal/kv"
	"rekey/internal/names"
	"rekey/internal/notify"
)

// NotifyStore keeps in JetStream how receivers and the notifications that they refused stand, and which receivers are served.
type NotifyStore struct {
	bucket *kv.Bucket[notify.State] // Nil: there is none, and nothing is known.
	served *kv.Bucket[mark]         // In the same bucket.
}

// sign is the sign of life of those who serve a receiver.
type mark struct {
	Worker string `json:"worker"` // Who gave it last.
}

// signKey is where the sign of a receiver stands in the store.
func signKey(receiver string) string { return "served." + receiver }

func OpenNotifyStore(ctx context.Context, c *bus.Conn, n names.Names, replicas int) (*NotifyStore, error) {
	bucket, err := kv.Open[notify.State](ctx, c.JetStream(), bus.Bucket(n, n.Notify(), replicas))
	if err != nil {
		return nil, err
	}
	served, err := kv.Find[mark](ctx, c.JetStream(), n.Notify())
	if err != nil {
		return nil, err
	}
	return &NotifyStore{bucket: bucket, served: served}, nil
}

// findNotifyStore returns the store for who only reads. It makes none where no worker has made it yet.
func findNotifyStore(ctx context.Context, c *bus.Conn, n names.Names) (*NotifyStore, error) {
	bucket, err := kv.Find[notify.State](ctx, c.JetStream(), n.Notify())
	if err != nil && !errors.Is(err, jobs.ErrNotFound) {
		return nil, err
	}
	return &NotifyStore{bucket: bucket}, nil
}

// Sign gives a sign that a receiver is served, unless somebody gave one after the one that was seen last; zero: whatever
// was given. It returns the latest one.
func (s *NotifyStore) MarkServed(ctx context.Context, receiver, worker string, seen uint64) (latest uint64, err error) {
	latest, err = s.ServedMark(ctx, receiver)
	if err != nil || seen != 0 && latest != seen {
		return latest, err
	}
	given, err := s.served.Save(ctx, signKey(receiver), mark{Worker: worker}, latest)
	if errors.Is(err, jobs.ErrConflict) {
		return latest, nil // Somebody was faster.
	}
	return given, err
}

// SignOf returns which sign of a receiver was given last, zero when none was.
func (s *NotifyStore) ServedMark(ctx context.Context, receiver string) (uint64, error) {
	_, latest, err := s.served.Load(ctx, signKey(receiver))
	if errors.Is(err, jobs.ErrNotFound) {
		return 0, nil
	}
	return latest, err
}

// Load returns a state and its revision, or a zero one.
func (s *NotifyStore) Load(ctx context.Context, key string) (notify.State, uint64, error) {
	if s.bucket == nil {
		return notify.State{}, 0, nil
	}
	state, revision, err := s.bucket.Load(ctx, key)
	if errors.Is(err, jobs.ErrNotFound) {
		return notify.State{}, 0, nil
	}
	return state, revision, err
}

// Save writes a state over its revision, or returns jobs.ErrConflict.
func (s *NotifyStore) Save(ctx context.Context, key string, state notify.State, revision uint64) error {
	_, err := s.bucket.Save(ctx, key, state, revision)
	return err
}

// Forget drops what is known of a receiver: under the same name another one may come.
func (s *NotifyStore) Forget(ctx context.Context, name string) error {
	return s.bucket.Put(ctx, notify.ReceiverKey(name), notify.State{})
}

// Wake lets a receiver that waits be looked at anew: it was changed, maybe for what it failed for.
// One that fails in this moment, at another worker, waits on.
func (s *NotifyStore) Wake(ctx context.Context, name string) error {
	state, revision, err := s.Load(ctx, notify.ReceiverKey(name))
	if err != nil || state.RetryAt.IsZero() {
		return err
	}
	state.RetryAt = time.Time{}
	err = s.Save(ctx, notify.ReceiverKey(name), state, revision)
	if errors.Is(err, jobs.ErrConflict) {
		return nil
	}
	return err
}
