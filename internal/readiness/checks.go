package readiness

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// checkTimeout is how long a check may take. It is below the timeouts of those who ask, so that
// they get an answer that names the slow check.
const checkTimeout = 2 * time.Second

// Check is one thing that must be in order for a worker to be ready.
type Check struct {
	// Name is shown in the answer, as in "nats". It is required and must be unique.
	Name string
	// Func returns nil if all is in order. The text of its error is shown to every client, so it
	// must hold no secrets. The context ends after 2 s, or when the one who asked goes away.
	// A check never runs twice at once.
	Func func(ctx context.Context) error
	// Needs is the name of the check without which this one says only what was true before: while that one fails, this one is not
	// known, which is not ok. Optional.
	Needs string
}

// Result is what a check found.
type Result struct {
	Name  string `json:"name"`
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
	// Since is when the check was first seen to fail, of those times in a row.
	Since time.Time `json:"since,omitzero"`
}

// check is a Check that runs one at a time. If a Func ignores its context, the requests that
// follow report so instead of piling up behind it.
type check struct {
	Check
	// running holds one value while Func runs.
	running chan struct{}
}

// newChecks checks the checks.
func newChecks(configured []Check) ([]*check, error) {
	checks := make([]*check, 0, len(configured))
	names := make(map[string]bool, len(configured))
	for i, c := range configured {
		switch {
		case c.Name == "":
			return nil, fmt.Errorf("check %d has no name", i+1)
		case c.Func == nil:
			return nil, fmt.Errorf("check %q has no function", c.Name)
		case names[c.Name]:
			return nil, fmt.Errorf("check %q is listed twice", c.Name)
		case c.Needs != "" && !names[c.Needs]:
			return nil, fmt.Errorf("check %q needs %q, which is not before it", c.Name, c.Needs)
		}
		names[c.Name] = true
		checks = append(checks, &check{Check: c, running: make(chan struct{}, 1)})
	}
	return checks, nil
}

// acquire waits for the right to run, and reports whether it came before ctx was done.
func (c *check) acquire(ctx context.Context) bool {
	// A free check is had even if ctx is done, which a single select would leave to chance.
	select {
	case c.running <- struct{}{}:
		return true
	default:
	}
	select {
	case c.running <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// release gives the right to run back.
func (c *check) release() {
	<-c.running
}

// run runs the check and returns after 2 s at the latest. A Func that ignores its context then
// runs on, and Stop waits for it.
func (c *check) run(ctx context.Context) Result {
	timeout := fmt.Errorf("no answer within %v", checkTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, checkTimeout, timeout)
	defer cancel()
	if !c.acquire(ctx) {
		return c.result(fmt.Errorf("an earlier check still runs: %w", context.Cause(ctx)))
	}
	done := make(chan error, 1)
	go func() {
		defer c.release()
		done <- c.Func(ctx)
	}()
	select {
	case err := <-done:
		// A Func that obeys its context ends at the same moment as the wait for it does; the answer
		// is the same whichever is seen first.
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			err = context.Cause(ctx)
		}
		return c.result(err)
	case <-ctx.Done():
		return c.result(context.Cause(ctx))
	}
}

// result puts err into words.
func (c *check) result(err error) Result {
	if err != nil {
		return Result{Name: c.Name, Error: err.Error()}
	}
	return Result{Name: c.Name, OK: true}
}
