package atlas

import (
	"context"
	"slices"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/pace"
)

// sendLook is how often a job that is ready looks whether a call before it takes too long.
const sendLook = 200 * time.Millisecond

// probe is take for a bucket of which nothing is known, about which there is nothing to share.
// It reports whether the bucket is one.
func (p *limiter) probe(g *localBucket, rank pace.Rank) (jobs.Permit, bool) {
	if !p.unknown(g) {
		return jobs.Permit{}, false
	}
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	paused := p.own(g.state.Paused(p.sharedEarliest(now)))
	g.expire(now)
	if paused.IsZero() && g.probe.Take(now, rank) {
		g.permits = append(g.permits, permit{granted: now, rank: rank})
		return jobs.Permit{}, true
	}
	from := now
	if paused.After(now) {
		from = paused
	}
	return jobs.Permit{At: g.probe.Plan(now, from, rank), NotBefore: paused}, true
}

// send counts the call of a job that has leave for a bucket of which nothing is known, or of a
// request that needs none. Where enough calls are under way, it returns what the job must wait for;
// force makes it call all the same.
func (g *localBucket) send(now time.Time, rank pace.Rank, force bool) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := g.permitOf(rank)
	switch {
	case at < 0:
		g.probe.Count(now, rank)
		return nil
	case force:
		g.probe.Drop(rank)
		g.probe.Count(now, rank)
	case !g.probe.Send(now, rank):
		if g.ended == nil {
			g.ended = make(chan struct{})
		}
		return g.ended
	}
	g.permits = slices.Delete(g.permits, at, at+1)
	return nil
}

// await waits for the end of a call, or until it is time to look whether it takes too long.
func awaitCall(ctx context.Context, ended <-chan struct{}) {
	timer := time.NewTimer(sendLook)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	case <-ctx.Done():
	}
}
