package schedule

import (
	"context"
	"errors"
	"time"
)

// ErrConflict is what a [Store] returns, wrapped or not, when the revision is not the latest: another worker was faster.
var ErrConflict = errors.New("the state was changed by another worker")

// Store keeps the state of each schedule, shared by all workers.
type Store interface {
	// Load returns the state and its revision, or a zero State and revision 0 where there is none.
	Load(ctx context.Context, name string) (state State, revision uint64, err error)
	// Save replaces the state if revision is still the latest one (0: if there is none), and returns the new
	// revision. If it is not, the error wraps ErrConflict and nothing has changed.
	Save(ctx context.Context, name string, state State, revision uint64) (newRevision uint64, err error)
}

// State is what must outlive a worker, per schedule. All times are in UTC.
type State struct {
	// LastFire is the nominal time of the latest tick that fired. Zero: none has.
	LastFire time.Time `json:"last_fire,omitzero"`
	// Settled is the nominal time up to which every tick is dealt with: it has fired, or was missed and passed over.
	Settled time.Time `json:"settled"`
	// Since is when the schedule was first seen as it is. It has no ticks before.
	Since time.Time `json:"since"`
	// Fingerprint identifies the expression and zone that this state belongs to: a changed schedule starts afresh.
	Fingerprint string `json:"fingerprint"`
}

// equal compares the times as instants, which == does not.
func (s State) equal(other State) bool {
	return s.LastFire.Equal(other.LastFire) && s.Settled.Equal(other.Settled) &&
		s.Since.Equal(other.Since) && s.Fingerprint == other.Fingerprint
}

// replaces says whether the stored state s is of another configuration that came after own's. While workers with an
// old and a new configuration run side by side, the new one keeps the record.
func (s State) replaces(own State) bool {
	return s.Fingerprint != own.Fingerprint && s.Since.After(own.Since)
}

// merge joins a worker's own state with the one that another worker has stored meanwhile.
func merge(own, stored State, now time.Time) State {
	if own.Fingerprint != stored.Fingerprint {
		return own
	}
	merged := own
	merged.LastFire = later(own.LastFire, stored.LastFire)
	merged.Settled = later(own.Settled, stored.notAhead(now).Settled)
	if stored.Since.Before(own.Since) {
		merged.Since = stored.Since
	}
	return merged
}

// notAhead returns the state with nothing settled after now. A worker whose clock was ahead must not silence the
// others until their clocks are there; at worst a tick fires a second time, which is the same job.
func (s State) notAhead(now time.Time) State {
	if s.Settled.After(now) {
		s.Settled = now
	}
	return s
}

// later returns the later one of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
