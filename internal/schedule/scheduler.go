package schedule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Firer turns a tick into a job.
type Firer interface {
	// Fire must be idempotent per tick: every worker fires every tick, and an attempt whose answer was lost is
	// repeated. It is called by one goroutine per schedule, and given 30 seconds.
	Fire(ctx context.Context, tick Tick) error
}

// Recorder counts what the scheduler does. Its methods are called by several goroutines at a time.
type Recorder interface {
	// ScheduleFired says that the tick of the nominal time at has fired, now or, at start, before this worker ran.
	ScheduleFired(name string, at time.Time)
	// ScheduleNext says that the tick of the nominal time at is the next one.
	ScheduleNext(name string, at time.Time)
	// ScheduleMissed says that n ticks more were missed, including those that are made up for. At start n is 0.
	ScheduleMissed(name string, n int)
}

// Config is what a Scheduler is built from.
type Config struct {
	// Schedules may be empty. Their names must differ.
	Schedules []Spec
	// Fire, Store and Metrics are required.
	Fire    Firer
	Store   Store
	Metrics Recorder
	// Logger may be nil: no logs.
	Logger *zap.Logger
}

// Scheduler waits for the ticks of some schedules and fires them.
type Scheduler struct {
	runners []*runner
	ran     atomic.Bool
}

// Status is how one schedule stands. Times are nominal, in UTC.
type Status struct {
	// Name is the name of the schedule.
	Name string
	// Expr is its expression, as it was given.
	Expr string
	// Zone is the IANA name of its time zone.
	Zone string
	// Last is the latest tick that fired, on any worker as far as this one knows. Zero: none has.
	Last time.Time
	// Next is the tick that this worker waits for, or is trying to fire.
	Next time.Time
}

// New returns a Scheduler that does nothing until Run. The error joins everything that is wrong with cfg.
func New(cfg Config) (*Scheduler, error) {
	if cfg.Fire == nil || cfg.Store == nil || cfg.Metrics == nil {
		return nil, errors.New("building the scheduler: Fire, Store and Metrics are required")
	}
	log := cmp.Or(cfg.Logger, zap.NewNop()).Named("schedule")
	s := &Scheduler{}
	seen := map[string]bool{}
	var errs []error
	for _, spec := range cfg.Schedules {
		if err := spec.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("schedule %q: %w", spec.Name, err))
		}
		if seen[spec.Name] {
			errs = append(errs, fmt.Errorf("schedule %q: the name is used twice", spec.Name))
		}
		seen[spec.Name] = true
		spec.Missed = cmp.Or(spec.Missed, MissedOnce)
		spec.MaxLate = cmp.Or(spec.MaxLate, 24*time.Hour)
		s.runners = append(s.runners, &runner{
			spec: spec, fire: cfg.Fire, store: cfg.Store, metrics: cfg.Metrics,
			log: log.With(zap.String("schedule", spec.Name)),
		})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("building the scheduler: %w", err)
	}
	return s, nil
}

// Run fires the ticks until ctx is done, and returns nil when the last call to the Firer and the Store has come back.
// Ticks that came due before Run follow Missed, and so do those that are more than a minute late when their turn
// comes, because the machine slept or an outage held up the ticks before them. A tick that cannot be fired is
// attempted again after 1 s, 2 s and so on up to every minute, until it is MaxLate after its due time; then it counts
// as missed. The error says that Run was called a second time.
func (s *Scheduler) Run(ctx context.Context) error {
	if s.ran.Swap(true) {
		return errors.New("running the schedules: they run already or have run")
	}
	started := wallClock()
	var running sync.WaitGroup
	// One goroutine for each schedule, so that a call that hangs for one of them holds up no other.
	for _, r := range s.runners {
		running.Go(func() { r.run(ctx, started) })
	}
	<-ctx.Done()
	running.Wait()
	return nil
}

// Status returns how the schedules stand, in the order of the configuration. It may be called at any time.
func (s *Scheduler) Status() []Status {
	all := make([]Status, 0, len(s.runners))
	for _, r := range s.runners {
		all = append(all, r.status())
	}
	return all
}

// wallClock returns the time of day without Go's monotonic reading: comparisons are to see it when the clock is set
// and when the machine has slept.
func wallClock() time.Time {
	return time.Now().Round(0).UTC()
}
