package pace

import (
	"slices"
	"sync"
	"time"
)

// AccountSlots are the worker's slots that jobs of one account hold, from their permit until
// the call has ended. The zero AccountSlots holds none. It may be used by several goroutines at once.
type AccountSlots struct {
	mu      sync.Mutex // Guards what follows.
	holding Holding
	permits []permit // Of jobs that hold a slot and have not begun to call.
}

// Take takes a slot, or returns when to ask again.
func (a *AccountSlots) Take(rank Rank, slots Slots) Wait {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.take(now, rank, slots) {
		return Wait{}
	}
	return Wait{At: a.holding.Plan(now, rank, slots)}
}

// TakeNow takes a slot, or reports that there is none. It plans no turn.
func (a *AccountSlots) TakeNow(rank Rank, slots Slots) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.take(time.Now(), rank, slots)
}

// take takes a slot, and reports whether there was one. The lock is held.
func (a *AccountSlots) take(now time.Time, rank Rank, slots Slots) bool {
	a.permits = slices.DeleteFunc(a.permits, func(p permit) bool {
		lost := now.Sub(p.granted) >= permitLife // With the claim of its job.
		if lost {
			a.holding.Drop()
		}
		return lost
	})
	if !a.holding.Take(rank, slots) {
		return false
	}
	a.permits = append(a.permits, permit{granted: now, rank: rank})
	return true
}

// Drop gives the slot back of a job that does not call.
func (a *AccountSlots) Drop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.permits); n > 0 {
		a.permits = a.permits[:n-1]
		a.holding.Drop()
	}
}

// Use notes that a job calls, if it holds a slot, and returns what gives the slot back.
func (a *AccountSlots) Use() (done func()) {
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
