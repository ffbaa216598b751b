package fleet

import (
	"context"
	"errors"
	"time"

	"rekey/internal/bus"
	"rekey/internal/jobs"
	"rekey/internal/kv"
	"rekey/internal/names"
	"rekey/internal/schedule"
	"rekey/internal/wire"
)

// ScheduleStore keeps the state of every schedule in JetStream.
type ScheduleStore struct {
	bucket *kv.Bucket[schedule.State]
}

func OpenScheduleStore(ctx context.Context, c *bus.Conn, n names.Names, replicas int) (*ScheduleStore, error) {
	bucket, err := kv.Open[schedule.State](ctx, c.JetStream(), bus.Bucket(n, n.Schedules(), replicas))
	if err != nil {
		return nil, err
	}
	return &ScheduleStore{bucket: bucket}, nil
}

// Load returns the state of a schedule, or a zero one.
func (s *ScheduleStore) Load(ctx context.Context, name string) (schedule.State, uint64, error) {
	state, revision, err := s.bucket.Load(ctx, name)
	if errors.Is(err, jobs.ErrNotFound) {
		return schedule.State{}, 0, nil
	}
	return state, revision, err
}

// Save writes the state of a schedule over its revision.
func (s *ScheduleStore) Save(ctx context.Context, name string, state schedule.State, revision uint64) (uint64, error) {
	revision, err := s.bucket.Save(ctx, name, state, revision)
	if errors.Is(err, jobs.ErrConflict) {
		return 0, schedule.ErrConflict
	}
	return revision, err
}

// MarkRemoved notes in the states that this worker does not have those schedules that are not among its own. One that no
// other worker has either counts as removed.
func (s *ScheduleStore) MarkRemoved(ctx context.Context, configured wire.Requests, keeper string, now time.Time) error {
	all, err := s.bucket.All(ctx)
	if err != nil {
		return err
	}
	for name, state := range all {
		if _, ok := configured[name]; ok {
			continue
		}
		if _, changes := state.Leave(keeper, now); !changes {
			continue
		}
		state, revision, err := s.Load(ctx, name)
		if err != nil {
			return err
		}
		state, _ = state.Leave(keeper, now)
		// With a conflict, a worker that runs the schedule was faster. It is looked at again in a minute.
		if _, err := s.Save(ctx, name, state, revision); err != nil && !errors.Is(err, schedule.ErrConflict) {
			return err
		}
	}
	return nil
}
