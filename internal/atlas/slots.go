package atlas

import (
	"slices"
	"sync"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/pace"
)

// accountSlots are the worker's slots that jobs of one account hold, from their leave to call until
// the call has ended.
type accountSlots struct {
	mu      sync.Mutex // Guards what follows.
	holding pace.Holding
	permits []permit // Of jobs that hold a slot and have not begun to call.
}

// take takes a slot, or says when to ask again.
func (a *accountSlots) take(rank pace.Rank, slots pace.Slots) jobs.Permit {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.permits = slices.DeleteFunc(a.permits, func(l permit) bool {
		lost := now.Sub(l.granted) >= permitLife // With the claim of its job.
		if lost {
			a.holding.Drop()
		}
		return lost
	})
	if !a.holding.Take(rank, slots) {
		return jobs.Permit{At: a.holding.Plan(now, rank, slots)}
	}
	a.permits = append(a.permits, permit{granted: now, rank: rank})
	return jobs.Permit{}
}

// drop gives the slot back of a job that does not call.
func (a *accountSlots) drop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.permits); n > 0 {
		a.permits = a.permits[:n-1]
		a.holding.Drop()
	}
}

// use notes that a job calls, if it holds a slot, and returns what gives the slot back.
func (a *accountSlots) use() (done func()) {
	begun := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.permits) == 0 {
		return func() {}
	}
	a.permits = a.permits[1:]
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.holding.Done(time.Since(begun))
	}
}
