// Package readiness knows whether a worker can do its work: it runs named checks, and keeps since when each of them fails.
package readiness

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Status is whether a worker can do its work.
type Status string

// What a worker says of itself. The set is closed.
const (
	Ready    Status = "ready"
	NotReady Status = "not ready" // A check fails.
	Stopping Status = "stopping"  // It takes nothing new, and nothing is checked.
)

// Report is what /readyz answers, and what a worker tells of itself over NATS.
type Report struct {
	Status    Status    `json:"status"`
	CheckedAt time.Time `json:"checked_at,omitzero"` // Absent while stopping.
	// Checks are absent while stopping.
	Checks []Result `json:"checks,omitempty"`
}

// Failing are the checks that fail.
func (r Report) Failing() []Result {
	var failing []Result
	for _, one := range r.Checks {
		if !one.OK {
			failing = append(failing, one)
		}
	}
	return failing
}

// Checks are all checks of a worker. Its methods may be called from several goroutines at once.
type Checks struct {
	list     []*check
	stopping atomic.Bool
	stopOnce sync.Once
	stopErr  error

	mu   sync.Mutex // Guards what follows.
	last Report
}

// New checks the checks. Without any, a worker that is not stopping is ready.
func New(configured ...Check) (*Checks, error) {
	list, err := newChecks(configured)
	return &Checks{list: list}, err
}

// Report runs all checks at once, for 2 s at most, and says what they found, in the order of the configuration.
func (c *Checks) Report(ctx context.Context) Report {
	if c.stopping.Load() {
		return Report{Status: Stopping}
	}
	results := make([]Result, len(c.list))
	var wg sync.WaitGroup
	for i, one := range c.list {
		wg.Go(func() { results[i] = one.run(ctx) })
	}
	wg.Wait()
	c.doubt(results)
	return c.keep(ctx, results)
}

// doubt takes back what checks found well while one fails without which they know nothing. What they found wrong is kept: it says more.
func (c *Checks) doubt(results []Result) {
	failing := make(map[string]bool, len(results))
	for _, r := range results {
		failing[r.Name] = !r.OK
	}
	for i, one := range c.list {
		if results[i].OK && failing[one.Needs] {
			results[i] = one.result(fmt.Errorf("not known while the check %s fails", one.Needs))
		}
	}
}

// keep makes a report of what checks found now, with since when each fails. Those are not remembered that were cut off.
func (c *Checks) keep(ctx context.Context, results []Result) Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := Report{Status: Ready, CheckedAt: time.Now().UTC().Truncate(time.Millisecond), Checks: results}
	for i := range results {
		if results[i].OK {
			continue
		}
		r.Status, results[i].Since = NotReady, r.CheckedAt
		if len(c.last.Checks) > 0 && !c.last.Checks[i].OK {
			results[i].Since = c.last.Checks[i].Since
		}
	}
	if ctx.Err() == nil {
		c.last = r
	}
	return r
}

// Soon is what Report says, where that takes longer than a while what it said last: see CheckedAt.
func (c *Checks) Soon(ctx context.Context, patience time.Duration) Report {
	c.mu.Lock()
	last := c.last
	c.mu.Unlock()
	fresh := make(chan Report, 1)
	go func() { fresh <- c.Report(context.WithoutCancel(ctx)) }()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case r := <-fresh:
		return r
	case <-timer.C:
	}
	if last.Status == "" { // It was never asked before.
		return <-fresh
	}
	return last
}

// Drain makes reports say "stopping" from now on.
func (c *Checks) Drain() { c.stopping.Store(true) }

// Stop drains and waits until no check runs, at most until ctx is done, and keeps new ones from running. Further calls return the same.
func (c *Checks) Stop(ctx context.Context) error {
	c.stopOnce.Do(func() {
		c.Drain()
		var running []string
		for _, one := range c.list {
			if !one.acquire(ctx) {
				running = append(running, one.Name)
			}
		}
		if len(running) > 0 {
			c.stopErr = fmt.Errorf("checks that still run: %s", strings.Join(running, ", "))
		}
	})
	return c.stopErr
}
