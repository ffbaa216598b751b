package notify

import (
	"fmt"
	"time"

	"rekey/internal/jobs"
)

// step is what becomes of a notification after an attempt that failed.
type step struct {
	receiver, message State
	at                time.Time // Of the next attempt.
	code              string    // Why it is given up; empty when it is not.
	why               error
}

// maxBackoffs is after how many failures a backoff is at its longest, however short it begins.
const maxBackoffs = 64

// giveWay is how long a notification, on which a receiver has failed, comes after the receiver's wait is
// over: another one is to find out whether the receiver is back, for it may fail on this one alone.
const giveWay = 250 * time.Millisecond

// next decides what becomes of a notification after an attempt that failed. It is a pure function;
// random is in [0, 1). The wait is that of jobs: the longer of the backoff and what the receiver asked
// for.
func next(p jobs.RetryPolicy, now time.Time, d Delivery, receiver, message State, f *Failure, random float64) step {
	receiver.FailedAt, receiver.Error = now.UTC(), f.Error()
	s := step{receiver: receiver, message: message}
	wait := func(failures int) time.Time {
		return later(now.Add(jobs.WithJitter(p.Backoff(failures), random)), f.RetryAt).UTC()
	}
	switch f.Class {
	case ClassGone:
		s.at = now.Add(goneFor).UTC()
		s.receiver.Failures, s.receiver.RetryAt = receiver.Failures+1, s.at
		s.code, s.why = CodeGone, fmt.Errorf("the receiver says that it is gone: %w", f)
		return s
	case ClassInvalid:
		s.receiver.Failures, s.receiver.RetryAt = 0, time.Time{}
		s.code, s.why = CodeRefused, fmt.Errorf("it is not sent again after this answer: %w", f)
		return s
	case ClassPartly: // It is delivered.
	case ClassRefused:
		s.receiver.Failures, s.receiver.RetryAt = 0, time.Time{} // It is there, and says no to this one.
		s.message.Failures, s.message.FailedAt, s.message.Error = message.Failures+1, now.UTC(), f.Error()
		s.at = wait(s.message.Failures)
		s.message.RetryAt = s.at
		if s.message.Failures >= p.MaxAttempts {
			s.code, s.why = CodeRefused, fmt.Errorf("all attempts (%d) were refused; the last answer: %w", s.message.Failures, f)
			return s
		}
	case ClassUnavailable:
		s.receiver.Failures, s.receiver.RetryAt = receiver.Failures+1, wait(receiver.Failures+1)
		s.at = s.receiver.RetryAt.Add(giveWay)
		if receiver.Failures == 0 && f.RetryAt.IsZero() && d.Count > 1 {
			// It took others since: what it fails on is this one, which is not to make all others wait ever again.
			s.at = later(s.at, wait(int(min(d.Count, maxBackoffs))))
		}
	}
	if !s.at.Before(d.Since.Add(p.MaxAge)) {
		s.code, s.why = CodeExhausted, tooOld(p.MaxAge, f.Error())
	}
	return s
}

// tooOld says why a notification is given up for its age; failure is what happened last.
func tooOld(age time.Duration, failure string) error {
	if failure == "" {
		return fmt.Errorf("it could not be delivered within %s", age)
	}
	return fmt.Errorf("it could not be delivered within %s; the last failure: %s", age, failure)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
