package policy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types/ref"
)

// What one event may cost, however many elements it has. All are bounds of what comes from outside:
// a rule costs a few hundred steps for each element.
const (
	// Budget is how many steps of CEL one event may cost one rule; about a tenth of a second.
	Budget = 2_000_000
	// costly is how many steps an event may cost all rules until the planner is asked whether they
	// may go on now; a few milliseconds.
	costly = 50_000
	// decideTimeout is the last net under them: some functions take more time than they cost. A busy
	// machine must not come near it.
	decideTimeout = 20 * time.Second
)

// Why an event costs too much. They quote nothing of it.
var (
	errBudget  = safeError(fmt.Sprintf("the event has cost this policy the %d steps that it may; what it lists is too much for the policy", Budget))
	errTooLong = safeError(fmt.Sprintf("the event takes this policy more than %s", decideTimeout))
	errLater   = safeError("enough costly events are worked on at the same time")
)

// eval runs an expression at the expense of the event. Its errors may quote the event.
func (e *evaluation) eval(ctx context.Context, p *program, vars map[string]any) (ref.Val, error) {
	run := p.whole
	if !e.view.costly {
		run = p.begun
	}
	switch {
	case e.d.Cost >= Budget:
		return nil, errBudget
	case e.took >= decideTimeout:
		return nil, errTooLong
	}
	value, cost, err := e.run(ctx, p, run, vars)
	if e.view.spent += cost; e.view.spent > costly && !e.view.costly {
		if e.view.costly = e.planner.Costly(ctx); !e.view.costly {
			return nil, errLater
		}
		if cost > costly { // It was cut off.
			return e.eval(ctx, p, vars)
		}
	}
	if e.d.Cost += cost; e.d.Cost > Budget {
		return nil, errBudget
	}
	return value, err
}

// run runs an expression for as long as the event has time.
func (e *evaluation) run(ctx context.Context, p *program, run cel.Program, vars map[string]any) (ref.Val, uint64, error) {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(ctx, decideTimeout-e.took)
	defer cancel()
	value, cost, err := p.eval(ctx, run, vars)
	if e.took += time.Since(begun); err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = errTooLong
	}
	return value, cost, err
}

func (e *evaluation) bool(ctx context.Context, p *program, vars map[string]any) (bool, error) {
	value, err := e.eval(ctx, p, vars)
	if err != nil {
		return false, err
	}
	return p.bool(value)
}

func (e *evaluation) string(ctx context.Context, p *program, vars map[string]any) (string, error) {
	value, err := e.eval(ctx, p, vars)
	if err != nil {
		return "", err
	}
	return p.string(value)
}

func (e *evaluation) list(ctx context.Context, p *program, vars map[string]any) ([]ref.Val, error) {
	value, err := e.eval(ctx, p, vars)
	if err != nil {
		return nil, err
	}
	return p.list(value)
}
