package jobs

import (
	"errors"
	"slices"
	"strings"
	"time"

	"rekey/internal/redact"
)

// maxOperations bounds how many operations a record lists.
const maxOperations = 64

// Action is what an operator did. The set is closed.
type Action string

// The actions of operators.
const (
	ActionRetry  Action = "retry"  // Retried.
	ActionCancel Action = "cancel" // Asked to end before its next attempt.
	ActionReplay Action = "replay" // Replayed from its dead letter.
	ActionDrop   Action = "drop"   // The dead letter was dropped.
	ActionStop   Action = "stop"   // The watch of its target was ended.
	ActionCheck  Action = "check"  // Its target, which is watched, was to be looked at at once.
)

// Errors of operations that callers branch on.
var (
	// ErrSucceeded says that there is nothing to do: the credential is dead.
	ErrSucceeded = errors.New("the job has succeeded; there is nothing to do")
	// ErrEnded says that a job that has ended cannot be cancelled.
	ErrEnded = errors.New("the job has ended")
	// ErrRunning says that a job that runs needs no retry.
	ErrRunning = errors.New("the job is running")
	// ErrAsked says that what is asked for is under way already: nothing is recorded, and the record is as it was.
	ErrAsked = errors.New("it was asked for already; nothing new is recorded")
	// ErrNotWatched says that a watch cannot be ended, for there is none.
	ErrNotWatched = errors.New("the target is not watched")
	// ErrPending says that the target is not watched yet: its proof has no verdict.
	ErrPending = errors.New("the target is not watched yet: its proof is pending")
)

// UnderWay reports whether an error of a retry says that the job is at what it was to do once more.
func UnderWay(err error) bool { return errors.Is(err, ErrRunning) || errors.Is(err, ErrAsked) }

// Operation is what an operator did, when and why.
type Operation struct {
	At     time.Time `json:"at"`
	Action Action    `json:"action"`
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
}

// reopen puts a record back to the state before its first attempt of a round.
func (r *Record) reopen(op Operation) {
	if r.Done() {
		r.Outcome, r.Detail, r.FinishedAt, r.Proof, r.Proving = "", "", time.Time{}, nil, nil
		r.AttemptsSpent, r.ReopenedAt, r.ExpiresAt, r.FinishedBy, r.DroppedAt = 0, op.At, time.Time{}, 0, time.Time{}
	}
	r.CancelAsked, r.ByEvent = false, false // A message of its own comes with this.
	r.requeue()
	r.note(op)
}

// note lists an operation.
func (r *Record) note(op Operation) {
	op.By, op.Reason = redact.Scrub(op.By), redact.Scrub(op.Reason) // Results show them.
	r.Operations = append(r.Operations, op)
	if len(r.Operations) > maxOperations {
		r.Operations = r.Operations[len(r.Operations)-maxOperations:]
	}
}

// WithCause is a text and, where there is one, its cause behind a colon.
func WithCause(text, cause string) string {
	if cause == "" {
		return text
	}
	return text + ": " + cause
}

// cancelDetail tells who asked for the end.
func (r *Record) cancelDetail() string {
	if op := r.cancelled(); op != nil {
		return WithCause("cancelled by "+op.By, op.Reason)
	}
	return "cancelled"
}

// cancelled is the latest operation that asked for the end; nil: there is none.
func (r *Record) cancelled() *Operation {
	for i := range slices.Backward(r.Operations) {
		if r.Operations[i].Action == ActionCancel {
			return &r.Operations[i]
		}
	}
	return nil
}

// tellLate says on a job that has ended otherwise that it was to be cancelled.
func (r *Record) tellLate() {
	const late = " came too late"
	if !r.Done() || !r.CancelAsked || r.Outcome == OutcomeCancelled || strings.HasSuffix(r.Detail, late) {
		return
	}
	text := "the cancellation"
	if op := r.cancelled(); op != nil {
		text += " by " + op.By
	}
	if r.Detail != "" {
		text = "; " + text
	}
	r.Detail += text + late
}

// adopt takes over what intake and operators may have changed on a job while a worker had claimed it.
func (r *Record) adopt(fresh *Record) {
	r.Events, r.EventCount, r.Lane, r.ExpiresAt = fresh.Events, fresh.EventCount, fresh.Lane, fresh.ExpiresAt
	r.Operations, r.CancelAsked, r.NoProof = fresh.Operations, fresh.CancelAsked, fresh.NoProof
	r.tellLate()
}
