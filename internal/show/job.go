package show

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/terminal"
)

// Jobs are a list of jobs.
func Jobs(t *terminal.Table, list []jobs.PublicRecord, now time.Time) {
	t.Head("JOB", "KIND", "TARGET", terminal.Optional("LANE"), terminal.Whole("STATE"), "PROOF", terminal.Optional("ATTEMPTS"), "ACCEPTED", terminal.Optional("REQUESTED BY"))
	for _, r := range list {
		t.Row(terminal.ID(r.JobID), r.Kind, target(r.Target), r.Lane, stateInList(r, now), Verdict(r.Verdict()), r.AttemptCount, r.AcceptedAt, r.RequestedBy)
	}
}

// Job is the story of one job: who asked for it, all its attempts, and the proof of what they did.
func Job(t *terminal.Table, r *jobs.PublicRecord) {
	askedFields(t, r)
	stateFields(t, r)
	if r.Rotation != nil {
		rotationFields(t, r)
	} else if r.Search != nil {
		t.Field("search", r.Search)
	}
	t.Field("attempts", fmt.Sprintf("%d, %d spent", r.AttemptCount, r.AttemptsSpent))
	for _, a := range r.Attempts {
		t.Field(fmt.Sprintf("  %d", a.Attempt), Attempt(a))
	}
	if r.Proof != nil {
		proofFields(t, r)
	}
}

// State is the state of a job in a few words: its outcome when it has one.
func State(r jobs.PublicRecord, now time.Time) terminal.Meant {
	switch r.State {
	case jobs.StateDone:
		return terminal.Meant{Cell: r.Outcome, Meaning: outcomeMeaning(r.Outcome)}
	case jobs.StateWaiting:
		text := "waiting until " + terminal.Clock(r.RetryAt, now)
		if r.Paced {
			text = "waiting, its turn is about " + terminal.Clock(r.RetryAt, now)
		}
		return terminal.Meant{Cell: text, Meaning: terminal.Worth}
	case jobs.StateQueued, jobs.StateRunning:
	}
	return terminal.Meant{Cell: r.State}
}

// stateInList is the state of a job for a list, in which moments are ages.
func stateInList(r jobs.PublicRecord, now time.Time) terminal.Meant {
	state := State(r, now)
	if r.State != jobs.StateWaiting {
		return state
	}
	full, short := "waiting until ", "waiting ("
	if r.Paced {
		full, short = "waiting, its turn is about ", "waiting (turn "
	}
	when := "due"
	if r.RetryAt.After(now) {
		when = terminal.Age(r.RetryAt, now)
	}
	state.Cell = terminal.Shortened{Full: full + terminal.Text(r.RetryAt), Short: short + when + ")"}
	return state
}

// outcomeMeaning is what an outcome means to a person.
func outcomeMeaning(o jobs.Outcome) terminal.Meaning {
	switch {
	case o.Success():
		return terminal.Good
	case o == jobs.OutcomeCancelled:
		return terminal.Faint
	}
	return terminal.Bad
}

// Change is what has changed a job last, and why: its latest attempt, what an operator did, or that it is asked for.
func Change(r *jobs.PublicRecord) (at time.Time, why string) {
	at, why = r.AcceptedAt, jobs.WithCause("asked for by "+cmp.Or(r.RequestedBy, string(r.Origin)), r.Reason)
	if n := len(r.Events); n > 1 && r.Events[n-1].At.After(at) {
		at, why = r.Events[n-1].At, "joined by event "+Event(r.Events[n-1], true)
	}
	if n := len(r.Attempts); n > 0 {
		if a := r.Attempts[n-1]; a.FinishedAt.IsZero() {
			at, why = a.StartedAt, fmt.Sprintf("attempt %d under way on %s", a.Attempt, a.Worker)
		} else if at = a.FinishedAt; a.Reason == jobs.ReasonNone {
			why = jobs.WithCause(fmt.Sprintf("attempt %d worked", a.Attempt), Answer(a))
		} else {
			why = fmt.Sprintf("attempt %d: %s", a.Attempt, strings.TrimSpace(string(a.Reason)+" "+cmp.Or(a.Error, Answer(a))))
		}
	}
	if n := len(r.Operations); n > 0 && r.Operations[n-1].At.After(at) {
		op := r.Operations[n-1]
		at, why = op.At, jobs.WithCause(string(op.Action)+" by "+op.By, op.Reason)
	}
	if r.FinishedAt.After(at) {
		at, why = r.FinishedAt, cmp.Or(r.Detail, why)
	}
	if p := r.Proof; p != nil && p.Checks > 0 && p.CheckedAt.After(at) {
		at, why = p.CheckedAt, jobs.WithCause("proof "+string(p.Verdict), p.Why())
	}
	return at, why
}

