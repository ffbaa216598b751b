package jobs

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"rekey/internal/kinds"
)

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

// FinalVerdicts lists those that are announced.
func FinalVerdicts() []Verdict { return Verdicts()[1:] }

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
	Works       bool       `json:"works,omitempty"` // The verdict is pending, and a read shows that the target works: the API may lag.
	Evidence    []Evidence `json:"evidence"`
}

// EvidenceAnswer is the check of the first evidence: the API's answer to the call.
const EvidenceAnswer = "answer"

// Evidence is what one check showed at one moment.
type Evidence struct {
	At      time.Time `json:"at"`
	Check   string    `json:"check"`
	Status  int       `json:"status,omitempty"` // HTTP status; 0 when no answer came.
	Says    string    `json:"says"`
	EventID string    `json:"event_id,omitempty"` // Of the API's event log.
}

// maxEvidence bounds how many evidences a proof lists: the first one and the latest.
const maxEvidence = 32

// Note adds an evidence. What a check shows once more is one evidence, of the latest moment.
func (p *Proof) Note(e Evidence) {
	e.Says = clip(e.Says)
	for i, have := range slices.Backward(p.Evidence) {
		if have.Check != e.Check {
			continue
		}
		if have.Status == e.Status && have.Says == e.Says && have.EventID == e.EventID {
			p.Evidence[i].At = e.At
			return
		}
		break
	}
	if p.Evidence = append(p.Evidence, e); len(p.Evidence) > maxEvidence {
		p.Evidence = slices.Delete(p.Evidence, 1, 2)
	}
}

// Why is what the latest look shows, for people.
func (p *Proof) Why() string {
	var says []string
	for _, e := range p.Evidence {
		if e.At.Equal(p.CheckedAt) {
			says = append(says, e.Says)
		}
	}
	return strings.Join(says, "; ")
}

// Conclude gives the proof its verdict. next is when the target is looked at next; zero: not any more.
func (r *Record) Conclude(now time.Time, verdict Verdict, next time.Time) {
	p := r.Proof
	p.Verdict, p.NextCheckAt, p.Works = verdict, next, false
	if verdict.Dead() {
		p.VerifiedAt = now
	}
	if !verdict.Alive() {
		r.Sealed = nil // The job is not retried any more.
	}
	if next.IsZero() {
		r.Proving = nil
	}
}

// SourceRepeat is the source of the events that ask for a job once more whose target is back. Their ids are the id of the first job and
// the number of the repeat.
const SourceRepeat = "rekey.proof.repeat"

// ByProof is who retries a job whose target is still alive, where the configuration says so.
const ByProof = "proof.on_still_alive"

// ProofRetries is how often that was done.
func (r *PublicRecord) ProofRetries() (n int) {
	for _, op := range r.Operations {
		if op.Action == ActionRetry && op.By == ByProof {
			n++
		}
	}
	return n
}

// Proving is what the ledger keeps of a proof that is under way, beside what all may see.
type Proving struct {
	// Shown is what each check showed last, and Notes are for its later looks, by the name of the check.
	Shown map[string]kinds.Shows       `json:"shown,omitempty"`
	Notes map[string]map[string]string `json:"notes,omitempty"`
}

// Note keeps what a check showed. The zero Finding is none.
func (p *Proving) Note(check string, f kinds.Finding) {
	if f.Shows == "" {
		return
	}
	if p.Shown == nil {
		p.Shown, p.Notes = map[string]kinds.Shows{}, map[string]map[string]string{}
	}
	p.Shown[check] = f.Shows
	if f.Notes != nil {
		p.Notes[check] = f.Notes
	}
}

// beginProof begins the proof of a job that has just succeeded. The API's answer is its first evidence.
func (r *Record) beginProof() {
	said := Evidence{At: r.FinishedAt, Check: EvidenceAnswer, Says: r.Detail}
	if last := r.lastAttempt(); last != nil {
		said.Status = last.Status
		if r.Outcome == OutcomeRevoked {
			said.Says = fmt.Sprintf("the API answered %s with %d", last.Method, last.Status)
		}
	}
	r.Proof = &Proof{Verdict: VerdictPending, NextCheckAt: r.FinishedAt, Evidence: []Evidence{said}}
	r.Proving = &Proving{}
}

// wantsProof reports whether a success of the job is to be checked.
func (r *PublicRecord) wantsProof() bool { return !r.NoProof && !r.DryRun }

// proves reports whether a success of the job is checked.
func (r *Runner) proves(rec *Record) bool { return r.cfg.Prove && rec.wantsProof() }

// Verdict is what is known of the target since the job's success; "" where that is not checked.
func (r *PublicRecord) Verdict() Verdict {
	if r.Proof == nil {
		return ""
	}
	return r.Proof.Verdict
}

// Concluded reports whether the job has its outcome and, where its target is looked at, a verdict.
func (r *PublicRecord) Concluded() bool { return r.Done() && r.Verdict() != VerdictPending }

// Looking reports whether the job has succeeded, and only its verdict is missing.
func (r *PublicRecord) Looking() bool { return r.Done() && r.Verdict() == VerdictPending }

// Watched reports whether the target is dead, and looked at in case it is back.
func (r *PublicRecord) Watched() bool { return r.LookedAt() && r.Verdict() != VerdictPending }

// LookedAt reports whether the job has succeeded and its target is looked at again.
func (r *PublicRecord) LookedAt() bool {
	return r.Outcome.Success() && r.Proof != nil && !r.Proof.NextCheckAt.IsZero()
}

// CheckAsked is when an operator asked last for a look at a watched target; zero: never.
func (r *PublicRecord) CheckAsked() time.Time {
	for _, op := range slices.Backward(r.Operations) {
		if op.Action == ActionCheck {
			return op.At
		}
	}
	return time.Time{}
}

// Alive reports whether the job has succeeded and its target is known to work.
func (r *PublicRecord) Alive() bool { return r.Outcome.Success() && r.Verdict().Alive() }

// Rehearsed reports whether the job went through as a dry run: everything was done but the call that changes something.
func (r *PublicRecord) Rehearsed() bool {
	if r.Outcome != OutcomeCancelled || len(r.Attempts) == 0 {
		return false
	}
	last := r.Attempts[len(r.Attempts)-1]
	return last.Reason == ReasonNone && !last.MaybeEffective && !last.StartedAt.Before(r.ReopenedAt)
}
