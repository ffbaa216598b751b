package stores

import (
	"context"
	"errors"
	"time"

	"rekey/internal/bus"
	"rekey/internal/jobs"
	"rekey/internal/kv"
	"rekey/internal/schedule"
	"rekey/internal/wire"
)

// Schedules keeps the state of every schedule in JetStream.
type Schedules struct{ *kv.Store[schedule.State] }

// NewSchedules returns the store of a connection's namespace.
func NewSchedules(c *bus.Conn) Schedules {
	return Schedules{bus.Store[schedule.State](c, c.Names().Schedules())}
}

// MarkRemoved notes in the states that this worker does not have those schedules that are not among its own. One that no
// other worker has either counts as removed.
func (s Schedules) MarkRemoved(ctx context.Context, configured wire.Requests, keeper string, now time.Time) error {
	all, err := s.All(ctx)
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
		if _, err := s.Save(ctx, name, state, revision); err != nil && !errors.Is(err, jobs.ErrConflict) {
			return err
		}
	}
	return nil
}
