package jobs

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"rekey/internal/backoff"
)

// RetryPolicy says when a failed job is attempted again and when it is given up.
type RetryPolicy struct {
	Base        time.Duration // Backoff after the first failure.
	Cap         time.Duration // Longest backoff.
	MaxAttempts int           // Attempts that may be spent.
	MaxAge      time.Duration // Age, counted from acceptance, after which no attempt is made.
}

// jitterShare is how much of the backoff the jitter may add.
const jitterShare = 0.25

// Backoff is the wait after the n-th failure in a row, n from 1, without jitter:
// Base, 2*Base, 4*Base, … up to Cap. It is a pure function.
func (p RetryPolicy) Backoff(n int) time.Duration {
	return backoff.Delay(p.Base, p.Cap, n)
}

// WithJitter lengthens a delay by up to a quarter; random is in [0, 1). It never shortens.
func WithJitter(delay time.Duration, random float64) time.Duration {
	return delay + time.Duration(float64(delay)*jitterShare*random)
}

// next says when a job whose latest attempt failed may be attempted again: the later of
// the backoff's end and what the API asked for. A rate limit that says how long needs no
// jitter: the turns of its bucket keep the jobs apart, and the first of them should not be
// late. The error says why there is no next time.
func (p RetryPolicy) next(now time.Time, r *Record, f *Failure, random float64) (time.Time, error) {
	if !f.Reason.Free() && r.AttemptsSpent >= p.MaxAttempts {
		return time.Time{}, fmt.Errorf("all %d attempts are spent; the last one: %w", p.MaxAttempts, f)
	}
	if f.Reason == ReasonRateLimited && f.RetryAt.After(now) {
		random = 0
	}
	at := now.Add(WithJitter(p.Backoff(max(r.failuresInRow(), 1)), random))
	if f.RetryAt.After(at) {
		at = f.RetryAt
	}
	if err := p.tooLate(at, r); err != nil {
		return time.Time{}, fmt.Errorf("%w; the last attempt: %w", err, f)
	}
	return at, nil
}

// tooLate reports, as an error, that no attempt may be made at this moment any more.
func (p RetryPolicy) tooLate(at time.Time, r *Record) error {
	if !r.ExpiresAt.IsZero() && !at.Before(r.ExpiresAt) {
		return fmt.Errorf("the request expires at %s and could not be attempted before", stamp(r.ExpiresAt))
	}
	if !at.Before(p.ends(r)) {
		return fmt.Errorf("the job would be older than %s", p.MaxAge)
	}
	return nil
}

// Span is how long a job is attempted whose attempts all fail at once, without jitter.
func (p RetryPolicy) Span() time.Duration {
	var all time.Duration
	for n := 1; n < p.MaxAttempts && all < p.MaxAge; n++ {
		all += p.Backoff(n)
	}
	return min(all, p.MaxAge)
}

// last is the moment from which on the job may not be attempted any more.
func (p RetryPolicy) last(r *Record) time.Time {
	limit := p.ends(r)
	if !r.ExpiresAt.IsZero() && r.ExpiresAt.Before(limit) {
		return r.ExpiresAt
	}
	return limit
}

// ends is when the job becomes too old.
func (p RetryPolicy) ends(r *Record) time.Time {
	since := r.AcceptedAt
	if r.ReopenedAt.After(since) {
		since = r.ReopenedAt
	}
	return since.Add(p.MaxAge)
}

// Validate reports settings that cannot work.
func (p RetryPolicy) Validate() error {
	if p.Base <= 0 || p.Cap < p.Base || p.MaxAttempts < 1 || p.MaxAge <= 0 {
		return errors.New("retry: base, max_attempts and max_age must be positive and cap at least base")
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// failuresInRow counts the attempts that failed, free ones included, since the last one
// that worked. Interrupted ones are passed over: they say nothing of the API. It drives
// the backoff.
func (r *Record) failuresInRow() int {
	n := 0
	for _, attempt := range slices.Backward(r.Attempts) {
		if attempt.StartedAt.Before(r.ReopenedAt) {
			return n // An operator has retried the job since.
		}
		switch attempt.Reason {
		case ReasonNone, "":
			return n
		case ReasonInterrupted:
		default:
			n++
		}
	}
	return n
}
