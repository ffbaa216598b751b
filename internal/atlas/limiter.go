package atlas

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"rekey/internal/jobs"
	"rekey/internal/pace"
)

const (
	// silentPause is how long a bucket is paused by a rate limit that does not say how long:
	// as long as the first backoff of a job.
	silentPause = time.Second
	// storeTimeout bounds one change of the shared state. Attempts wait for it.
	storeTimeout = 2 * time.Second
	// alonePause is how long a worker goes by its own estimate before it turns to the store again.
	downPause = time.Second
	// watchPause is how long to wait before watching again when the store has let go of us.
	watchPause = time.Second
	// knownTimeout bounds the wait of the first calls for what the other workers know.
	readyTimeout = 2 * time.Second
	// maxBucketKey bounds the keys that are believed of others, in bytes.
	maxBucketKey = 256
	// maxRaces bounds how often a change of the shared state is begun anew.
	maxRaces = 32
	// maxGates and gateLife say when buckets are forgotten that nobody uses.
	maxBuckets = 4096
	bucketLife = 10 * time.Minute
)

// PaceStore shares the states of rate buckets between workers. A key is made of letters, digits
// and -_./= and names no secret.
type PaceStore interface {
	// Load returns a state and its revision; the zero State and 0 when there is none.
	Load(ctx context.Context, key string) (pace.State, uint64, error)
	// Save replaces the state of that revision (0: there is none) and returns the new revision,
	// or 0 when the state is not of that revision any more.
	Save(ctx context.Context, key string, s pace.State, revision uint64) (uint64, error)
	// Watch hands over the states that there are, calls known once, and then hands over what
	// changes, until ctx ends. It may hand over changes of this worker.
	Watch(ctx context.Context, changed func(key string, s pace.State, revision uint64), known func()) error
	// Clock says what must be added to this worker's clock to get the one that the workers
	// share: something between the two.
	Clock() (least, most time.Duration)
}

// pacer knows when each bucket may be drawn on. The moments in a state are on the shared clock;
// those that go in and out here are on our own.
type limiter struct {
	store      PaceStore // Nil: this worker is alone.
	rules      map[endpointSet]setRule
	configured map[endpointSet]pace.Limit
	share      float64
	patience   time.Duration
	maxPause   atomic.Int64 // The longest wait that is believed, in nanoseconds. SetMaxRetryAfter changes it.
	recorder   Recorder
	log        *zap.Logger

	ready      chan struct{} // Closed when the store's states are known, or it failed.
	readyOnce  sync.Once
	downUntil  atomic.Int64 // Until when we go by our own estimate, in Unix nanoseconds.
	downLogged atomic.Bool  // The log already has that the store fails.

	refresh chan struct{} // Holds a token when the API is to be asked for its limits.

	mu       sync.Mutex // Guards what follows.
	buckets  map[string]*localBucket
	sweep    int                        // How many gates there may be before the idle ones are forgotten.
	listed   map[endpointSet]pace.Limit // What GET rateLimits said.
	readings int                        // How often it was read.
}

func newLimiter(cfg Config, rules map[endpointSet]setRule, log *zap.Logger) *limiter {
	p := &limiter{
		store: cfg.Pace, rules: rules, configured: map[endpointSet]pace.Limit{}, share: cfg.UrgentShare,
		patience: cfg.RefusalPatience, recorder: cfg.Recorder, log: log,
		ready: make(chan struct{}), refresh: make(chan struct{}, 1), buckets: map[string]*localBucket{}, listed: map[endpointSet]pace.Limit{},
	}
	p.maxPause.Store(int64(cfg.MaxRetryAfter))
	for name, own := range cfg.RateLimits {
		p.configured[endpointSet(name)] = own.Limit
	}
	if p.store == nil {
		p.setReady()
	}
	cfg.Recorder.PaceShared(p.store != nil)
	p.showFull()
	return p
}

// longest is the longest wait that is believed.
func (p *limiter) longest() time.Duration { return time.Duration(p.maxPause.Load()) }

