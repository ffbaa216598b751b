package jobs

import "time"

// Verdict is what is known of a target after a success. The set is closed.
type Verdict string

// The verdicts.
const (
	VerdictPending    Verdict = "pending"     // Not known yet.
	VerdictVerified   Verdict = "verified"    // A read shows that it is dead.
	VerdictRecorded   Verdict = "recorded"    // No read can show it; the API's own event log has it.
	VerdictAccepted   Verdict = "accepted"    // Only the API's answer says so.
	VerdictStillAlive Verdict = "still_alive" // A read shows that it works.
	VerdictReverted   Verdict = "reverted"    // It was dead and is back.
)

// Verdicts lists all verdicts.
func Verdicts() []Verdict {
	return []Verdict{VerdictPending, VerdictVerified, VerdictRecorded, VerdictAccepted, VerdictStillAlive, VerdictReverted}
}

// Dead reports whether something other than the API's answer says that the target is dead.
func (v Verdict) Dead() bool { return v == VerdictVerified || v == VerdictRecorded }

// Alive reports whether the target is known to work.
func (v Verdict) Alive() bool { return v == VerdictStillAlive || v == VerdictReverted }

// Proof is what is known of a job's target since its success, and how.
type Proof struct {
	Verdict     Verdict    `json:"verdict"`
	CheckedAt   time.Time  `json:"checked_at,omitzero"`
	NextCheckAt time.Time  `json:"next_check_at,omitzero"` // Zero: it is not looked at any more.
	Checks      int        `json:"checks"`                 // Looks so far.
	VerifiedAt  time.Time  `json:"verified_at,omitzero"`
	Evidence    []Evidence `json:"evidence"`
}

// Evidence is what one check showed at one moment.
type Evidence struct {
	At      time.Time `json:"at"`
	Check   string    `json:"check"`
	Status  int       `json:"status,omitempty"` // HTTP status; 0 when no answer came.
	Says    string    `json:"says"`
	EventID string    `json:"event_id,omitempty"` // Of the API's event log.
}
