package jobs

import (
	"sync"
	"time"
)

// counts is a recorder that counts.
type counts struct {
	mu     sync.Mutex // Guards all below.
	Counts map[string]int
	Times  map[string]time.Duration // The latest of each.
}

func newCounts() *counts {
	return &counts{Counts: map[string]int{}, Times: map[string]time.Duration{}}
}

func (c *counts) count(name string, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Counts[name]++
	if took != 0 {
		c.Times[name] = took
	}
}

func (c *counts) Enqueued(kind, lane, origin string) {
	c.count("enqueued "+kind+" "+lane+" "+origin, 0)
}

func (c *counts) FirstAttemptDelay(lane string, d time.Duration) {
	c.count("first attempt "+lane, d)
}

func (c *counts) Attempt(kind, reason string) { c.count("attempt "+kind+" "+reason, 0) }

func (c *counts) JobFinished(kind, outcome string, d time.Duration, _ string) {
	c.count("finished "+kind+" "+outcome, d)
}
