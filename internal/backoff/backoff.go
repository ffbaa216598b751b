// Package backoff computes the delay before the next attempt, and waits for it.
package backoff

import (
	"context"
	"time"
)

// Delay is the delay after the n-th failure in a row, n from 1: first, 2*first, 4*first and so on, at most longest.
func Delay(first, longest time.Duration, n int) time.Duration {
	delay := first
	for range n - 1 {
		if delay >= longest/2 {
			return longest
		}
		delay *= 2
	}
	return min(delay, longest)
}

// Sleep waits for d, or returns the cause of ctx's end.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
