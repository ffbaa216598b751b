package proof

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// checkEvents is what evidence of the API's event log calls its check.
const checkEvents = "events"

// An event is of the job when it is dated between its first attempt and its success. Margins allow for the clock by which the API dates
// events, and, after the success, for an API that does later what it has promised.
const (
	eventMargin     = 5 * time.Second
	eventLateMargin = time.Minute
)

// look is one look at a target, and what it finds.
type look struct {
	checker *Checker
	policy  Policy
	job     jobs.Job
	rec     *jobs.Record
	now     time.Time // When the look began.
	end     time.Time // When its last read was answered: what it shows is known since then.
	over    bool      // It is the last look.
	checks  []kinds.Check

	found     []found
	back      bool              // Something shows that the target was dead since its success and is back,
	backAs    map[string]string // under these ids.
	heldUntil time.Time         // Before this moment, the API wants no call.
}

// found is what one read shows.
type found struct {
	jobs.Evidence
	kinds.Finding
}

// read makes the reads of the checks that have not shown the target dead yet, and reads the event log where that can tell more.
func (l *look) read(ctx context.Context) {
	var left []string
	l.checks, left = l.policy.checks(l.job)
	shown := map[string]kinds.Shows{}
	for _, c := range l.checks {
		if shown[c.Name] = l.rec.Proving.Shown[c.Name]; shown[c.Name] == kinds.ShowsDead || l.held() {
			continue
		}
		f, ok := l.check(ctx, c)
		if !ok {
			continue
		}
		if shown[c.Name] = f.Shows; f.Shows == kinds.ShowsAlive && l.elsewhere(f.BackAs) {
			l.backAs = f.BackAs
		}
	}
	for _, name := range left {
		l.note(name, 0, "not read: proof.probe is off")
	}
	without := conclude(l.checks, shown, false, false, l.over)
	if without != jobs.VerdictPending && !l.recorded() && !l.held() {
		l.readEvents(ctx)
	}
	if without == jobs.VerdictStillAlive && !l.held() {
		l.back = len(l.backAs) > 0 || l.policy.Events && l.readReturn(ctx)
	}
}

// elsewhere reports whether an object has ids that the job did not act on.
func (l *look) elsewhere(ids map[string]string) bool {
	for name, id := range ids {
		if was := l.job.Params.Get(name); was != "" && was != id {
			return true
		}
	}
	return false
}

// done ends the reads: what they show is known from now on.
func (l *look) done() {
	l.end = l.checker.cfg.Now()
	for i := range l.found {
		l.found[i].At = l.end
	}
}

// held reports whether the API wants no call now.
func (l *look) held() bool { return l.heldUntil.After(l.now) }

// note notes an evidence that finds nothing.
func (l *look) note(check string, status int, says string) {
	l.found = append(l.found, found{Evidence: jobs.Evidence{Check: check, Status: status, Says: says}})
}

// check makes one read, and reports whether there was an answer.
func (l *look) check(ctx context.Context, c kinds.Check) (kinds.Finding, bool) {
	if c.Age = l.now.Sub(l.rec.FinishedAt); !l.rec.Proof.CheckedAt.IsZero() { // What was read since the latest look shows as much.
		c.Age = l.now.Sub(l.rec.Proof.CheckedAt)
	}
	seen, err := l.checker.cfg.Reader.Read(ctx, l.job, c)
	if err != nil {
		_ = l.failed(c.Name, err) // It is noted.
		return kinds.Finding{}, false
	}
	ids := l.rec.Search.Only()
	seen.Value = func(name string) string {
		if id, ok := ids[name]; ok {
			return id
		}
		return l.job.Params.Get(name)
	}
	seen.At = l.checker.cfg.Now()
	seen.Meaning, seen.Notes, seen.Changed = l.rec.Meaning, l.rec.Proving.Notes[c.Name], l.rec.FinishedAt
	seen.OneCall = l.rec.AttemptsMaybeEffective <= 1
	f := c.Judge(seen)
	l.found = append(l.found, found{jobs.Evidence{Check: c.Name, Status: seen.Status, Says: f.Says}, f})
	return f, true
}

