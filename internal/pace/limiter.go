package pace

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	// maxBuckets and bucketLife say when idle buckets are forgotten.
	maxBuckets = 4096
	bucketLife = 10 * time.Minute
)

// Recorder shows what a Limiter does. A set is the name of an endpoint set.
type Recorder interface {
	// BucketTokens records how many requests a rate bucket has left.
	BucketTokens(set string, n float64)
	// RateLimited counts a rate limit, and whether the bucket's limit was known before the call.
	RateLimited(set string, foreseeable bool)
	// Paused counts how long a bucket is closed.
	Paused(set string, d time.Duration)
	// PaceShared records whether the buckets are shared with the other workers.
	PaceShared(shared bool)
}

// Set has the limits of an endpoint set's buckets that are known before the first call.
type Set struct {
	Configured Limit // By the operator; the zero Limit leaves it to the API.
	Published  Limit // By the vendor, for all its customers; the zero Limit where there is none.
}

// Config describes a Limiter.
type Config struct {
	// Store shares the buckets with the other workers. Nil: this worker goes by its own estimate.
	Store Store
	// Sets are the endpoint sets by name. Buckets of others are not accepted from other workers.
	Sets map[string]Set
	// UrgentShare is the part of each bucket that is kept for urgent calls, from 0 to 0.9.
	UrgentShare float64
	// Patience is the least wait after the second refusal in a row. It doubles with each further one.
	Patience time.Duration
	// MaxRetryAfter bounds every pause.
	MaxRetryAfter time.Duration
	Recorder      Recorder    // Required.
	Logger        *zap.Logger // Required.
}

// Limiter paces the calls of one worker, and together with a Store those of the fleet: it grants permits to call,
// and learns from the answers. Moments in a State are on the clock that the workers share; those that go in and out of a
// Limiter are on this machine's. It may be used by several goroutines at once.
type Limiter struct {
	store    Store // Nil: this worker is alone.
	sets     map[string]Set
	share    float64
	patience time.Duration
	maxPause atomic.Int64 // MaxRetryAfter, in nanoseconds.
	recorder Recorder
	log      *zap.Logger

	ready      chan struct{} // Closed when the store's states are here, or it failed.
	readyOnce  sync.Once
	downUntil  atomic.Int64 // Until when the store is not asked, in Unix nanoseconds.
	downLogged atomic.Bool  // The log has that the store fails.

	refresh chan struct{} // Holds a token when the API is to be asked for its limits.

	mu       sync.Mutex // Guards what follows.
	buckets  map[string]*localBucket
	sweep    int              // How many buckets there may be before the idle ones are forgotten.
	listed   map[string]Limit // What the API's list of limits said, by set.
	readings int              // How often that list was read.
}

// New returns a Limiter. Its Run must run while it is used.
func New(cfg Config) *Limiter {
	l := &Limiter{
		store: cfg.Store, sets: cfg.Sets, share: cfg.UrgentShare, patience: cfg.Patience, recorder: cfg.Recorder, log: cfg.Logger,
		ready: make(chan struct{}), refresh: make(chan struct{}, 1), buckets: map[string]*localBucket{}, listed: map[string]Limit{},
	}
	l.SetMaxRetryAfter(cfg.MaxRetryAfter)
	if l.store == nil {
		l.setReady()
	}
	l.recorder.PaceShared(l.store != nil)
	l.showFull()
	return l
}

// SetMaxRetryAfter changes the bound of every pause, from the next answer on.
func (l *Limiter) SetMaxRetryAfter(d time.Duration) { l.maxPause.Store(int64(d)) }

// MaxRetryAfter is the bound of every pause.
func (l *Limiter) MaxRetryAfter() time.Duration { return time.Duration(l.maxPause.Load()) }

// local returns this worker's view of a bucket.
func (l *Limiter) local(b Bucket) *localBucket {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	key := b.Key()
	lb, ok := l.buckets[key]
	if !ok {
		if len(l.buckets) >= max(l.sweep, maxBuckets) {
			l.forgetIdle(now)
			l.sweep = 2 * len(l.buckets) // A walk over all buckets is paid for by as many new ones.
		}
		lb = &localBucket{Bucket: b}
		l.buckets[key] = lb
	}
	lb.mu.Lock()
	lb.used = now
	lb.mu.Unlock()
	return lb
}

// forgetIdle forgets idle buckets. The lock is held.
func (l *Limiter) forgetIdle(now time.Time) {
	for key, lb := range l.buckets {
		if lb.idle(now) {
			delete(l.buckets, key)
		}
	}
}

// Wait is when to ask for a permit again. The zero Wait is none: the permit was granted.
type Wait struct {
	At time.Time // An estimate of when the call can be made.
	// NotBefore is the end of the bucket's pause; zero when it is not paused.
	NotBefore time.Time
}

