package atlas

import (
	"context"
	"slices"
	"sync"
	"time"

	"rekey/internal/pace"
)

// leaveLife is how long a leave to call is good: a job that was given one claims its record
// first, and may lose the claim.
const permitLife = 10 * time.Second

// gate is one rate bucket as this worker knows it.
type localBucket struct {
	bucket bucket

	// writing is held by whoever changes the shared state. It is taken before mu.
	writing    sync.Mutex
	reading int  // The latest list of limits that was taken over. Guarded by writing.
	counted bool // What was sent before the limit was known counts. Guarded by writing.

	mu       sync.Mutex // Guards everything below.
	state    pace.State
	revision uint64 // Of the shared state; 0 when there is none, as far as is known.
	probe    pace.Probe
	permits  []permit      // Those that are not used yet.
	ended    chan struct{} // Closed when a call has ended; nil when no job waits for that.
	changes  []*change     // What waits for the one who holds writing.
	used     time.Time
}

// leave lets a job make one call.
type permit struct {
	granted time.Time
	rank    pace.Rank
	drawn   bool // It has a token of the bucket; without one it is good only while no limit is known.
}

// change is something that is to be done to a bucket's state. apply may be called several
// times, each time for a newer state; the last time counts. It reports whether it changed anything.
type change struct {
	rank  pace.Rank
	apply func(s *pace.State, now time.Time) bool
	done  bool // Guarded by writing.
}

// shares reports whether the workers share what they do at the bucket: its limit is known, or the
// latest call met a refusal that did not tell it.
func (g *localBucket) shares() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state.Limit.Known() || g.state.Refusals > 0
}

// limitKnown reports whether the bucket's limit is known.
func (g *localBucket) limitKnown() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state.Limit.Known()
}

// snapshot returns the state as it is known now, to be changed.
func (g *localBucket) snapshot() (pace.State, uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state.Clone(), g.revision
}

// adopt takes over a state that is newer than ours. A revision of 0 is an estimate of our own.
func (g *localBucket) adopt(s pace.State, revision uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if revision == 0 || revision > g.revision {
		g.state = s
	}
	g.revision = max(g.revision, revision)
	g.wake()
}

// gave notes a leave.
func (g *localBucket) grant(now time.Time, rank pace.Rank) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.permits = append(g.permits, permit{granted: now, rank: rank, drawn: true})
	g.probe.Give(now, rank)
}

// spend uses up the latest leave of a rank for a call, and reports whether it has a token. late says
// that it had one, and was given too long ago to count on it.
func (g *localBucket) use(now time.Time, rank pace.Rank) (ok, late bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expire(now)
	at := g.permitOf(rank)
	if at < 0 {
		return false, false
	}
	l := g.permits[at]
	late = l.drawn && g.state.Limit.Known() && now.Sub(l.granted) > g.state.Limit.Underway()
	g.permits = slices.Delete(g.permits, at, at+1)
	g.probe.Drop(rank)
	if ok = l.drawn && !late; ok {
		g.probe.Count(now, rank)
	}
	return ok, late
}

// expire ends the leaves of jobs that lost their claims. The lock is held.
func (g *localBucket) expire(now time.Time) {
	g.permits = slices.DeleteFunc(g.permits, func(l permit) bool {
		old := now.Sub(l.granted) >= permitLife
		if old {
			g.probe.Drop(l.rank)
		}
		return old
	})
}

// leaveOf finds the latest leave of a rank; -1 when there is none. The lock is held.
func (g *localBucket) permitOf(rank pace.Rank) int {
	for i, l := range slices.Backward(g.permits) {
		if l.rank == rank {
			return i
		}
	}
	return -1
}

// answered notes the end of a call that took so long and said how many are left, -1 for nothing.
func (g *localBucket) answered(v sample, took time.Duration, left int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.probe.Answered(v.rank, took, left)
	g.wake()
}

// refused notes the end of a call that met a rate limit.
func (g *localBucket) refused(v sample) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.probe.Refused(v.rank)
	g.wake()
}

// free gives the job whose call spent nothing leave for another one.
func (g *localBucket) free(v sample, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.permits = append(g.permits, permit{granted: now, rank: v.rank, drawn: v.limitKnown})
	g.probe.Again(now, v.rank)
	g.wake()
}

// unsent takes back a call that was counted and not made.
func (g *localBucket) unsent(rank pace.Rank) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.probe.Unsent(rank)
	g.wake()
}

