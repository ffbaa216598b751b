package proof

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// ownEventMargin is how long after the API's answer an event of the job's account is taken to be about the job itself: some have the same
// type as those of a return.
const ownEventMargin = 2 * time.Second

// checkRestorers is what evidence calls the advice on who puts targets back.
const checkRestorers = "restorers"

// Watch takes the watch of a delivered target one look further. It is as Check.
func (c *Checker) Watch(ctx context.Context, d jobs.Delivery) (jobs.Settlement, error) {
	entry, settlement, err := c.load(ctx, d)
	if err != nil || settlement != (jobs.Settlement{}) {
		return settlement, err
	}
	rec, now := &entry.Record, c.cfg.Now()
	if rec.Proof.Verdict == jobs.VerdictReverted {
		return c.reverted(ctx, d.Job, rec, true)
	}
	if settlement := notDue(d.Job, rec, now); settlement != (jobs.Settlement{}) {
		return settlement, nil
	}
	if away, err := c.elsewhere(ctx, d.Job, rec); away || err != nil {
		return jobs.Settlement{Delay: jobs.ElsewhereDelay()}, err
	}
	l := c.lookAgain(d.Job, rec, now)
	back, ids := l.readAgain(ctx)
	l.done()
	if ctx.Err() != nil { // The worker stops; what failed for that is no finding.
		return jobs.Settlement{}, nil
	}
	if wait := l.heldUntil.Sub(now); wait > 0 && !back {
		return jobs.Settlement{Delay: wait}, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	saved, err := c.write(ctx, entry, func(rec *jobs.Record) { l.applyWatch(rec, back, ids) })
	if errors.Is(err, errOvertaken) {
		return jobs.Settlement{Delay: ahead}, nil
	}
	if err != nil {
		return jobs.Settlement{}, err
	}
	settlement, err = c.watched(ctx, l.job, &saved.Record)
	if d.Job.Wake && err == nil { // The message of the watch itself goes on.
		settlement = jobs.Settlement{Done: true}
	}
	return settlement, err
}

// notDue settles a message that asks for no look now. The zero value: the target is to be looked at.
func notDue(job jobs.Job, rec *jobs.Record, now time.Time) jobs.Settlement {
	switch {
	case !rec.Proof.Verdict.Dead(), rec.Proof.NextCheckAt.IsZero(): // The watch is over, or an operator has stopped it.
		return jobs.Settlement{Done: true}
	case job.Wake && rec.Proof.CheckedAt.After(rec.CheckAsked()): // The look that it asks for was made.
		return jobs.Settlement{Done: true}
	case rec.Proof.NextCheckAt.After(now):
		return jobs.Settlement{Delay: rec.Proof.NextCheckAt.Sub(now)}
	}
	return jobs.Settlement{}
}

// watched is what becomes of a target after a look.
func (c *Checker) watched(ctx context.Context, job jobs.Job, rec *jobs.Record) (jobs.Settlement, error) {
	switch {
	case rec.Proof.Verdict == jobs.VerdictReverted:
		c.concluded(rec)
		c.cfg.Recorder.TargetReverted(string(rec.Kind))
		return c.reverted(ctx, job, rec, false)
	case rec.Proof.NextCheckAt.IsZero():
		return jobs.Settlement{Done: true}, nil
	}
	return jobs.Settlement{Delay: max(rec.Proof.NextCheckAt.Sub(c.cfg.Now()), 0)}, nil
}

// lookAgain is the look of a watch, by its message or by one that wakes it.
func (c *Checker) lookAgain(job jobs.Job, rec *jobs.Record, now time.Time) *look {
	if job.Wake {
		job = rec.Lookout()
	}
	job.Search = rec.Search
	if rec.Proving == nil {
		rec.Proving = &jobs.Proving{}
	}
	return &look{checker: c, policy: c.cfg.Policy(), job: job, rec: rec, now: now}
}

// readAgain makes the checks that need no leaked secret, and reports whether the target is back, and under which ids.
func (l *look) readAgain(ctx context.Context) (back bool, ids map[string]string) {
	l.checks, _ = Policy{}.checks(l.job)
	// The list goes first: it is read for all targets in it together, and where it shows something, no target is read by itself.
	slices.SortStableFunc(l.checks, func(a, b kinds.Check) int { return strings.Compare(b.Names, a.Names) })
	for _, check := range l.checks {
		if l.held() {
			return back, ids
		}
		f, ok := l.check(ctx, check)
		if ok && f.Shows == kinds.ShowsAlive {
			back, ids = true, f.BackAs
			break
		}
		if ok && f.Shows == kinds.ShowsDead && check.Names != "" {
			break
		}
	}
	if back && l.policy.Events {
		l.readReturn(ctx)
	}
	return back, ids
}

// readReturn looks for who put the target back, and when, and reports whether the event log says so.
func (l *look) readReturn(ctx context.Context) bool {
	types := kinds.Of(l.rec.Kind).Proof.Restored
	if len(types) == 0 {
		return false
	}
	held := l.heldUntil
	events, err := l.checker.cfg.Reader.Events(ctx, l.job, types, l.rec.FinishedAt)
	if err != nil {
		_ = l.failed(checkEvents, err) // It is noted.
		l.heldUntil = held             // That it is alive is known.
		return false
	}
	for _, e := range slices.Backward(events) { // The latest one: a target may have been changed before.
		known := slices.ContainsFunc(l.rec.Proof.Evidence, func(have jobs.Evidence) bool { return have.EventID == e.ID })
		if !known && !(e.Own && e.At.Sub(l.rec.FinishedAt) <= ownEventMargin) { // Else it is of the job itself.
			l.found = append(l.found, found{Evidence: e.evidence("type and time")})
			return true
		}
	}
	return false
}

// applyWatch puts what was found on the record.
func (l *look) applyWatch(rec *jobs.Record, back bool, ids map[string]string) {
	if rec.Proving == nil {
		rec.Proving = &jobs.Proving{}
	}
	for _, f := range l.found {
		rec.Proof.Note(f.Evidence)
		rec.Proving.Note(f.Check, f.Finding)
	}
	rec.Proof.Checks++
	rec.Proof.CheckedAt = l.end
	if !back {
		if rec.Proof.NextCheckAt = l.policy.watch(rec, l.end); rec.Proof.NextCheckAt.IsZero() {
			rec.Proving = nil
		}
		return
	}
	l.reverted(rec, ids)
}

// reverted is the verdict on a target that is back under these ids.
func (l *look) reverted(rec *jobs.Record, ids map[string]string) {
	if advice := kinds.Of(rec.Kind).Proof.Restorers; advice != "" {
		rec.Proof.Note(jobs.Evidence{At: l.end, Check: checkRestorers, Says: advice})
	}
	rec.Conclude(l.end, jobs.VerdictReverted, time.Time{})
	rec.BackAs = ids
}

// reverted announces that a target is back, and has it ended again where the policy says so.
func (c *Checker) reverted(ctx context.Context, job jobs.Job, rec *jobs.Record, maybeSent bool) (jobs.Settlement, error) {
	id, repeat := c.repeat(rec)
	if err := c.cfg.Announcer.AnnounceVerdict(ctx, job, *rec, !repeat, maybeSent); err != nil {
		return jobs.Settlement{}, fmt.Errorf("announcing that the target of job %s is back: %w", rec.JobID, err)
	}
	if repeat {
		if err := c.cfg.Repeater.Repeat(ctx, id, again(rec)); err != nil {
			return jobs.Settlement{}, fmt.Errorf("repeating job %s, whose target is back: %w", rec.JobID, err)
		}
	}
	return jobs.Settlement{Done: true}, nil
}

// repeat is the id of the event that asks for the job once more, and false where the policy does not want one more.
func (c *Checker) repeat(rec *jobs.Record) (id string, ok bool) {
	root, n := rec.JobID, 0
	if first := rec.Events[0]; first.Source == jobs.SourceRepeat {
		if before, number, is := strings.Cut(first.ID, "."); is {
			if number, err := strconv.Atoi(number); err == nil {
				root, n = before, number
			}
		}
	}
	return root + "." + strconv.Itoa(n+1), n < c.cfg.Policy().MaxRepeats
}

// again is the request of a job for the object that came back.
func again(rec *jobs.Record) map[string]any {
	params := maps.Clone(rec.Params)
	maps.Copy(params, rec.BackAs)
	return map[string]any{
		"kind": string(rec.Kind), "params": params, "account": rec.Account, "lane": string(rec.Lane),
		"reason": "the target of job " + rec.JobID + " is back", "requested_by": "proof.on_revert",
	}
}