// failed notes a read that failed.
func (l *look) failed(check string, err error) *jobs.Failure {
	failure, ok := errors.AsType[*jobs.Failure](err)
	if !ok {
		failure = &jobs.Failure{Reason: jobs.ReasonProtocol, Err: err}
	}
	if failure.Reason == jobs.ReasonRateLimited {
		l.heldUntil = l.now.Add(max(time.Until(failure.RetryAt), leastApart))
	}
	l.note(check, failure.Answer.Status, unread(failure))
	return failure
}

// unread says why a look has read nothing. One that had no permit has not failed: it was not made.
func unread(failure *jobs.Failure) string {
	if failure.Reason == jobs.ReasonRateLimited && failure.Answer.Status == 0 {
		return fmt.Sprintf("nothing was read: %v", failure.Err)
	}
	return "the read failed: " + failure.Error()
}

// recorded reports whether the event log has shown the change.
func (l *look) recorded() bool {
	for _, e := range l.rec.Proof.Evidence {
		if e.EventID != "" {
			return true
		}
	}
	return false
}

// readEvents looks for the change in the API's event log.
func (l *look) readEvents(ctx context.Context) {
	types := kinds.Of(l.rec.Kind).Proof.Events
	if !l.policy.Events || len(types) == 0 {
		return
	}
	since := l.rec.FinishedAt
	if len(l.rec.Attempts) > 0 {
		since = l.rec.Attempts[0].StartedAt
	}
	events, err := l.checker.cfg.Reader.Events(ctx, l.job, types, since.Add(-eventMargin))
	if err != nil {
		if failure := l.failed(checkEvents, err); !failure.Reason.Retryable() {
			l.found[len(l.found)-1].Shows = kinds.ShowsNothing
		}
		return
	}
	// The latest one that fits: an earlier job of the account may have one of the same type.
	for _, e := range slices.Backward(events) {
		if l.own(e) {
			l.found = append(l.found, found{Evidence: e.evidence("type, time and actor")})
			return
		}
	}
	l.note(checkEvents, 0, "the event log has no event of it")
}

// own reports whether an event is taken to be of the job: its account made it, or it names the target and no actor, and it is dated when
// the job was attempted. What is dated in the future is not.
func (l *look) own(e Event) bool {
	if !e.Own && (!e.Names || e.By != "") {
		return false
	}
	return !e.At.After(l.rec.FinishedAt.Add(eventLateMargin)) && !e.At.After(l.checker.cfg.Now().Add(eventMargin))
}

// evidence tells of the event, and where it names no target, by what it was matched.
func (e Event) evidence(matched string) jobs.Evidence {
	by, how := "", "it names the target"
	if e.By != "" {
		by = " by " + e.By
	}
	if !e.Names {
		how = "it names no target: matched by " + matched
	}
	says := fmt.Sprintf("%s at %s%s; %s", e.Type, e.At.UTC().Format(time.RFC3339), by, how)
	return jobs.Evidence{Check: checkEvents, Says: says, EventID: e.ID}
}

// apply puts what was found on the record.
func (l *look) apply(rec *jobs.Record) {
	if rec.Proving == nil {
		rec.Proving = &jobs.Proving{}
	}
	recorded, closed := false, false
	for _, f := range l.found {
		rec.Proof.Note(f.Evidence)
		rec.Proving.Note(f.Check, f.Finding)
		recorded = recorded || f.EventID != ""
		closed = closed || f.Check == checkEvents && f.Shows == kinds.ShowsNothing
	}
	awaited := l.policy.Events && len(kinds.Of(rec.Kind).Proof.Events) > 0 && !closed
	verdict := conclude(l.checks, rec.Proving.Shown, recorded || l.recorded(), awaited, l.over)
	rec.Proof.Checks++
	rec.Proof.CheckedAt, rec.Proof.Works = l.end, false
	if verdict != jobs.VerdictPending {
		next := time.Time{}
		if verdict.Dead() {
			next = l.policy.watch(rec, l.end)
		}
		if verdict == jobs.VerdictStillAlive && l.back {
			l.reverted(rec, l.backAs)
			return
		}
		rec.Conclude(l.end, verdict, next)
		return
	}
	next := rec.FinishedAt.Add(nextLook(l.end.Sub(rec.FinishedAt), l.policy.Within))
	if l.heldUntil.After(next) {
		next = l.heldUntil
	}
	rec.Proof.NextCheckAt, rec.Proof.Works = next, works(l.checks, rec.Proving.Shown)
}
