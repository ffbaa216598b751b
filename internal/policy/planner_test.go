package policy

import (
	"context"
	"testing"

	"rekey/internal/jobs"
)

// listener is a planner that takes so many requests of a policy, all with 0, and lets costly events
// go on unless it is busy.
type listener struct {
	most  int
	busy  bool
	asked int // How often it was asked whether a costly event may go on.
	taken map[string][]jobs.Request
}

func (l *listener) Take(d *jobs.Decision, r jobs.Request) bool {
	if l.taken == nil {
		l.taken = map[string][]jobs.Request{}
	}
	l.taken[d.Policy] = append(l.taken[d.Policy], r)
	return l.most == 0 || len(l.taken[d.Policy]) < l.most
}

func (l *listener) Costly(context.Context) bool {
	l.asked++
	return !l.busy
}

// decided is a decision with what the policy asks for: nothing where something is wrong.
type decided struct {
	jobs.Decision
	Requests []jobs.Request
}

// decideAll is what all rules of an engine make of an event.
func decideAll(t testing.TB, e *Engine, event jobs.Event) []decided {
	t.Helper()
	var l listener
	var all []decided
	for _, d := range e.Decide(t.Context(), event, &l) {
		one := decided{Decision: d}
		if d.Rejection == nil {
			one.Requests = l.taken[d.Policy]
		}
		all = append(all, one)
	}
	return all
}
