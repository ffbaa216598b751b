package pace

import (
	"context"
	"errors"
	"time"

	"rekey/internal/clock"
	"rekey/internal/jobs"
	"rekey/internal/kv"
)

// States is the Store of a fleet, in a key-value bucket. Its writes and its watch show the NATS server's time to the clock.
type States struct {
	*kv.Store[State]
	clock *clock.Clock
}

var _ Store = (*States)(nil)

// NewStates returns the shared states of a bucket.
func NewStates(bucket *kv.Store[State], c *clock.Clock) *States {
	return &States{Store: bucket, clock: c}
}

// Save replaces the state of that revision and returns the new revision, or 0 when another worker was faster.
func (s *States) Save(ctx context.Context, key string, state State, revision uint64) (uint64, error) {
	wrote := s.clock.Begin()
	saved, err := s.Store.Save(ctx, key, state, revision)
	if errors.Is(err, jobs.ErrConflict) {
		return 0, nil
	}
	if err == nil {
		wrote(saved)
	}
	return saved, err
}

// Watch calls changed for the state of every rate bucket, first for the stored ones and then live, and ready once between
// the two, until ctx ends.
func (s *States) Watch(ctx context.Context, changed func(key string, state State, revision uint64), ready func()) error {
	return s.Store.Watch(ctx, func(e kv.Entry[State]) {
		s.clock.Saw(e.Revision, e.Stored)
		changed(e.Key, e.Value, e.Revision)
	}, ready)
}

// Clock returns bounds of what must be added to this machine's clock to get the server's, which the workers share.
func (s *States) Clock() (least, most time.Duration) { return s.clock.Bounds() }
