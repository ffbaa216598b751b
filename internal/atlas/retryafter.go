package atlas

import (
	"context"
	"time"

	"go.uber.org/zap"

	"rekey/internal/jobs"
	"rekey/internal/retryafter"
)

// silentPause is how long a bucket is paused by a rate limit that does not say how long: as long as the first backoff of a
// job.
const silentPause = time.Second

// applyRetryAfter pauses the bucket for as long as the API asks, and notes it in the failure. A rate limit that asks for no
// wait pauses the bucket for a moment all the same.
func (c *Client) applyRetryAfter(ctx context.Context, to endpoint, ex exchange, said problem, f *jobs.Failure) {
	limited := f.Reason == jobs.ReasonRateLimited
	at, ok, odd := retryAt(ex, said)
	c.noteOdd(to, odd)
	if !ok {
		if limited {
			c.limiter.Refused(ctx, ex.sample, ex.at, ex.at.Add(silentPause), said.limit)
		}
		return
	}
	if latest := ex.at.Add(c.limiter.MaxRetryAfter()); at.After(latest) {
		c.log.Warn("the API's Retry-After exceeds retry.retry_after_cap; waiting for the cap", zap.String("operation", to.operation),
			zap.Duration("asked", at.Sub(ex.at)), zap.Time("retry_at", latest))
		at, f.RetryAfterCapped = latest, true
	}
	c.recorder.RetryAfter(to.operation, at.Sub(ex.at))
	if limited {
		f.RetryAt = c.limiter.Refused(ctx, ex.sample, ex.at, at, said.limit)
	} else {
		f.RetryAt = c.limiter.Closed(ctx, ex.sample, at)
	}
}

// retryAt returns when the API accepts the next request. The header counts; where it is
// missing or invalid, the error document. Of several headers the longest counts. odd is an
// invalid one, "" when there is none.
func retryAt(ex exchange, said problem) (latest time.Time, found bool, odd string) {
	for _, value := range ex.header.Values("Retry-After") {
		at, ok := retryafter.Parse(value, ex.header.Get("Date"), ex.at)
		if ok && at.After(latest) {
			latest = at
		}
		if found = found || ok; !ok {
			odd = value
		}
	}
	if !found {
		latest, found = retryafter.Parse(said.wait, "", ex.at)
	}
	return latest, found, odd
}

// noteOdd logs once that a Retry-After is invalid, and what counts instead.
func (c *Client) noteOdd(to endpoint, value string) {
	if value == "" || c.oddNoted.Swap(true) {
		return
	}
	const most = 60 // Runes: longer than any date.
	c.log.Warn("the API's Retry-After is neither seconds nor a date; using the error document or the backoff (logged once)",
		zap.String("operation", to.operation), zap.String("value", shorten(c.scrubber().text(value), most)))
}
