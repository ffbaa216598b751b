package show

import (
	"fmt"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/plain"
	"rekey/internal/terminal"
)

// Verdict is what is known of a target.
func Verdict(v jobs.Verdict) terminal.Meant {
	meaning := terminal.Faint
	switch {
	case v.Alive():
		meaning = terminal.Bad
	case v.Dead():
		meaning = terminal.Good
	case v == jobs.VerdictPending, v == jobs.VerdictAccepted:
		meaning = terminal.Worth
	}
	return terminal.Meant{Cell: v, Meaning: meaning}
}

// Proofs are a list of jobs by what is known of their targets.
func Proofs(t *terminal.Table, list []jobs.PublicRecord) {
	t.Head("JOB", "KIND", "TARGET", "PROOF", terminal.Optional("LOOKS"), "LAST LOOK", "NEXT LOOK", "SAYS")
	for _, r := range list {
		p := r.Proof
		t.Wrapped(terminal.ID(r.JobID), r.Kind, target(r.Target), Verdict(p.Verdict), p.Checks, p.CheckedAt, p.NextCheckAt, p.Why())
	}
}

// proofFields show what is known of the target, by what, and when it is looked at next.
func proofFields(t *terminal.Table, r *jobs.PublicRecord) {
	p := r.Proof
	says := terminal.Plural(p.Checks, "look")
	if !p.VerifiedAt.IsZero() {
		says += ", dead " + terminal.Took(p.VerifiedAt.Sub(r.AcceptedAt)) + " after it was asked for"
	}
	label := "shown by"
	switch p.Verdict {
	case jobs.VerdictVerified, jobs.VerdictRecorded:
		label = "proven by"
	case jobs.VerdictAccepted: // No look has shown it.
		label, says = "looked at", terminal.Plural(p.Checks, "time")
	case jobs.VerdictReverted:
		says += ", and back"
	case jobs.VerdictPending, jobs.VerdictStillAlive:
	}
	t.Field(label, says)
	for _, e := range p.Evidence {
		t.Field("  "+e.Check, Evidence(e))
	}
	next := "next look"
	if p.Verdict != jobs.VerdictPending {
		next = "watched, next look"
	}
	t.Field(next, p.NextCheckAt)
}

// Evidence tells what one check showed.
func Evidence(e jobs.Evidence) string {
	line := e.At.Local().Format("2006-01-02 15:04:05.000") + " " + e.Says
	if e.EventID != "" {
		line += ", event " + e.EventID
	}
	return line
}

// ProofProgress is what is known of a target in one line, or "" before it was looked at.
func ProofProgress(r jobs.PublicRecord, now time.Time) string {
	if r.Proof == nil || r.Proof.Checks == 0 {
		return ""
	}
	p := r.Proof
	line := fmt.Sprintf("proof %s after %s", p.Verdict, terminal.Plural(p.Checks, "look"))
	if p.Verdict == jobs.VerdictPending && !p.NextCheckAt.IsZero() {
		line += ", the next one at " + terminal.Clock(p.NextCheckAt, now)
	}
	return jobs.WithCause(line, terminal.Short(plain.Line(p.Why()), 120))
}
