package jobs

import (
	"slices"
	"time"

	"rekey/internal/redact"
)

// reopen puts a record back to the state before its first attempt of a round.
func (r *Record) reopen(op Operation) {
	if r.Done() {
		r.Outcome, r.Detail, r.FinishedAt, r.Proof, r.Proving = "", "", time.Time{}, nil, nil
		r.AttemptsSpent, r.ReopenedAt, r.ExpiresAt, r.FinishedBy = 0, op.At, time.Time{}, 0
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

// cancelDetail tells who asked for the end.
func (r *Record) cancelDetail() string {
	for _, op := range slices.Backward(r.Operations) {
		if op.Action == ActionCancel {
			if op.Reason == "" {
				return "cancelled by " + op.By
			}
			return "cancelled by " + op.By + ": " + op.Reason
		}
	}
	return "cancelled"
}