func (p *limiter) setReady() { p.readyOnce.Do(func() { close(p.ready) }) }

// awaitKnown waits until it is known what the other workers know: a pause from before a restart
// holds for the first call.
func (p *limiter) awaitReady(ctx context.Context) {
	select {
	case <-p.ready:
		return
	default:
	}
	timer := time.NewTimer(readyTimeout)
	defer timer.Stop()
	select {
	case <-p.ready:
	case <-ctx.Done():
	case <-timer.C:
		p.setReady()
		p.storeDown("reading the states of the rate buckets", fmt.Errorf("no answer within %s", readyTimeout))
	}
}

// clock returns the bounds of what must be added to our clock.
func (p *limiter) clock() (least, most time.Duration) {
	if p.store == nil {
		return 0, 0
	}
	return p.store.Clock()
}

// shared is a moment of ours on the shared clock, and never ahead of it: what may be done from
// a moment on is not done early.
func (p *limiter) sharedEarliest(own time.Time) time.Time {
	least, _ := p.clock()
	return own.Add(least)
}

// binding is a moment of ours on the shared clock, and never behind it: before it nobody calls.
func (p *limiter) sharedLatest(own time.Time) time.Time {
	_, most := p.clock()
	return own.Add(most)
}

// own is a moment on the shared clock on ours, the zero time for none.
func (p *limiter) own(shared time.Time) time.Time {
	if shared.IsZero() {
		return shared
	}
	least, _ := p.clock()
	return shared.Add(-least)
}

// gate returns the gate of a bucket.
func (p *limiter) local(b bucket) *localBucket {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	key := b.key()
	g, ok := p.buckets[key]
	if !ok {
		if len(p.buckets) >= max(p.sweep, maxBuckets) {
			p.forgetIdle(now)
			p.sweep = 2 * len(p.buckets) // A walk over all gates is paid for by as many new ones.
		}
		g = &localBucket{bucket: b}
		p.buckets[key] = g
	}
	g.mu.Lock()
	g.used = now
	g.mu.Unlock()
	return g
}

// forgetIdle forgets the gates that nobody needs. The lock is held.
func (p *limiter) forgetIdle(now time.Time) {
	for key, g := range p.buckets {
		if g.idle(now) {
			delete(p.buckets, key)
		}
	}
}

// take gives leave to call, or says when to ask again.
func (p *limiter) take(ctx context.Context, b bucket, rank pace.Rank) jobs.Permit {
	p.awaitReady(ctx)
	g := p.local(b)
	if permit, probed := p.probe(g, rank); probed {
		return permit
	}
	var granted bool
	var slot, paused time.Time
	p.change(ctx, g, &change{rank: rank, apply: func(s *pace.State, now time.Time) bool {
		if granted = s.Take(now, rank, p.share); granted {
			return s.Limit.Known() || s.Refusals > 0
		}
		slot, paused = s.Plan(now, rank, p.share), s.Paused(now)
		return true
	}})
	p.showTokens(g)
	if granted {
		g.grant(time.Now(), rank)
		return jobs.Permit{}
	}
	return jobs.Permit{At: p.own(slot), NotBefore: p.own(paused)}
}

// unknown reports whether the API has told nothing of the bucket's limit, in no way, and has not
// refused the latest call either: about such a bucket there is nothing to share.
func (p *limiter) unknown(g *localBucket) bool {
	listed, _ := p.listedLimit(g.bucket.set)
	return !listed.Known() && !p.configured[g.bucket.set].Known() && !p.rules[g.bucket.set].limit.Known() && !g.shares()
}

// listedLimit is what the API listed of a set, the zero Limit when nothing, and in which reading.
func (p *limiter) listedLimit(set endpointSet) (limit pace.Limit, reading int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.listed[set], p.readings
}

