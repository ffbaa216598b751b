package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"rekey/internal/kinds"
)

// decide turns what came back into an outcome or another attempt.
func (r *Runner) decide(ctx context.Context, job Job, entry Entry, answer Answer, failure *Failure) (Settlement, error) {
	if failure == nil {
		r.cfg.Recorder.Attempt(string(job.Kind), string(ReasonNone))
		if answer.DryRun {
			return r.finish(ctx, job, entry, OutcomeCancelled, answer.Detail)
		}
		return r.finish(ctx, job, entry, OutcomeRevoked, "")
	}
	r.cfg.Recorder.Attempt(string(job.Kind), string(failure.Reason))
	if failure.Reason == ReasonNotFound && !failure.Unproven {
		proof, err := r.proofOfRevocation(ctx, job, &entry.Record)
		if err != nil {
			// The attempt must not stay open: it would count as evidence itself.
			failure.Err = fmt.Errorf("%w; %w", failure.Err, err)
			entry.Record.lastAttempt().Error = clip(failure.Err.Error())
			return r.retry(ctx, job, entry, failure)
		}
		if proof != "" {
			return r.finish(ctx, job, entry, OutcomeAlreadyGone, proof)
		}
	}
	if !failure.Reason.Retryable() {
		r.attempts.failed(&entry.Record)
		return r.finish(ctx, job, entry, OutcomeRefused, failure.Error())
	}
	return r.retry(ctx, job, entry, failure)
}

// again schedules the next attempt, or gives up.
func (r *Runner) retry(ctx context.Context, job Job, entry Entry, failure *Failure) (Settlement, error) {
	rec, now := &entry.Record, r.cfg.Now()
	var retryAt time.Time
	if failure.Reason == ReasonInterrupted {
		rec.requeue()
	} else {
		at, err := r.cfg.Retry.next(now, rec, failure, r.cfg.Random())
		if err != nil {
			r.attempts.failed(rec)
			return r.finish(ctx, job, entry, OutcomeExhausted, err.Error())
		}
		retryAt = at
		rec.wait(at)
		rec.lastAttempt().RetryAt = at
	}
	saved, err := r.save(ctx, entry)
	if err != nil {
		return Settlement{}, err
	}
	if saved.Record.CancelAsked {
		return r.cancel(ctx, job, saved)
	}
	r.attempts.failed(rec)
	if failure.Reason == ReasonInterrupted {
		return Settlement{}, nil
	}
	return putBack(r.cfg.Now(), retryAt), nil
}

// proofOfRevocation says why a target that the API does not find was revoked before, or
// returns "" when a mistyped id would look the same. The error says that this is not
// known now.
func (r *Runner) proofOfRevocation(ctx context.Context, job Job, rec *Record) (string, error) {
	if rec.Search.Only() != nil {
		return "not found, and the list of the API had it before", nil
	}
	if rec.maybeEffectiveBefore() {
		return "not found, and an earlier attempt of this job may have taken effect", nil
	}
	holder, err := r.cfg.Targets.Load(ctx, job.TargetKey())
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("looking up earlier jobs on %s: %w", rec.Target, err)
	}
	if holder.Revoked != "" {
		return "not found, and job " + holder.Revoked + " revoked it before", nil
	}
	for _, id := range holder.jobs() {
		if id == rec.JobID {
			continue
		}
		other, err := r.cfg.Ledger.Load(ctx, id)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return "", fmt.Errorf("looking up job %s: %w", id, err)
		}
		if !other.Record.actsOn(job) {
			continue
		}
		if other.Record.Outcome == OutcomeRevoked {
			return "not found, and job " + id + " revoked it before", nil
		}
		if other.Record.State == StateRunning { // It may have revoked it just now.
			return "", fmt.Errorf("job %s on the same target is running", id)
		}
	}
	return "", nil
}

// announceFresh is how long after its record began to be written an outcome may be announced
// without looking whether another worker did: a worker that was paused in between has lost
// its message to another one. It is well below the window in which the streams drop copies.
const announceFresh = 30 * time.Second

// passed is how long ago a moment was, also when the machine slept, for which only the wall
// clock knows.
func passed(since time.Time) time.Duration {
	now := time.Now()
	return max(now.Sub(since), now.Round(0).Sub(since.Round(0)))
}

// finish records the outcome, then announces it.
func (r *Runner) finish(ctx context.Context, job Job, entry Entry, outcome Outcome, detail string) (Settlement, error) {
	begun, now := time.Now(), r.cfg.Now()
	entry.Record.finish(now, job.Message, outcome, detail, r.cfg.Prove)
	entry, err := r.save(ctx, entry)
	if err != nil {
		return Settlement{}, err
	}
	rec := &entry.Record
	took := rec.FinishedAt.Sub(rec.AcceptedAt)
	if rec.Rotates() && r.cfg.Rotator != nil {
		r.cfg.Rotator.Ended(rec.Params[kinds.ParamRotation], outcome)
	}
	r.cfg.Recorder.JobFinished(string(rec.Kind), string(outcome), took, rec.Trace)
	line := append(fields(rec), zap.String("outcome", string(outcome)), zap.Int("attempt", rec.AttemptCount), zap.Duration("duration", took), zap.String("detail", detail))
	if !outcome.Success() {
		line = append(line, failureFields(rec)...)
	}
	r.log.Info("job finished", line...)
	if err := r.cfg.Announcer.Announce(ctx, job, *rec, passed(begun) > announceFresh); err != nil {
		return Settlement{}, fmt.Errorf("announcing job %s: %w", rec.JobID, err)
	}
	return done(), nil
}