// askedFields show what was asked for, and by whom.
func askedFields(t *terminal.Table, r *jobs.PublicRecord) {
	t.Field("job", r.JobID)
	t.Field("kind", r.Kind)
	if r.Contained != "" {
		t.Field("contained", r.Contained)
	}
	t.Field("target", r.Target)
	t.Field("account", r.Account)
	t.Field("lane", r.Lane)
	t.Field("origin", r.Origin)
	t.Field("reason", r.Reason)
	t.Field("requested by", r.RequestedBy)
	t.Field("on behalf of", r.OnBehalfOf)
	t.Field("policy", r.Policy)
	if r.DryRun {
		t.Field("dry run", "the call that would change something is not made")
	}
	for i, e := range r.Events {
		name := "event"
		if i > 0 {
			name = "joined"
		}
		t.Field(name, Event(e, i > 0))
	}
	if more := r.EventCount - len(r.Events); more > 0 {
		t.Field("joined", fmt.Sprintf("and %d more", more))
	}
	for _, op := range r.Operations {
		t.Field(string(op.Action), op.At.Local().Format(time.DateTime)+" by "+op.By+" "+op.Reason)
	}
}

// stateFields show the state of the job, and how it ended.
func stateFields(t *terminal.Table, r *jobs.PublicRecord) {
	t.Field("accepted", r.AcceptedAt)
	t.Field("expires", r.ExpiresAt)
	t.Field("state", r.State)
	switch {
	case r.CancelAsked && r.State == jobs.StateRunning:
		t.Field("ends", "after the call under way, unless that succeeds or is refused: it is cancelled")
	case r.CancelAsked && !r.Done():
		t.Field("ends", "before its next attempt: it is cancelled")
	case r.Paced:
		t.Field("turn about", r.RetryAt)
	default:
		t.Field("retry at", r.RetryAt)
	}
	if r.Rotates() && !r.Done() && r.Rotation == nil {
		t.Field("waits for", r.Detail)
	}
	if r.Done() {
		t.Field("outcome", r.Outcome)
		t.Field("proof", Verdict(r.Verdict()))
		t.Field("detail", r.Detail)
		t.Field("finished", r.FinishedAt)
		t.Field("took", r.FinishedAt.Sub(r.AcceptedAt))
	}
}

// Event tells of an event on a job's record. The reason and requester of the first one are those of the job.
func Event(e jobs.RecordedEvent, later bool) string {
	line := EventName(e.EventRef)
	if later && e.RequestedBy != "" {
		line += ", requested by " + e.RequestedBy
	}
	if later && e.OnBehalfOf != "" {
		line += ", on behalf of " + e.OnBehalfOf
	}
	if later && e.Reason != "" {
		line += ", reason: " + e.Reason
	}
	if later && e.Contained != "" {
		line += ", which held: " + e.Contained
	}
	if e.Duplicate {
		line += " (duplicate: the job had failed, and nothing was done for this event)"
	}
	return line
}

// EventName is how an event is called: by CloudEvents source and id, as far as it has them.
func EventName(e jobs.EventRef) string { return strings.TrimSpace(e.Source + " " + e.ID) }

// Attempt tells of one attempt.
func Attempt(a jobs.Attempt) string {
	const layout = "2006-01-02 15:04:05.000"
	line := a.StartedAt.Local().Format(layout)
	if a.FinishedAt.IsZero() {
		return line + " under way on " + a.Worker
	}
	what := "worked"
	if a.Reason != jobs.ReasonNone {
		what = string(a.Reason)
	}
	line += fmt.Sprintf(" %s after %s", what, terminal.Took(a.FinishedAt.Sub(a.StartedAt)))
	if answer := Answer(a); answer != "" {
		line += ", " + answer
	}
	if a.MaybeEffective && a.Reason != jobs.ReasonNone {
		line += ", may have taken effect"
	}
	return line + attemptEnd(a)
}

// Answer is what the API answered, in short: "HTTP 429 RATE_LIMITED".
func Answer(a jobs.Attempt) string {
	if a.Status == 0 {
		return a.ErrorCode
	}
	return strings.TrimSpace(fmt.Sprintf("HTTP %d %s", a.Status, a.ErrorCode))
}

// attemptEnd is what came of an attempt, and what the API said about it.
func attemptEnd(a jobs.Attempt) string {
	end := ""
	if !a.RetryAt.IsZero() {
		end = ", next not before " + a.RetryAt.Local().Format("15:04:05.000")
	}
	if a.RetryAfterCapped {
		end += " (the API said later)"
	}
	if a.RequestID != "" {
		end += ", request " + a.RequestID
	}
	if a.Error != "" {
		end += ": " + strings.TrimPrefix(a.Error, Answer(a)+": ")
	}
	return end
}

// Progress is the state of a job in one line.
func Progress(r jobs.PublicRecord, now time.Time) string {
	switch r.State {
	case jobs.StateQueued:
		return "queued in lane " + string(r.Lane)
	case jobs.StateRunning:
		return fmt.Sprintf("attempt %d is under way", r.AttemptCount)
	case jobs.StateWaiting:
		line := "waiting until " + terminal.Clock(r.RetryAt, now)
		if n := len(r.Attempts); n > 0 {
			line += fmt.Sprintf(" after attempt %d: %s", r.Attempts[n-1].Attempt, r.Attempts[n-1].Reason)
		}
		return line
	case jobs.StateDone:
		return "done: " + string(r.Outcome)
	}
	return string(r.State)
}
