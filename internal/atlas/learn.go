package atlas

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"rekey/internal/jobs"
	"rekey/internal/pace"
)

// maxLeft bounds what an answer says of how many calls are left.
const maxLeft = 1_000_000

// visit is one request at a rate bucket.
type sample struct {
	bucket *localBucket
	rank   pace.Rank
	sent   time.Time
	// known says that the bucket's limit was known: a rate limit should not have come.
	limitKnown bool
	// tokens is how many calls we thought the bucket had left.
	tokens int
}

func (p *limiter) sample(in entry, sent time.Time) sample {
	s, _ := in.bucket.snapshot()
	return sample{bucket: in.bucket, rank: in.rank, sent: sent, limitKnown: s.Limit.Known(), tokens: s.Tokens(p.sharedEarliest(sent))}
}

// answered learns from the end of a request, whatever it was. With free set, it spent nothing,
// and its leave is good for another one.
func (p *limiter) answered(ctx context.Context, v sample, ex exchange, free bool) {
	g, now := v.bucket, time.Now()
	if free {
		g.free(v, now)
		return
	}
	capacity, left := headerCount(ex.header, "RateLimit-Limit"), headerCount(ex.header, "RateLimit-Remaining")
	if !ex.limited() { // Of a refusal, the next call must wait until it is taken to heart.
		g.answered(v, now.Sub(v.sent), left)
	}
	p.compare(ctx, v, ex, capacity, left)
	switch s, _ := g.snapshot(); {
	case s.Limit.Known():
		p.showTokens(g)
	case left >= 0:
		p.recorder.BucketTokens(string(g.bucket.set), float64(left))
	}
}

// compare takes over what an answer says of the bucket where it is not what we thought.
func (p *limiter) compare(ctx context.Context, v sample, ex exchange, capacity, left int) {
	s, _ := v.bucket.snapshot()
	if capacity > 0 && !s.Limit.Known() && v.bucket.bucket.set != setRateLimits {
		p.requestRefresh()
	}
	through := ex.status != 0 && ex.status != http.StatusServiceUnavailable && !ex.limited()
	limit := s.Limit
	if limit.Known() && s.Source != pace.SourceConfig && capacity > 0 {
		limit.Capacity = capacity
	}
	// Calls that others have drawn tokens for may not have come in yet, so that more may be left
	// than we think. Less means that somebody besides us draws on the bucket.
	least := min(v.tokens, s.Tokens(p.sharedEarliest(time.Now())))
	foreign := through && v.limitKnown && left >= 0 && left+1+s.Limit.Keep(p.share) < least
	news := limit != s.Limit
	if !news && !foreign && (!through || s.Refusals == 0) {
		return
	}
	p.change(ctx, v.bucket, &change{apply: func(s *pace.State, now time.Time) bool {
		changed := news && s.Learn(limit, pace.SourceAnswer)
		if foreign {
			changed = s.Owe(now, s.Limit.Capacity-left) || changed
		}
		if through {
			changed = s.Accepted(p.sharedEarliest(v.sent)) || changed
		}
		return changed
	}})
}

// headerCount is a header that is a count, or -1.
func headerCount(header http.Header, name string) int {
	n, err := strconv.Atoi(strings.TrimSpace(header.Get(name)))
	if err != nil || n < 0 || n > maxLeft {
		return -1
	}
	return n
}

// refused pauses the bucket of a request that met a rate limit, for all workers, and returns
// until when. wait is how long the API wants to be left alone.
func (p *limiter) refused(ctx context.Context, v sample, at, until time.Time, told pace.Limit) time.Time {
	set := string(v.bucket.bucket.set)
	p.recorder.RateLimited(set, v.limitKnown)
	var paused time.Time
	var before, after pace.State
	p.change(ctx, v.bucket, &change{apply: func(s *pace.State, _ time.Time) bool {
		before = s.Clone()
		if !s.Limit.Same(told) { // Else the better source stays.
			s.Learn(told, pace.SourceAnswer)
		}
		paused = s.Refuse(pace.Refusal{
			Sent: p.sharedEarliest(v.sent), At: p.sharedLatest(at), Until: p.sharedLatest(until), Patience: p.patience, Longest: p.longest(),
		})
		after = s.Clone()
		return true
	}})
	v.bucket.refused(v)
	if !after.Limit.Known() {
		p.requestRefresh()
	}
	p.logRefused(v, &before, &after, told)
	return p.notePause(v, &before, paused)
}

