package jobs

import (
	"context"
	"errors"
	"runtime"
)

// ErrCrowded says that enough costly events are worked on. The event is to be taken in later, so that
// others need not wait for it.
var ErrCrowded = errors.New("enough costly events are worked on at the same time")

// manyJobs is how many jobs make an event a costly one.
const manyJobs = 100

// Crowd bounds how many events are worked on at once that take the processor, or make many jobs: they
// must not take all of the intake.
type Crowd struct {
	places chan struct{}
	line   chan struct{} // Those that wait for a place.
}

// NewCrowd returns a Crowd of so many events, for which so many more may wait.
func NewCrowd(places, line int) *Crowd {
	return &Crowd{places: make(chan struct{}, places), line: make(chan struct{}, line)}
}

// crowds bound the events that are taken in at once. A nil one has no bound.
type crowds struct {
	costly  *Crowd
	readers *Crowd // Those that read secrets.
}

// newCostly leaves half of the processors to other events.
func newCostly() *Crowd { return NewCrowd(max(runtime.GOMAXPROCS(0)/2, 2), 4) }

// Enter takes a place, and reports whether there was one, at once or after a wait in the line.
func (c *Crowd) Enter(ctx context.Context) bool {
	select {
	case c.places <- struct{}{}:
		return true
	default:
	}
	select {
	case c.line <- struct{}{}:
		defer func() { <-c.line }()
	default:
		return false
	}
	select {
	case c.places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// Leave gives a place back.
func (c *Crowd) Leave() { <-c.places }

// place is the place of one event in a crowd, if it needs one. A nil crowd has no bound.
type place struct {
	crowd *Crowd
	has   bool
	full  bool // There was none.
}

// take takes a place, and reports whether there was one.
func (p *place) take(ctx context.Context) bool {
	if p.has || p.crowd == nil {
		return true
	}
	p.has = p.crowd.Enter(ctx)
	p.full = !p.has
	return p.has
}

// leave gives the place back.
func (p *place) leave() {
	if p.has {
		p.crowd.Leave()
		p.has = false
	}
}
