package schedule

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/redact"
)

// Action is what an operator did to a schedule. The set is closed.
type Action string

// The actions of operators.
const (
	ActionPause  Action = "pause"  // From then on no tick fires.
	ActionResume Action = "resume" // The end of a pause. What came due during the pause is not made up for.
	ActionRun    Action = "run"    // A job beside the ticks.
)

// Operation is what an operator did, when and why.
type Operation struct {
	At     time.Time `json:"at"`
	Action Action    `json:"action"`
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
	// JobID is the job that ActionRun made.
	JobID string `json:"job_id,omitempty"`
}

// Errors of operations that callers branch on.
var (
	// ErrPaused says that a schedule is paused already.
	ErrPaused = errors.New("the schedule is paused already")
	// ErrNotPaused says that there is no pause to end.
	ErrNotPaused = errors.New("the schedule is not paused")
)

// maxOperations bounds how many operations a state lists.
const maxOperations = 64

// Operate records an operation on a schedule, and pauses or resumes it, for the whole fleet: a decision on a tick that
// comes after it knows of it. ErrPaused and ErrNotPaused say that there is nothing to do. It returns the new state.
func Operate(ctx context.Context, store Store, name string, op Operation) (State, error) {
	for range saveAttempts {
		state, revision, err := store.Load(ctx, name)
		if err != nil {
			return State{}, fmt.Errorf("loading the state of schedule %s: %w", name, err)
		}
		if err := state.operate(op); err != nil {
			return state, err
		}
		_, err = store.Save(ctx, name, state, revision)
		if err == nil {
			return state, nil
		}
		if !errors.Is(err, jobs.ErrConflict) {
			return State{}, fmt.Errorf("saving the state of schedule %s: %w", name, err)
		}
	}
	return State{}, fmt.Errorf("saving the state of schedule %s: %w", name, jobs.ErrConflict)
}

func (s *State) operate(op Operation) error {
	op.By, op.Reason = redact.Scrub(op.By), redact.Scrub(op.Reason) // Listings show them.
	paused := s.IsPaused()
	switch op.Action {
	case ActionPause:
		if paused {
			return ErrPaused
		}
		s.Pause = op
	case ActionResume:
		if !paused {
			return ErrNotPaused
		}
		s.Pause = Operation{}
	case ActionRun:
		s.LastJob, s.LastJobAt = op.JobID, op.At
	}
	operations := append(append([]Operation{}, s.Operations...), op)
	s.Operations = operations[max(0, len(operations)-maxOperations):]
	return nil
}

// IsPaused reports whether an operator has paused the schedule.
func (s *State) IsPaused() bool { return !s.Pause.At.IsZero() }

// pausedAt reports whether a tick that is due at a moment falls into a pause, the present one or an earlier one. While
// the schedule is paused, nothing fires, however late it is.
func (s *State) pausedAt(due time.Time) bool {
	if s.IsPaused() {
		return true
	}
	var from time.Time
	for _, op := range s.Operations {
		switch op.Action {
		case ActionPause:
			from = op.At
		case ActionResume:
			if !from.IsZero() && !due.Before(from) && due.Before(op.At) {
				return true
			}
			from = time.Time{}
		case ActionRun:
		}
	}
	return false
}
