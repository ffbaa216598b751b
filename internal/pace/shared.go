package pace

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"rekey/internal/backoff"
)

const (
	// storeTimeout bounds one change of the shared state. Attempts wait for it.
	storeTimeout = 2 * time.Second
	// downPause is how long a worker goes by its own estimate before it asks the store again.
	downPause = time.Second
	// watchPause is the wait before watching again after the store has ended a watch.
	watchPause = time.Second
	// readyTimeout bounds the wait of the first calls for the states of the other workers.
	readyTimeout = 2 * time.Second
	// maxConflicts bounds how often a change of the shared state is made again after a revision conflict.
	maxConflicts = 32
)

// Store shares the states of rate buckets between workers. A key is made of letters, digits
// and -_./= and names no secret.
type Store interface {
	// Load returns a state and its revision; the zero State and 0 when there is none.
	Load(ctx context.Context, key string) (State, uint64, error)
	// Save replaces the state of that revision (0: there is none) and returns the new revision,
	// or 0 when the state has another revision.
	Save(ctx context.Context, key string, s State, revision uint64) (uint64, error)
	// Watch hands over the stored states, calls ready once, and then hands over each change
	// until ctx ends, those of this worker included.
	Watch(ctx context.Context, changed func(key string, s State, revision uint64), ready func()) error
	// Clock returns bounds of what must be added to this worker's clock to get the one that the workers share.
	Clock() (least, most time.Duration)
}

// clock returns the bounds of what must be added to our clock.
func (l *Limiter) clock() (least, most time.Duration) {
	if l.store == nil {
		return 0, 0
	}
	return l.store.Clock()
}

// sharedEarliest is a moment of ours on the shared clock, and never ahead of it: what is allowed from
// a moment on is not done early.
func (l *Limiter) sharedEarliest(own time.Time) time.Time {
	least, _ := l.clock()
	return own.Add(least)
}

// sharedLatest is a moment of ours on the shared clock, and never behind it: no worker calls before it.
func (l *Limiter) sharedLatest(own time.Time) time.Time {
	_, most := l.clock()
	return own.Add(most)
}

// own is a moment on the shared clock on ours, the zero time for none.
func (l *Limiter) own(shared time.Time) time.Time {
	if shared.IsZero() {
		return shared
	}
	least, _ := l.clock()
	return shared.Add(-least)
}

func (l *Limiter) setReady() { l.readyOnce.Do(func() { close(l.ready) }) }

// awaitReady waits for the states of the other workers: a pause from before a restart holds for the first call.
func (l *Limiter) awaitReady(ctx context.Context) {
	select {
	case <-l.ready:
		return
	default:
	}
	timer := time.NewTimer(readyTimeout)
	defer timer.Stop()
	select {
	case <-l.ready:
	case <-ctx.Done():
	case <-timer.C:
		l.setReady()
		l.storeDown("reading the states of the rate buckets", fmt.Errorf("no answer within %s", readyTimeout))
	}
}

// Run takes over the changes of the other workers until ctx ends, which is no error. While the store cannot be reached,
// this worker goes by what it learns itself.
func (l *Limiter) Run(ctx context.Context) error {
	if l.store == nil {
		<-ctx.Done()
		return nil
	}
	defer l.setReady()
	for {
		err := l.store.Watch(ctx, l.observe, l.setReady)
		if ctx.Err() != nil {
			return nil
		}
		l.setReady()
		if err != nil {
			l.storeDown("watching the states of the rate buckets", err)
		}
		if backoff.Sleep(ctx, watchPause) != nil {
			return nil
		}
	}
}

// observe takes over the state of a bucket that a worker has changed. That worker's clock may be wrong, so
// that MaxRetryAfter bounds its pauses, too.
func (l *Limiter) observe(key string, s State, revision uint64) {
	b, ok := parseKey(key)
	if _, known := l.sets[b.Set]; !ok || !known {
		return
	}
	s.Bound(l.sharedEarliest(time.Now()), l.MaxRetryAfter())
	l.local(b).adopt(s, revision)
}

// storeIsDown reports whether this worker goes by its own estimate.
func (l *Limiter) storeIsDown() bool { return time.Now().UnixNano() < l.downUntil.Load() }

