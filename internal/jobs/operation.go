package jobs

import (
	"slices"
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
	for _, op := range slices.Backward(r.Operations) {
		if op.Action == ActionCancel {
			return WithCause("cancelled by "+op.By, op.Reason)
		}
	}
	return "cancelled"
}
