package pace

import (
	"context"
	"maps"
	"time"

	"go.uber.org/zap"
)

// Sample is one request at a rate bucket. The zero Sample is none.
type Sample struct {
	bucket *localBucket
	rank   Rank
	sent   time.Time
	// limitKnown says that the bucket's limit was known: a rate limit should not have come.
	limitKnown bool
	// tokens is how many calls we thought the bucket had left.
	tokens int
}

// Sample returns the sample of a request that is sent now.
func (l *Limiter) Sample(e Entry, sent time.Time) Sample {
	s, _ := e.bucket.snapshot()
	return Sample{bucket: e.bucket, rank: e.rank, sent: sent, limitKnown: s.Limit.Known(), tokens: s.Tokens(l.sharedEarliest(sent))}
}

// Answer is what the answer to a request says of its bucket, or the absence of one.
type Answer struct {
	Capacity int  // Most calls that the bucket holds; negative when the answer says nothing of it.
	Left     int  // How many calls are left; negative when the answer says nothing of it.
	Limited  bool // It is a rate limit.
	Accepted bool // The bucket has let the call through.
	// ListsLimits says that the request was for the API's list of limits, so that its answer causes no further one.
	ListsLimits bool
}

// Renew notes the end of a request that the API did not count: its permit is good for another one.
func (l *Limiter) Renew(v Sample) { v.bucket.renew(v.rank, v.limitKnown, time.Now()) }

// Answered learns from the end of a request, whatever it was.
func (l *Limiter) Answered(ctx context.Context, v Sample, a Answer) {
	if !a.Limited { // After a refusal, the next call must wait until the pause is known.
		v.bucket.answered(v.rank, time.Since(v.sent), a.Left)
	}
	l.compare(ctx, v, a)
	switch s, _ := v.bucket.snapshot(); {
	case s.Limit.Known():
		l.showTokens(v.bucket)
	case a.Left >= 0:
		l.recorder.BucketTokens(v.bucket.Set, float64(a.Left))
	}
}

// compare takes over what an answer says of the bucket where it is not what we thought.
func (l *Limiter) compare(ctx context.Context, v Sample, a Answer) {
	s, _ := v.bucket.snapshot()
	if a.Capacity > 0 && !s.Limit.Known() && !a.ListsLimits {
		l.requestRefresh()
	}
	limit := s.Limit
	if limit.Known() && s.Source != SourceConfig && a.Capacity > 0 {
		limit.Capacity = a.Capacity
	}
	// Calls that others have drawn tokens for may not have come in yet, so that more may be left
	// than we think. Less means that another client draws on the bucket.
	least := min(v.tokens, s.Tokens(l.sharedEarliest(time.Now())))
	foreign := a.Accepted && v.limitKnown && a.Left >= 0 && a.Left+1+s.Limit.Keep(l.share) < least
	news := limit != s.Limit
	if !news && !foreign && (!a.Accepted || s.Refusals == 0) {
		return
	}
	l.change(ctx, v.bucket, &change{apply: func(s *State, now time.Time) bool {
		changed := news && s.Learn(limit, SourceAnswer)
		if foreign {
			changed = s.Owe(now, s.Limit.Capacity-a.Left) || changed
		}
		if a.Accepted {
			changed = s.Accepted(l.sharedEarliest(v.sent)) || changed
		}
		return changed
	}})
}

// Refused pauses the bucket of a request that met a rate limit, for all workers, and returns
// until when. at is when the answer arrived, until when the API accepts the next call, and reported the limit that the
// answer names.
func (l *Limiter) Refused(ctx context.Context, v Sample, at, until time.Time, reported Limit) time.Time {
	l.recorder.RateLimited(v.bucket.Set, v.limitKnown)
	var paused time.Time
	var before, after State
	l.change(ctx, v.bucket, &change{apply: func(s *State, _ time.Time) bool {
		before = s.Clone()
		if !s.Limit.Same(reported) { // Else the better source stays.
			s.Learn(reported, SourceAnswer)
		}
		paused = s.Refuse(Refusal{
			Sent: l.sharedEarliest(v.sent), At: l.sharedLatest(at), Until: l.sharedLatest(until),
			Patience: l.patience, Longest: l.MaxRetryAfter(),
		})
		after = s.Clone()
		return true
	}})
	v.bucket.refused(v.rank)
	if !after.Limit.Known() {
		l.requestRefresh()
	}
	l.logRefused(v, &before, &after, reported)
	return l.notePause(v, &before, paused)
}

// logRefused logs a rate limit that should not have come, or that contradicts the operator.
func (l *Limiter) logRefused(v Sample, before, after *State, reported Limit) {
	fields := []zap.Field{
		zap.String("bucket", v.bucket.Key()), zap.Stringer("limit", after.Limit), zap.String("source", string(after.Source)),
	}
	switch {
	case reported.Known() && !after.Limit.Same(reported):
		l.log.Warn("the API reports another limit of a rate bucket than is configured", append(fields, zap.Stringer("reported", reported))...)
	case v.limitKnown && !before.Limit.Same(after.Limit):
		l.log.Warn("the API has changed the limit of a rate bucket", append(fields, zap.Stringer("was", before.Limit))...)
	case v.limitKnown:
		l.log.Info("a rate bucket was empty earlier than expected; another client may use it", fields...)
	}
}

// Closed pauses the bucket of a request and leaves its tokens: the API is out of order for a while. It returns until when.
func (l *Limiter) Closed(ctx context.Context, v Sample, until time.Time) time.Time {
	var before State
	l.change(ctx, v.bucket, &change{apply: func(s *State, _ time.Time) bool {
		before = s.Clone()
		return s.Close(l.sharedLatest(until))
	}})
	return l.notePause(v, &before, l.sharedLatest(until))
}

// notePause counts by how much a pause was lengthened, and returns its end.
func (l *Limiter) notePause(v Sample, before *State, until time.Time) time.Time {
	from := l.sharedEarliest(time.Now())
	if paused := before.Paused(from); paused.After(from) {
		from = paused
	}
	if until.After(from) {
		l.recorder.Paused(v.bucket.Set, until.Sub(from))
	}
	return l.own(until)
}

// List takes over what the API's list says of its endpoint sets.
func (l *Limiter) List(limits map[string]Limit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.readings++
	maps.Copy(l.listed, limits)
}

// listedLimit is what the API listed of a set, the zero Limit when nothing, and in which reading.
func (l *Limiter) listedLimit(set string) (limit Limit, reading int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.listed[set], l.readings
}

// RefreshLimits delivers a value when answers show that the API has limits which are not known here: reading its list
// would pay.
func (l *Limiter) RefreshLimits() <-chan struct{} { return l.refresh }

func (l *Limiter) requestRefresh() {
	select {
	case l.refresh <- struct{}{}:
	default: // One is requested already.
	}
}

// showFull shows the buckets whose limit is known before the first call: they are full.
func (l *Limiter) showFull() {
	for name, set := range l.sets {
		limit := set.Configured
		if !limit.Known() {
			limit = set.Published
		}
		if limit.Known() {
			l.recorder.BucketTokens(name, float64(limit.Capacity))
		}
	}
}

// showTokens shows how many calls the bucket has left.
func (l *Limiter) showTokens(lb *localBucket) {
	s, _ := lb.snapshot()
	if s.Limit.Known() {
		l.recorder.BucketTokens(lb.Set, float64(s.Tokens(l.sharedEarliest(time.Now()))))
	}
}