// drop ends a leave that is not used.
func (p *limiter) drop(b bucket, rank pace.Rank) {
	g := p.local(b)
	g.mu.Lock()
	defer g.mu.Unlock()
	if at := g.permitOf(rank); at >= 0 {
		g.permits = slices.Delete(g.permits, at, at+1)
		g.probe.Drop(rank)
		g.wake()
	}
}

// wake wakes the jobs that wait for the end of a call. The lock is held.
func (g *localBucket) wake() {
	if g.ended != nil {
		close(g.ended)
		g.ended = nil
	}
}

// idle reports whether forgetting the gate loses nothing.
func (g *localBucket) idle(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	waiting, _ := g.state.Waiting(now)
	return now.Sub(g.used) > bucketLife && len(g.permits)+waiting == 0 && g.state.Paused(now).IsZero() && len(g.state.Debts) == 0
}

// enqueue hands a change to whoever changes the state next.
func (g *localBucket) enqueue(c *change) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.changes = append(g.changes, c)
}

// take takes over all changes that wait, the most urgent first.
func (g *localBucket) take() []*change {
	g.mu.Lock()
	defer g.mu.Unlock()
	batch := g.changes
	g.changes = nil
	slices.SortStableFunc(batch, func(a, b *change) int { return int(a.rank - b.rank) })
	return batch
}

// change does something to the shared state. Whoever comes while another one waits for the
// store is served together with all others that came meanwhile, by one write.
func (p *limiter) change(ctx context.Context, g *localBucket, c *change) {
	g.enqueue(c)
	g.writing.Lock()
	defer g.writing.Unlock()
	if c.done {
		return
	}
	batch := g.take()
	_, reading := p.listedLimit(g.bucket.set) // Before it is used: one that comes meanwhile is used next.
	p.commit(ctx, g, batch)
	g.reading, g.counted = reading, g.limitKnown()
	for _, served := range batch {
		served.done = true
	}
}

// commit writes a batch of changes over the latest state. When the store does not do its part,
// the changes are made to our own estimate.
func (p *limiter) commit(ctx context.Context, g *localBucket, batch []*change) {
	// Others wait for this, whatever becomes of the one that asked.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	for range maxRaces {
		next, revision := g.snapshot()
		changed := p.prepare(g, &next)
		for _, c := range batch {
			changed = c.apply(&next, p.sharedEarliest(time.Now())) || changed
		}
		if !changed {
			return
		}
		if p.store == nil || p.storeIsDown() {
			g.adopt(next, 0)
			return
		}
		revision, err := p.store.Save(ctx, g.bucket.key(), next, revision)
		if err == nil && revision != 0 {
			g.adopt(next, revision)
			p.storeUp()
			return
		}
		if err == nil { // Another worker was faster.
			err = p.reload(ctx, g)
		}
		if err != nil {
			p.storeDown("changing the state of a rate bucket", err)
			g.adopt(next, 0)
			return
		}
	}
	// So many conflicts in a row mean that the fleet is at this bucket all at once. The estimate
	// is as good as the state that it was made from, and a moment later we are in time again.
	next, _ := g.snapshot()
	for _, c := range batch {
		c.apply(&next, p.sharedEarliest(time.Now()))
	}
	g.adopt(next, 0)
}

func (p *limiter) reload(ctx context.Context, g *localBucket) error {
	s, revision, err := p.store.Load(ctx, g.bucket.key())
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	// Also an older one: the bucket may have been made anew.
	g.state, g.revision = s, revision
	return nil
}

// prepare brings what this worker knows of the bucket's limit into its state, and reports
// whether that changed anything. What was sent before the limit was known counts.
func (p *limiter) prepare(g *localBucket, s *pace.State) bool {
	var changed bool
	if own := p.configured[g.bucket.set]; own.Known() {
		changed = s.Learn(own, pace.SourceConfig)
	} else {
		changed = s.Forget()
		// A list counts when it was read. What answers say afterwards is newer.
		if listed, reading := p.listedLimit(g.bucket.set); reading != g.reading || !s.Limit.Known() {
			changed = s.Learn(listed, pace.SourceRateLimits) || changed
		}
		changed = s.Learn(p.rules[g.bucket.set].limit, pace.SourceDefault) || changed
	}
	if !g.counted && s.Limit.Known() {
		g.mu.Lock()
		defer g.mu.Unlock()
		changed = g.probe.Settle(p.sharedEarliest(time.Now()), s) || changed
	}
	return changed
}
