package ssf

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"rekey/internal/backoff"
)

// Pauses between polls.
const (
	pollPause     = 5 * time.Second // After an answer that was empty at once: the transmitter does not wait for events.
	pollAtOnce    = time.Second
	pollFirst     = time.Second // After a failure; it doubles.
	pollLongest   = time.Minute
	verifiedEvery = 24 * time.Hour
)

// Handler takes a token in. An *Error refuses it; after another one it is delivered again.
type Handler func(ctx context.Context, token string) error

// Run polls until ctx ends. What is acknowledged was handled. failed is called for each poll that fails.
func (s *Stream) Run(ctx context.Context, handle Handler, failed func(error)) {
	var done Settled
	failures := 0
	for ctx.Err() == nil {
		begun := time.Now()
		batch, err := s.Poll(ctx, done)
		if ctx.Err() != nil {
			break
		}
		pause := time.Duration(0)
		if err != nil {
			failures++
			failed(err)
			pause = backoff.Delay(pollFirst, pollLongest, failures)
		} else {
			failures = 0
			var left bool
			done, left = settle(ctx, batch, handle)
			if left || len(batch.Sets) == 0 && time.Since(begun) < pollAtOnce {
				pause = pollPause
			}
		}
		if backoff.Sleep(ctx, pause) != nil {
			break
		}
	}
}

// settle handles the tokens of a batch, and reports whether some are left for later.
func settle(ctx context.Context, batch Batch, handle Handler) (done Settled, left bool) {
	done.Refused = map[string]*Error{}
	for _, id := range slices.Sorted(maps.Keys(batch.Sets)) {
		err := handle(ctx, batch.Sets[id])
		refused, isRefused := errors.AsType[*Error](err)
		switch {
		case err == nil:
			done.Acknowledged = append(done.Acknowledged, id)
		case isRefused:
			done.Refused[id] = refused
		default:
			left = true
		}
	}
	return done, left
}

// KeepVerified asks for a verification now, and once a day, until ctx ends. failed is called for each request that fails, which is
// made again.
func (s *Stream) KeepVerified(ctx context.Context, now func() time.Time, failed func(error)) {
	failures := 0
	for ctx.Err() == nil {
		pause := verifiedEvery
		if err := s.AskVerification(ctx, now()); err != nil && ctx.Err() == nil {
			failures++
			failed(err)
			pause = backoff.Delay(pollFirst, 10*pollLongest, failures)
		} else {
			failures = 0
		}
		if backoff.Sleep(ctx, pause) != nil {
			break
		}
	}
}
