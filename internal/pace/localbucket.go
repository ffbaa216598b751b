package pace

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// permitLife is how long a permit is good: a job that was granted one claims its record
	// first, and may lose the claim.
	permitLife = 10 * time.Second
	// sendLook is how often a job that is ready looks whether a call before it takes too long.
	sendLook = 200 * time.Millisecond
)

// localBucket is one rate bucket as this worker knows it.
type localBucket struct {
	Bucket

	// writing is held while the shared state is changed. It is taken before mu.
	writing sync.Mutex
	reading int  // The latest list of limits that was taken over. Guarded by writing.
	counted bool // What was sent before the limit was known counts. Guarded by writing.

	mu       sync.Mutex // Guards everything below.
	state    State
	revision uint64 // Of the shared state; 0 when there is none, as far as is known.
	probe    Probe
	permits  []permit      // Those that are not used yet.
	ended    chan struct{} // Closed when a call has ended; nil when no job waits for that.
	changes  []*change     // What waits for writing.
	used     time.Time
}

// permit lets a job make one call.
type permit struct {
	granted time.Time
	rank    Rank
	drawn   bool // It has a token of the bucket; without one it is good only while no limit is known.
}

// shares reports whether the workers share the state of the bucket: its limit is known, or the
// latest call met a refusal that did not name it.
func (lb *localBucket) shares() bool {
	lb.mu.Lock()
	defer lb.mu.Unlock()
	return lb.state.Limit.Known() || lb.state.Refusals > 0
}

// limitKnown reports whether the bucket's limit is known.
func (lb *localBucket) limitKnown() bool {
	lb.mu.Lock()
	defer lb.mu.Unlock()
	return lb.state.Limit.Known()
}

// snapshot returns the state as it is known now, to be changed.
func (lb *localBucket) snapshot() (State, uint64) {
	lb.mu.Lock()
	defer lb.mu.Unlock()
	return lb.state.Clone(), lb.revision
}

// adopt takes over a state that is newer than ours. A revision of 0 is an estimate of our own.
func (lb *localBucket) adopt(s State, revision uint64) {
	lb.mu.Lock()
	defer lb.mu.Unlock()
	if revision == 0 || revision > lb.revision {
		lb.state = s
	}
	lb.revision = max(lb.revision, revision)
	lb.wake()
}

// grant notes a permit that has a token.
func (lb *localBucket) grant(now time.Time, rank Rank) {
	lb.mu.Lock()
	defer lb.mu.Unlock()
	lb.permits = append(lb.permits, permit{granted: now, rank: rank, drawn: true})
	lb.probe.Give(now, rank)
}

// use uses up the latest permit of a rank for a call, and reports whether it has a token. late says
// that it had one, and was granted too long ago to count on it.
func (lb *localBucket) use(now time.Time, rank Rank) (ok, late bool) {
	lb.mu.Lock()
	defer lb.mu.Unlock()
	lb.expire(now)
	at := lb.permitOf(rank)
	if at < 0 {
		return false, false
	}
	p := lb.permits[at]
	late = p.drawn && lb.state.Limit.Known() && now.Sub(p.granted) > lb.state.Limit.Underway()
	lb.permits = slices.Delete(lb.permits, at, at+1)
	lb.probe.Drop(rank)
	if ok = p.drawn && !late; ok {
		lb.probe.Count(now, rank)
	}
	return ok, late
}

// expire ends the permits of jobs that lost their claims. The lock is held.
func (lb *localBucket) expire(now time.Time) {
	lb.permits = slices.DeleteFunc(lb.permits, func(p permit) bool {
		old := now.Sub(p.granted) >= permitLife
		if old {
			lb.probe.Drop(p.rank)
		}
		return old
	})
}

// permitOf finds the latest permit of a rank; -1 when there is none. The lock is held.
func (lb *localBucket) permitOf(rank Rank) int {
	for i, p := range slices.Backward(lb.permits) {
		if p.rank == rank {
			return i
		}
	}
	return -1
}

// drop ends a permit that is not used.
func (lb *localBucket) drop(rank Rank) {
	lb.mu.Lock()
	defer lb.mu.Unlock()
	if at := lb.permitOf(rank); at >= 0 {
		lb.permits = slices.Delete(lb.permits, at, at+1)
		lb.probe.Drop(rank)
		lb.wake()
	}
}

// send counts the call of a job that has a permit for a bucket whose limit is not known, or of a
// request that needs none. Where enough calls are under way, it returns a channel that closes when one ends;
// force counts the call regardless.
func (lb *localBucket) send(now time.Time, rank Rank, force bool) <-chan struct{} {
	lb.mu.Lock()
	defer lb.mu.Unlock()
	at := lb.permitOf(rank)
	switch {
	case at < 0:
		lb.probe.Count(now, rank)
		return nil
	case force:
		lb.probe.Drop(rank)
		lb.probe.Count(now, rank)
	case !lb.probe.Send(now, rank):
		if lb.ended == nil {
			lb.ended = make(chan struct{})
		}
		return lb.ended
	}
	lb.permits = slices.Delete(lb.permits, at, at+1)
	return nil
}

// awaitCall waits for the end of a call, or until it is time to look whether it takes too long.
func awaitCall(ctx context.Context, ended <-chan struct{}) {
	timer := time.NewTimer(sendLook)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// unsent takes back a call that was counted and not made.
func (lb *localBucket) unsent(rank Rank) {
	lb.mu.Lock()
	defer lb.mu.Unlock()
	lb.probe.Unsent(rank)
	lb.wake()
}

// answered notes the end of a call that took so long and said how many are left, -1 for nothing.
func (lb *localBucket) answered(rank Rank, took time.Duration, left int) {
	lb.mu.Lock()
	defer lb.mu.Unlock()
	lb.probe.Answered(rank, took, left)
	lb.wake()
}

// refused notes the end of a call that met a rate limit.
func (lb *localBucket) refused(rank Rank) {
	lb.mu.Lock()
	defer lb.mu.Unlock()
	lb.probe.Refused(rank)
	lb.wake()
}

// renew grants another permit to a job whose call was not counted by the API.
func (lb *localBucket) renew(rank Rank, drawn bool, now time.Time) {
	lb.mu.Lock()
	defer lb.mu.Unlock()
	lb.permits = append(lb.permits, permit{granted: now, rank: rank, drawn: drawn})
	lb.probe.Again(now, rank)
	lb.wake()
}

// wake wakes the jobs that wait for the end of a call. The lock is held.
func (lb *localBucket) wake() {
	if lb.ended != nil {
		close(lb.ended)
		lb.ended = nil
	}
}

// idle reports whether forgetting the bucket loses nothing.
func (lb *localBucket) idle(now time.Time) bool {
	lb.mu.Lock()
	defer lb.mu.Unlock()
	waiting, _ := lb.state.Waiting(now)
	return now.Sub(lb.used) > bucketLife && len(lb.permits)+waiting == 0 && lb.state.Paused(now).IsZero() && len(lb.state.Debts) == 0
}

// enqueue adds a change for the next write.
func (lb *localBucket) enqueue(c *change) {
	lb.mu.Lock()
	defer lb.mu.Unlock()
	lb.changes = append(lb.changes, c)
}

// take takes over all changes that wait, the most urgent first.
func (lb *localBucket) take() []*change {
	lb.mu.Lock()
	defer lb.mu.Unlock()
	batch := lb.changes
	lb.changes = nil
	slices.SortStableFunc(batch, func(a, b *change) int { return int(a.rank - b.rank) })
	return batch
}
