package schedule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Firer turns a tick into a job. Its methods are called by one goroutine per schedule.
type Firer interface {
	// Job returns the id of the job that a tick makes.
	Job(tick Tick) string
	// Fire must be idempotent per tick: several workers may fire a tick, and an attempt whose answer was lost is
	// repeated. It is given 30 seconds.
	Fire(ctx context.Context, tick Tick) error
}

// Jobs knows what became of the jobs that a schedule has made.
type Jobs interface {
	// Unfinished reports whether the job, asked for at the moment since, has no outcome yet.
	Unfinished(ctx context.Context, id string, since time.Time) (bool, error)
}

// Recorder counts what the scheduler does. Its methods are called by several goroutines at a time.
type Recorder interface {
	// ScheduleFired says that the tick of the nominal time at has fired, now or before, on any worker.
	ScheduleFired(name string, at time.Time)
	// ScheduleNext says that the next tick is to fire at a moment, with its jitter, or at the end of the window that it is
	// moved to. Zero: none is.
	ScheduleNext(name string, at time.Time)
	// ScheduleMissed says that n ticks more were missed and not made up for. Of all workers, one counts a tick.
	ScheduleMissed(name string, n int)
	// ScheduleSkipped says that a tick was left out for a reason of Skips. Of all workers, one counts it.
	ScheduleSkipped(name, reason string)
	// SchedulePaused says whether an operator has paused the schedule.
	SchedulePaused(name string, paused bool)
}

// Config is what a Scheduler is built from.
type Config struct {
	// Schedules may be empty. Their names must differ.
	Schedules []Spec
	// Fire, Store, Jobs and Metrics are required.
	Fire    Firer
	Store   Store
	Jobs    Jobs
	Metrics Recorder
	// Logger may be nil: no logs.
	Logger *zap.Logger
	// Worker is what this worker is called in the states of its schedules, the same after a restart where that is
	// possible. Empty: as soon as another worker finds that it does not have a schedule, it counts as removed.
	Worker string
	// Now is the time that all workers share, see internal/clock. Default time.Now.
	Now func() time.Time
}

// Scheduler waits for the ticks of some schedules and fires them.
type Scheduler struct {
	cfg     Config
	log     *zap.Logger
	now     func() time.Time
	ran     atomic.Bool
	changes chan change

	// mu guards runners.
	mu      sync.Mutex
	runners []*runner
}

// Status is the state of one schedule. Times are nominal, in UTC.
type Status struct {
	// Name is the name of the schedule.
	Name string
	// Expr is its expression, as it was given.
	Expr string
	// Zone is the IANA name of its time zone.
	Zone string
	// Last is the latest tick that fired, on any worker as far as this one knows. Zero: none has.
	Last time.Time
	// Next is the tick that fires next, apart from a pause, or is being fired. Zero: none is in sight.
	Next time.Time
	// Paused says that an operator has paused the schedule.
	Paused bool
}

// New returns a Scheduler that does nothing until Run. The error joins everything that is wrong with cfg.
func New(cfg Config) (*Scheduler, error) {
	if cfg.Fire == nil || cfg.Store == nil || cfg.Jobs == nil || cfg.Metrics == nil {
		return nil, errors.New("building the scheduler: Fire, Store, Jobs and Metrics are required")
	}
	s := &Scheduler{
		cfg: cfg, log: cmp.Or(cfg.Logger, zap.NewNop()).Named("schedule"), now: wallClock, changes: make(chan change),
	}
	if cfg.Now != nil {
		s.now = func() time.Time { return cfg.Now().Round(0).UTC() }
	}
	if err := Check(cfg.Schedules); err != nil {
		return nil, fmt.Errorf("building the scheduler: %w", err)
	}
	for _, spec := range cfg.Schedules {
		s.runners = append(s.runners, s.newRunner(spec))
	}
	return s, nil
}

// Check returns everything that is wrong with a set of schedules, joined.
func Check(specs []Spec) error {
	seen := map[string]bool{}
	var errs []error
	for _, spec := range specs {
		if err := spec.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("schedule %q: %w", spec.Name, err))
		}
		if seen[spec.Name] {
			errs = append(errs, fmt.Errorf("schedule %q: the name is used twice", spec.Name))
		}
		seen[spec.Name] = true
	}
	return errors.Join(errs...)
}

func (s *Scheduler) newRunner(spec Spec) *runner {
	spec.Missed = cmp.Or(spec.Missed, MissedOnce)
	spec.MaxLate = cmp.Or(spec.MaxLate, 24*time.Hour)
	spec.Overlap = cmp.Or(spec.Overlap, OverlapAllow)
	return &runner{
		spec: spec, fire: s.cfg.Fire, store: s.cfg.Store, jobs: s.cfg.Jobs, metrics: s.cfg.Metrics, now: s.now, keeper: s.cfg.Worker,
		log: s.log.With(zap.String("schedule", spec.Name)),
	}
}

// Status returns the state of the schedules, in the order of the configuration. It may be called at any time.
func (s *Scheduler) Status() []Status {
	s.mu.Lock()
	runners := slices.Clone(s.runners)
	s.mu.Unlock()
	all := make([]Status, 0, len(runners))
	for _, r := range runners {
		all = append(all, r.status())
	}
	return all
}

// wallClock returns the time of day without Go's monotonic reading: comparisons are to see it when the clock is set
// and when the machine has slept.
func wallClock() time.Time {
	return time.Now().Round(0).UTC()
}