// peek says when a bucket has a token for an urgent call, without taking it.
func (p *limiter) peek(ctx context.Context, b bucket) jobs.Permit {
	p.awaitReady(ctx)
	g := p.local(b)
	s, _ := g.snapshot()
	now := p.sharedEarliest(time.Now())
	free := s.Free(now)
	if !free.After(now) {
		return jobs.Permit{}
	}
	return jobs.Permit{At: p.own(free), NotBefore: p.own(s.Paused(now))}
}

// entry is a request at its bucket: as urgent as it is there, or until when it is held.
type entry struct {
	bucket    *localBucket
	rank      pace.Rank
	heldUntil time.Time
}

// enter is asked before each request. It uses up the leave that a job was given for it; a
// request without one takes its token here.
func (p *limiter) enter(ctx context.Context, b bucket, rank pace.Rank) entry {
	p.awaitReady(ctx)
	g := p.local(b)
	for {
		now := time.Now()
		s, _ := g.snapshot()
		if paused := p.own(s.Paused(p.sharedEarliest(now))); paused.After(now) {
			return entry{bucket: g, heldUntil: paused}
		}
		if !p.unknown(g) {
			return p.draw(ctx, g, rank, now)
		}
		ended := g.send(now, rank, ctx.Err() != nil)
		if ended == nil {
			return entry{bucket: g, rank: rank}
		}
		awaitCall(ctx, ended)
	}
}

// draw is enter at a bucket of which something is known.
func (p *limiter) draw(ctx context.Context, g *localBucket, rank pace.Rank, now time.Time) entry {
	// A leave that is used late is no good, for others may have taken the token that has come
	// since. The job is on its way, so it may have one that is kept for urgent ones.
	ok, late := g.use(now, rank)
	switch {
	case ok:
		return entry{bucket: g, rank: rank}
	case late:
		rank = 0
	}
	if permit := p.take(ctx, g.bucket, rank); permit.At.After(now) {
		return entry{bucket: g, heldUntil: permit.At}
	}
	g.use(now, rank)
	return entry{bucket: g, rank: rank}
}

// run listens to the other workers until ctx ends. While the store cannot be reached, this
// worker goes by what it is told itself.
func (p *limiter) run(ctx context.Context) error {
	if p.store == nil {
		<-ctx.Done()
		return nil
	}
	defer p.setReady() // Nobody will tell any more.
	for {
		err := p.store.Watch(ctx, p.observe, p.setReady)
		if ctx.Err() != nil {
			return nil
		}
		p.setReady()
		if err != nil {
			p.storeDown("listening to the other workers", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchPause):
		}
	}
}

// heard takes over the state of a bucket that a worker has changed. Its clock may be wrong, so
// that no pause is believed to be longer than what we believe of the API.
func (p *limiter) observe(key string, s pace.State, revision uint64) {
	bad := func(r rune) bool { return !isKeyRune(r) && r != '/' }
	set, entity, ok := strings.Cut(key, "/")
	if _, known := p.rules[endpointSet(set)]; !ok || !known || len(key) > maxBucketKey || strings.ContainsFunc(key, bad) {
		return
	}
	s.Bound(p.sharedEarliest(time.Now()), p.longest())
	p.local(bucket{set: endpointSet(set), entity: entity}).adopt(s, revision)
}

// isAlone reports whether we go by our own estimate.
func (p *limiter) storeIsDown() bool { return time.Now().UnixNano() < p.downUntil.Load() }

// leftAlone notes that the store fails, and logs it once until it works again.
func (p *limiter) storeDown(doing string, err error) {
	p.downUntil.Store(time.Now().Add(downPause).UnixNano())
	p.recorder.PaceShared(false)
	if !p.downLogged.Swap(true) {
		p.log.Warn("rate buckets are not shared with the other workers; each goes by its own estimate and obeys Retry-After",
			zap.Error(fmt.Errorf("%s: %w", doing, err)))
	}
}

// together notes that the store works.
func (p *limiter) storeUp() {
	if p.downLogged.Swap(false) {
		p.recorder.PaceShared(true)
		p.log.Info("rate buckets are shared with the other workers again")
	}
}
