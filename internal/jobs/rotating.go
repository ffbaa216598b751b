package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// stepRotation decides what a job in several steps needs. What it has made at the API binds it: from then on neither age, attempts
// nor expiry end it, and a cancellation takes it back.
func (r *Runner) stepRotation(ctx context.Context, d Delivery, entry Entry) (Settlement, error) {
	rec, now := &entry.Record, r.cfg.Now()
	committed := rec.Rotation.Committed()
	if rec.CancelAsked && !committed {
		return r.cancel(ctx, d.Job, entry)
	}
	if expires := rec.ExpiresAt; !committed && !expires.IsZero() && !now.Before(expires) {
		return r.giveUp(ctx, d.Job, entry, fmt.Errorf("the request expired at %s%s", stamp(expires), rec.waitedFor()))
	}
	if rec.RetryAt.After(now) && !rec.CancelAsked {
		return putBack(now, rec.RetryAt), nil
	}
	if away, err := r.elsewhere(ctx, d.Job, rec); away || err != nil {
		return Settlement{Delay: ElsewhereDelay()}, err
	}
	if !committed {
		if s, over, err := r.afterOthers(ctx, d.Job, entry); over || err != nil {
			return s, err
		}
		rec.Detail = "" // It may say what was waited for.
	}
	rec.Deliveries = d.Count
	return r.attemptStep(ctx, d.Job, entry)
}

// othersPoll is how often a rotation looks whether the jobs before it are over.
const othersPoll = 5 * time.Second

// afterOthers looks at the jobs of the same rotation that this one could not join, for they were being taken back. While one is unfinished, this
// one waits: two must not work on the same credentials. One that went on, and has rotated, did what this one is asked for.
func (r *Runner) afterOthers(ctx context.Context, job Job, entry Entry) (s Settlement, over bool, _ error) {
	holder, err := r.cfg.Targets.Load(ctx, job.TargetKey())
	if errors.Is(err, ErrNotFound) || err == nil && holder.JobID != job.ID {
		return Settlement{}, false, nil
	}
	if err != nil {
		return Settlement{}, false, fmt.Errorf("looking up target %s: %w", job.Target(), err)
	}
	for _, id := range holder.Others {
		other, err := r.cfg.Ledger.Load(ctx, id)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return Settlement{}, false, fmt.Errorf("looking up job %s: %w", id, err)
		}
		if !other.Record.Done() {
			s, err := r.waitForOther(ctx, entry, id)
			return s, true, err
		}
		if other.Record.Outcome == OutcomeRotated {
			s, err := r.finish(ctx, job, entry, OutcomeCancelled, fmt.Sprintf("nothing was changed: job %s, which was to be taken back when this was asked for, went on and has rotated", id))
			return s, true, err
		}
	}
	return Settlement{}, false, nil
}

// waitForOther says on the record, once, which job a rotation waits for.
func (r *Runner) waitForOther(ctx context.Context, entry Entry, id string) (Settlement, error) {
	if says := fmt.Sprintf("job %s, which is being taken back", id); entry.Record.Detail != says {
		entry.Record.Detail = says
		if _, err := r.cfg.Ledger.Update(ctx, entry); err != nil && !errors.Is(err, ErrConflict) { // After a conflict the next look says it.
			return Settlement{}, fmt.Errorf("recording what job %s waits for: %w", entry.Record.JobID, err)
		}
	}
	return Settlement{Delay: othersPoll}, nil
}

// waitedFor says what a rotation waits for, as the end of a sentence.
func (r *PublicRecord) waitedFor() string {
	if !r.looking() {
		return ""
	}
	return "; the rotation waited for " + r.Rotation.Waits
}

// attemptStep claims the job, takes it one step further and records what came of it.
func (r *Runner) attemptStep(ctx context.Context, job Job, entry Entry) (Settlement, error) {
	begun, now := time.Now(), r.cfg.Now()
	entry, err := r.begin(ctx, job, entry, now)
	if err != nil {
		return Settlement{}, err
	}
	var result RotationResult
	answer, failure, entry := r.call(ctx, entry, func(ctx context.Context, held *heldEntry) (Answer, error) {
		var err error
		result, err = r.rotate(ctx, job, held)
		return result.Answer, err
	})
	if failure != nil && errors.Is(failure.Err, errLeaseLost) {
		return Settlement{}, fmt.Errorf("running job %s: %w", job.ID, errLeaseLost)
	}
	// What the API has answered is recorded although the worker may be stopping.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settlePatience)
	defer cancel()
	entry.Record.end(now.Add(time.Since(begun)), answer, failure)
	return r.decideStep(ctx, job, entry, result, failure)
}

