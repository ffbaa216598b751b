package schedule

import (
	"context"
	"errors"
	"sync"
	"time"
)

// change asks Run for another set of schedules.
type change struct {
	specs []Spec
	done  chan struct{} // Closed when they run.
}

// running is a runner that runs.
type running struct {
	*runner
	stop context.CancelCauseFunc
	done chan struct{} // Closed when it has ended.
}

// errReplaced ends a runner whose schedule was changed or removed.
var errReplaced = errors.New("the schedule was changed or removed")

// Run fires the ticks until ctx is done, and returns nil when the last call to the Firer and the Store has come back.
// Ticks that came due before Run follow Missed, and so do those that are more than a minute late when their turn
// comes, because the machine slept or an outage held up the ticks before them. A tick that cannot be fired is
// attempted again after 1 s, 2 s and so on up to every minute, until it is MaxLate after its due time; then it counts
// as missed. The error says that Run was called a second time.
func (s *Scheduler) Run(ctx context.Context) error {
	if s.ran.Swap(true) {
		return errors.New("running the schedules: they run already or have run")
	}
	var all sync.WaitGroup
	defer all.Wait()
	var current []running
	for _, r := range s.runners {
		current = append(current, begin(ctx, r, &all))
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-s.changes:
			current = s.replace(ctx, current, c.specs, &all)
			close(c.done)
		}
	}
}

// begin starts a runner. Each schedule has a goroutine of its own, so that a call that hangs for one of them holds up no
// other.
func begin(ctx context.Context, r *runner, all *sync.WaitGroup) running {
	own, stop := context.WithCancelCause(ctx)
	started := running{runner: r, stop: stop, done: make(chan struct{})}
	all.Go(func() {
		defer close(started.done)
		defer stop(nil)
		r.run(own)
	})
	return started
}

// Replace makes the running scheduler run these schedules instead of those that it runs, and returns when it does. A
// schedule that stays as it is goes on undisturbed. One of which all but the expression and the zone has changed goes on
// from its last tick; the others begin or end now. The error says that the schedules cannot run, and then nothing has
// changed, or that ctx is done.
func (s *Scheduler) Replace(ctx context.Context, specs []Spec) error {
	if err := Check(specs); err != nil {
		return err
	}
	c := change{specs: specs, done: make(chan struct{})}
	select {
	case s.changes <- c:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// replace stops what is not to run any more and starts what is to run.
func (s *Scheduler) replace(ctx context.Context, current []running, specs []Spec, all *sync.WaitGroup) []running {
	kept := map[string]running{}
	wanted := map[string]*runner{}
	for _, spec := range specs {
		wanted[spec.Name] = s.newRunner(spec)
	}
	var ending []running
	for _, old := range current {
		if fresh, ok := wanted[old.spec.Name]; ok && fresh.spec.fingerprint() == old.spec.fingerprint() {
			kept[old.spec.Name] = old
			continue
		}
		old.stop(errReplaced)
		ending = append(ending, old)
	}
	for _, old := range ending {
		<-old.done
		if fresh, ok := wanted[old.spec.Name]; ok && fresh.spec.Expr.fingerprint() == old.spec.Expr.fingerprint() {
			fresh.cursor, fresh.unsaved = old.cursor, old.unsaved
		}
	}
	next := make([]running, 0, len(specs))
	runners := make([]*runner, 0, len(specs))
	for _, spec := range specs {
		r, ok := kept[spec.Name]
		if !ok {
			r = begin(ctx, wanted[spec.Name], all)
		}
		next, runners = append(next, r), append(runners, r.runner)
	}
	s.mu.Lock()
	s.runners = runners
	s.mu.Unlock()
	return next
}

// NextFire returns the nominal time of the first tick of spec after from that fires: one that no window leaves out. It is
// zero where there is none among the next thousand ticks.
func NextFire(spec Spec, from time.Time) time.Time { return nextFire(spec, from).At }

func nextFire(spec Spec, from time.Time) Tick {
	const sight = 1000
	for range sight {
		if from = spec.Expr.Next(from); from.IsZero() {
			break
		}
		if tick := spec.tick(from); !tick.Skip {
			return tick
		}
	}
	return Tick{}
}