// Take grants a permit for one call, or returns when to ask again. The call of a permit is counted: it must be made at
// once, or Drop must end the permit.
func (l *Limiter) Take(ctx context.Context, b Bucket, rank Rank) Wait {
	l.awaitReady(ctx)
	lb := l.local(b)
	if wait, probed := l.probe(lb, rank, true); probed {
		return wait
	}
	var granted bool
	var slot, paused time.Time
	l.change(ctx, lb, &change{rank: rank, apply: func(s *State, now time.Time) bool {
		if granted = s.Take(now, rank, l.share); granted {
			return s.Limit.Known() || s.Refusals > 0
		}
		slot, paused = s.Plan(now, rank, l.share), s.Paused(now)
		return true
	}})
	l.showTokens(lb)
	if granted {
		lb.grant(time.Now(), rank)
		return Wait{}
	}
	return Wait{At: l.own(slot), NotBefore: l.own(paused)}
}

// TakeNow is Take for a job that asks again when it has its place in the queue: where there is no permit, it reports that, and plans
// no turn.
func (l *Limiter) TakeNow(ctx context.Context, b Bucket, rank Rank) bool {
	l.awaitReady(ctx)
	lb := l.local(b)
	if wait, probed := l.probe(lb, rank, false); probed {
		return wait.At.IsZero()
	}
	var granted bool
	l.change(ctx, lb, &change{rank: rank, apply: func(s *State, now time.Time) bool {
		granted = s.Take(now, rank, l.share)
		return granted && (s.Limit.Known() || s.Refusals > 0)
	}})
	l.showTokens(lb)
	if granted {
		lb.grant(time.Now(), rank)
	}
	return granted
}

// probe is Take for a bucket whose limit is not known, which has no state to share, or TakeNow, which plans no turn. It reports whether
// the bucket is one.
func (l *Limiter) probe(lb *localBucket, rank Rank, plan bool) (Wait, bool) {
	if !l.unknown(lb) {
		return Wait{}, false
	}
	now := time.Now()
	lb.mu.Lock()
	defer lb.mu.Unlock()
	paused := l.own(lb.state.Paused(l.sharedEarliest(now)))
	lb.expire(now)
	if paused.IsZero() && lb.probe.Take(now, rank) {
		lb.permits = append(lb.permits, permit{granted: now, rank: rank})
		return Wait{}, true
	}
	from := now
	if paused.After(now) {
		from = paused
	}
	if !plan {
		return Wait{At: from, NotBefore: paused}, true
	}
	return Wait{At: lb.probe.Plan(now, from, rank), NotBefore: paused}, true
}

// unknown reports whether no source names the bucket's limit, and the API has not refused the latest call
// either: such a bucket has no state to share.
func (l *Limiter) unknown(lb *localBucket) bool {
	listed, _ := l.listedLimit(lb.Set)
	set := l.sets[lb.Set]
	return !listed.Known() && !set.Configured.Known() && !set.Published.Known() && !lb.shares()
}

// Peek returns when a bucket has a token for an urgent call, without taking it.
func (l *Limiter) Peek(ctx context.Context, b Bucket) Wait {
	l.awaitReady(ctx)
	s, _ := l.local(b).snapshot()
	now := l.sharedEarliest(time.Now())
	free := s.Free(now)
	if !free.After(now) {
		return Wait{}
	}
	return Wait{At: l.own(free), NotBefore: l.own(s.Paused(now))}
}

// Drop ends a permit that is not used.
func (l *Limiter) Drop(b Bucket, rank Rank) { l.local(b).drop(rank) }

// Entry is a request at its bucket: as urgent as it is there, or until when it is held.
type Entry struct {
	HeldUntil time.Time // When the bucket has a token; zero when the request may be made.
	bucket    *localBucket
	rank      Rank
}

// Cancel takes back an entry whose request is not made.
func (e Entry) Cancel() { e.bucket.unsent(e.rank) }

// Enter must be called before each request. It uses the permit that was granted for it; a request without one takes its
// token here.
func (l *Limiter) Enter(ctx context.Context, b Bucket, rank Rank) Entry {
	l.awaitReady(ctx)
	lb := l.local(b)
	for {
		now := time.Now()
		s, _ := lb.snapshot()
		if paused := l.own(s.Paused(l.sharedEarliest(now))); paused.After(now) {
			return Entry{bucket: lb, HeldUntil: paused}
		}
		if !l.unknown(lb) {
			return l.draw(ctx, lb, rank, now)
		}
		ended := lb.send(now, rank, ctx.Err() != nil)
		if ended == nil {
			return Entry{bucket: lb, rank: rank}
		}
		awaitCall(ctx, ended)
	}
}

// draw is Enter at a bucket whose state is shared.
func (l *Limiter) draw(ctx context.Context, lb *localBucket, rank Rank, now time.Time) Entry {
	// A permit that is used late is void: another call may have taken the token that has returned
	// since. The job has begun, so it may take a token that is kept for urgent calls.
	ok, late := lb.use(now, rank)
	switch {
	case ok:
		return Entry{bucket: lb, rank: rank}
	case late && rank != RankCheck:
		rank = 0
	}
	if wait := l.Take(ctx, lb.Bucket, rank); wait.At.After(now) {
		return Entry{bucket: lb, HeldUntil: wait.At}
	}
	lb.use(now, rank)
	return Entry{bucket: lb, rank: rank}
}
