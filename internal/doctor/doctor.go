// Package doctor checks that a worker would work with a configuration, in this place and now, and says what to do where it
// would not.
package doctor

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Status is how a finding is to be taken. The set is closed.
type Status string

// The statuses.
const (
	OK      Status = "ok"
	Warning Status = "warning" // It works, but less well than promised, or not for long.
	Failed  Status = "failed"
	Skipped Status = "skipped" // It could not be looked at, or there is nothing to look at.
)

// Statuses lists all statuses.
func Statuses() []Status { return []Status{OK, Warning, Failed, Skipped} }

// Symbol is the status as one character of a table.
func (s Status) Symbol() string {
	switch s {
	case OK:
		return "✓"
	case Warning:
		return "!"
	case Failed:
		return "✗"
	case Skipped:
	}
	return "–"
}

// Finding is one thing that was looked at. None of its texts holds a secret.
type Finding struct {
	Area   string `json:"area"` // The part of the world that it belongs to, such as nats.
	What   string `json:"what"` // What was looked at.
	Status Status `json:"status"`
	Found  string `json:"found"`
	Do     string `json:"do,omitempty"` // What to do about it. Empty where nothing is to be done.
}

// Check looks at one part of the world.
type Check struct {
	Area string
	What string // Named when the check does not come to an end.
	// Timeout bounds the check. Required.
	Timeout time.Duration
	// Run returns what it finds, in the order in which people want to read it. It keeps to its context.
	Run func(ctx context.Context) []Finding
}

// Run runs all checks at once and returns what they find, in the order of the checks. The findings of a check have its
// area where they name none.
func Run(ctx context.Context, checks []Check) []Finding {
	found := make([][]Finding, len(checks))
	var running sync.WaitGroup
	for i, check := range checks {
		running.Go(func() { found[i] = check.run(ctx) })
	}
	running.Wait()
	var all []Finding
	for _, part := range found {
		all = append(all, part...)
	}
	return all
}

func (c Check) run(ctx context.Context) []Finding {
	limit := fmt.Errorf("no answer within %s", c.Timeout)
	ctx, cancel := context.WithTimeoutCause(ctx, c.Timeout, limit)
	defer cancel()
	list := c.Run(ctx)
	if len(list) == 0 && ctx.Err() != nil {
		list = []Finding{{What: c.What, Status: Failed, Found: context.Cause(ctx).Error()}}
	}
	for i := range list {
		if list[i].Area == "" {
			list[i].Area = c.Area
		}
	}
	return list
}

// Count is how many findings have a status.
func Count(list []Finding, status Status) int {
	n := 0
	for _, f := range list {
		if f.Status == status {
			n++
		}
	}
	return n
}