// rotate makes one pass.
func (r *Runner) rotate(ctx context.Context, job Job, held *heldEntry) (RotationResult, error) {
	if r.cfg.Rotator == nil {
		return RotationResult{}, &Failure{Reason: ReasonConfig, Err: errors.New("this worker rotates nothing")}
	}
	held.mu.Lock()
	rec := held.entry.Record
	held.mu.Unlock()
	pass := RotationPass{
		Job: job, State: RotationState{Rotation: rec.Rotation.Copied(), NewSecret: rec.NewSecret},
		Keep: func(ctx context.Context, s RotationState) error {
			return r.keep(ctx, held, "a step of the rotation", func(rec *Record) {
				rec.Rotation, rec.NewSecret = s.Copied(), s.NewSecret
				if len(s.Gone) > 0 {
					rec.Search = &Search{Found: []map[string]string{s.Gone}, Count: 1, LookedAt: 1, Done: true}
				}
			})
		},
	}
	if rec.CancelAsked {
		pass.Abandon = rec.cancelDetail()
	}
	return r.cfg.Rotator.Rotate(ctx, pass)
}

// decideStep turns what came of a pass into an outcome or the next pass.
func (r *Runner) decideStep(ctx context.Context, job Job, entry Entry, result RotationResult, failure *Failure) (Settlement, error) {
	rec, now := &entry.Record, r.cfg.Now()
	if failure != nil {
		r.cfg.Recorder.Attempt(string(job.Kind), string(failure.Reason))
		return r.stepFailed(ctx, job, entry, failure)
	}
	r.cfg.Recorder.Attempt(string(job.Kind), string(ReasonNone))
	rec.AttemptsSpent = 0 // They are counted in a row: a rotation makes many passes.
	if result.Outcome != "" {
		return r.finish(ctx, job, entry, result.Outcome, result.Detail)
	}
	if result.Kept {
		rec.CancelAsked = false
	}
	at := now.Add(result.Wait)
	if rec.requeue(); result.Wait > 0 {
		rec.wait(at)
	}
	if _, err := r.save(ctx, entry); err != nil {
		return Settlement{}, err
	}
	if job.Wake { // It has no parameters: the job's own message goes on.
		return done(), nil
	}
	return putBack(r.cfg.Now(), at), nil
}

// stepFailed schedules the next pass after one that failed. A rotation that has made nothing yet may end with it.
func (r *Runner) stepFailed(ctx context.Context, job Job, entry Entry, failure *Failure) (Settlement, error) {
	rec, now := &entry.Record, r.cfg.Now()
	committed := rec.Rotation.Committed()
	if !committed && !failure.Reason.Retryable() {
		r.attempts.failed(rec)
		return r.finish(ctx, job, entry, OutcomeRefused, failure.Error())
	}
	if !committed && !failure.Reason.Free() && rec.AttemptsSpent >= r.cfg.Retry.MaxAttempts {
		r.attempts.failed(rec)
		return r.finish(ctx, job, entry, OutcomeExhausted, fmt.Sprintf("all %d attempts are spent; the last one: %v", r.cfg.Retry.MaxAttempts, failure))
	}
	at := now
	if rec.requeue(); failure.Reason != ReasonInterrupted {
		at = r.cfg.Retry.nextStep(now, rec, failure, r.cfg.Random())
		rec.wait(at)
		rec.lastAttempt().RetryAt = at
	}
	if _, err := r.save(ctx, entry); err != nil {
		return Settlement{}, err
	}
	r.attempts.failed(rec)
	return putBack(r.cfg.Now(), at), nil
}

// nextStep says when a rotation whose latest pass failed makes the next one. What only a person can mend is attempted as seldom as the
// longest backoff.
func (p RetryPolicy) nextStep(now time.Time, r *Record, f *Failure, random float64) time.Time {
	delay := p.Backoff(max(r.failuresInRow(), 1))
	if !f.Reason.Retryable() {
		delay = p.Cap
	}
	at := now.Add(WithJitter(delay, random))
	if f.RetryAt.After(at) {
		return f.RetryAt
	}
	return at
}