// sayRefused tells of a rate limit that should not have come, or that contradicts the operator.
func (p *limiter) logRefused(v sample, before, after *pace.State, told pace.Limit) {
	fields := []zap.Field{
		zap.String("bucket", v.bucket.bucket.key()), zap.Stringer("limit", after.Limit), zap.String("source", string(after.Source)),
	}
	switch {
	case told.Known() && !after.Limit.Same(told):
		p.log.Warn("the API says that a rate bucket is not as it is configured", append(fields, zap.Stringer("told", told))...)
	case v.limitKnown && !before.Limit.Same(after.Limit):
		p.log.Warn("the API has changed a rate bucket", append(fields, zap.Stringer("was", before.Limit))...)
	case v.limitKnown:
		p.log.Info("a rate bucket was empty earlier than known; somebody else may use it", fields...)
	}
}

// closed pauses the bucket without a word about its tokens: the API is out of order for a while.
func (p *limiter) closed(ctx context.Context, v sample, until time.Time) time.Time {
	var before pace.State
	p.change(ctx, v.bucket, &change{apply: func(s *pace.State, _ time.Time) bool {
		before = s.Clone()
		return s.Close(p.sharedLatest(until))
	}})
	return p.notePause(v, &before, p.sharedLatest(until))
}

// notePause counts by how much a pause was lengthened, and returns its end.
func (p *limiter) notePause(v sample, before *pace.State, until time.Time) time.Time {
	now := p.sharedEarliest(time.Now())
	from := now
	if paused := before.Paused(now); paused.After(now) {
		from = paused
	}
	if until.After(from) {
		p.recorder.Paused(string(v.bucket.bucket.set), until.Sub(from))
	}
	return p.own(until)
}

// obey takes over how long the API wants to be left alone, and pauses the bucket. A rate
// limit that says nothing of it pauses the bucket for a moment all the same.
func (c *Client) applyRetryAfter(ctx context.Context, to endpoint, ex exchange, said problem, f *jobs.Failure) {
	limited := f.Reason == jobs.ReasonRateLimited
	at, ok, odd := retryAt(ex, said)
	c.noteOdd(to, odd)
	if !ok {
		if limited {
			c.pacer.refused(ctx, ex.sample, ex.at, ex.at.Add(silentPause), said.limit)
		}
		return
	}
	if latest := ex.at.Add(c.pacer.longest()); at.After(latest) {
		c.log.Warn("the API asks for a longer wait than is believed", zap.String("operation", to.operation),
			zap.Duration("asked", at.Sub(ex.at)), zap.Time("retry_at", latest))
		at, f.RetryAfterCapped = latest, true
	}
	c.recorder.RetryAfter(to.operation, at.Sub(ex.at))
	if limited {
		f.RetryAt = c.pacer.refused(ctx, ex.sample, ex.at, at, said.limit)
	} else {
		f.RetryAt = c.pacer.closed(ctx, ex.sample, at)
	}
}

// showFull shows the buckets whose limit is known before the first call: nobody has drawn on them.
func (p *limiter) showFull() {
	for set, rule := range p.rules {
		limit := p.configured[set]
		if !limit.Known() {
			limit = rule.limit
		}
		if limit.Known() {
			p.recorder.BucketTokens(string(set), float64(limit.Capacity))
		}
	}
}

// showTokens shows how many calls the bucket has left.
func (p *limiter) showTokens(g *localBucket) {
	s, _ := g.snapshot()
	if s.Limit.Known() {
		p.recorder.BucketTokens(string(g.bucket.set), float64(s.Tokens(p.sharedEarliest(time.Now()))))
	}
}
