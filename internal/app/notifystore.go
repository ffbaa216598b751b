package app

import (
	"context"
	"errors"
	"time"

	"rekey/internal/bus"
	"rekey/internal/jobs"
	"rekey/internal/kv"
	"rekey/internal/notify"
)

// keepNotify is how long what is known of a target or a notification is kept: longer than any
// notification is attempted.
const keepNotify = 31 * 24 * time.Hour

// notifyStore keeps in JetStream how targets and the notifications that they refused stand.
type notifyStore struct {
	bucket *kv.Bucket[notify.State]
}

func openNotifyStore(ctx context.Context, c *bus.Conn, n bus.Names, replicas int) (*notifyStore, error) {
	bucket, err := kv.Open[notify.State](ctx, c.JetStream(), kv.Config{
		Bucket: n.Notify(), Description: "How the targets of notifications stand.", TTL: keepNotify, Replicas: replicas,
	})
	if err != nil {
		return nil, err
	}
	return &notifyStore{bucket: bucket}, nil
}

// Load returns a state and its revision, or a zero one.
func (s *notifyStore) Load(ctx context.Context, key string) (notify.State, uint64, error) {
	state, revision, err := s.bucket.Load(ctx, key)
	if errors.Is(err, jobs.ErrNotFound) {
		return notify.State{}, 0, nil
	}
	return state, revision, err
}

// Save writes a state over its revision, or returns jobs.ErrConflict.
func (s *notifyStore) Save(ctx context.Context, key string, state notify.State, revision uint64) error {
	_, err := s.bucket.Save(ctx, key, state, revision)
	return err
}

// wake lets a target that waits be looked at anew: it was changed, maybe for what it failed for.
// One that fails in this moment, at another worker, waits on.
func (s *notifyStore) wake(ctx context.Context, name string) error {
	state, revision, err := s.Load(ctx, notify.TargetKey(name))
	if err != nil || state.RetryAt.IsZero() {
		return err
	}
	state.RetryAt = time.Time{}
	err = s.Save(ctx, notify.TargetKey(name), state, revision)
	if errors.Is(err, jobs.ErrConflict) {
		return nil
	}
	return err
}