// storeDown notes that the store fails, and logs it once until it works again.
func (l *Limiter) storeDown(doing string, err error) {
	l.downUntil.Store(time.Now().Add(downPause).UnixNano())
	l.recorder.PaceShared(false)
	if !l.downLogged.Swap(true) {
		l.log.Warn("rate buckets are not shared with the other workers; each goes by its own estimate and obeys Retry-After",
			zap.Error(fmt.Errorf("%s: %w", doing, err)))
	}
}

// storeUp notes that the store works.
func (l *Limiter) storeUp() {
	if l.downLogged.Swap(false) {
		l.recorder.PaceShared(true)
		l.log.Info("rate buckets are shared with the other workers again")
	}
}

// change is a change of a bucket's state. apply may be called several times, each time for a newer state; the last
// time counts. It reports whether it changed anything.
type change struct {
	rank  Rank
	apply func(s *State, now time.Time) bool
	done  bool // Guarded by writing.
}

// change changes the shared state. Changes that arrive while another one waits for the store are written together by
// one write.
func (l *Limiter) change(ctx context.Context, lb *localBucket, c *change) {
	lb.enqueue(c)
	lb.writing.Lock()
	defer lb.writing.Unlock()
	if c.done {
		return
	}
	batch := lb.take()
	_, reading := l.listedLimit(lb.Set) // Before it is used: a later one is used next.
	l.commit(ctx, lb, batch)
	lb.reading, lb.counted = reading, lb.limitKnown()
	for _, written := range batch {
		written.done = true
	}
}

// commit writes a batch of changes over the latest state. When the store fails,
// the changes are made to our own estimate.
func (l *Limiter) commit(ctx context.Context, lb *localBucket, batch []*change) {
	// Other jobs wait for this write, so it does not end with the context of the first.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	for range maxConflicts {
		next, revision := lb.snapshot()
		changed := l.prepare(lb, &next)
		for _, c := range batch {
			changed = c.apply(&next, l.sharedEarliest(time.Now())) || changed
		}
		if !changed {
			return
		}
		if l.store == nil || l.storeIsDown() {
			lb.adopt(next, 0)
			return
		}
		revision, err := l.store.Save(ctx, lb.Key(), next, revision)
		if err == nil && revision != 0 {
			lb.adopt(next, revision)
			l.storeUp()
			return
		}
		if err == nil { // Another worker was faster.
			err = l.reload(ctx, lb)
		}
		if err != nil {
			l.storeDown("changing the state of a rate bucket", err)
			lb.adopt(next, 0)
			return
		}
	}
	// So many conflicts in a row mean that the fleet is at this bucket all at once. The estimate
	// is as good as the state that it was made from, and a moment later we are in time again.
	next, _ := lb.snapshot()
	for _, c := range batch {
		c.apply(&next, l.sharedEarliest(time.Now()))
	}
	lb.adopt(next, 0)
}

func (l *Limiter) reload(ctx context.Context, lb *localBucket) error {
	s, revision, err := l.store.Load(ctx, lb.Key())
	if err != nil {
		return err
	}
	lb.mu.Lock()
	defer lb.mu.Unlock()
	// Also an older one: the bucket may have been made anew.
	lb.state, lb.revision = s, revision
	return nil
}

// prepare brings what this worker knows of the bucket's limit into its state, and reports
// whether that changed anything. What was sent before the limit was known counts.
func (l *Limiter) prepare(lb *localBucket, s *State) bool {
	set := l.sets[lb.Set]
	var changed bool
	if set.Configured.Known() {
		changed = s.Learn(set.Configured, SourceConfig)
	} else {
		changed = s.Forget()
		// A list counts when it was read. What answers say afterwards is newer.
		if listed, reading := l.listedLimit(lb.Set); reading != lb.reading || !s.Limit.Known() {
			changed = s.Learn(listed, SourceRateLimits) || changed
		}
		changed = s.Learn(set.Published, SourceDefault) || changed
	}
	if !lb.counted && s.Limit.Known() {
		lb.mu.Lock()
		defer lb.mu.Unlock()
		changed = lb.probe.Settle(l.sharedEarliest(time.Now()), s) || changed
	}
	return changed
}
