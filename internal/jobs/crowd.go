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

// crowd is the costly events that are worked on: what takes the processor, or makes many jobs, must
// not take all of the intake. Nil has no bound.
type crowd struct {
	places chan struct{}
	line   chan struct{} // Those that wait for a place.
}

// lineMost is how many events of all that are taken in at once may wait for a place.
const lineMost = 4

// newCrowd leaves half of the processors to other events.
func newCrowd() *crowd {
	return &crowd{places: make(chan struct{}, max(runtime.GOMAXPROCS(0)/2, 2)), line: make(chan struct{}, lineMost)}
}

// enter takes a place, and reports whether there was one, at once or after a wait in the line.
func (c *crowd) enter(ctx context.Context) bool {
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

// place is the place of one event in the crowd, if it needs one.
type place struct {
	crowd *crowd
	has   bool
	full  bool // There was none.
}

// take takes a place, and reports whether there was one.
func (p *place) take(ctx context.Context) bool {
	if p.has || p.crowd == nil {
		return true
	}
	p.has = p.crowd.enter(ctx)
	p.full = !p.has
	return p.has
}

// leave gives the place back.
func (p *place) leave() {
	if p.has {
		<-p.crowd.places
		p.has = false
	}
}
