package schedule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"rekey/internal/backoff"
	"rekey/internal/jobs"
)

const (
	// longestSleep bounds a wait: timers do not notice that the clock was set or that the machine slept.
	longestSleep = 30 * time.Second
	// onTime is how late a tick may come to its turn before it counts as missed.
	onTime = time.Minute
	// othersTurn is how old a single tick must be before it counts as missed: another worker may be firing it.
	othersTurn = 2 * time.Second
	// queuePoll is how often a queued tick looks whether its turn has come.
	queuePoll = time.Second
	// firstDelay and longestDelay bound the time between two attempts, which doubles.
	firstDelay, longestDelay = time.Second, time.Minute
	// fireLimit and storeLimit bound one call, so that one that hangs is attempted again.
	fireLimit, storeLimit = 30 * time.Second, 5 * time.Second
	// saveAttempts bounds the race with other workers for the record.
	saveAttempts = 16
)

// errTooLate tells that a tick was given up.
var errTooLate = errors.New("the tick is too late to fire")

// runner runs one schedule. All but mu and what it guards belongs to the goroutine of run.
type runner struct {
	spec    Spec
	fire    Firer
	store   Store
	jobs    Jobs
	metrics Recorder
	log     *zap.Logger
	now     func() time.Time
	keeper  string // Who has the schedule, in its state.

	// since is when the schedule was first seen as it is, by any worker.
	since time.Time
	// cursor is the nominal time up to which this worker has dealt with the ticks. It is set by open, or by the runner
	// before this one when the schedule was changed in small ways while it ran.
	cursor time.Time
	// firing is the tick about which this worker, and no other, was the first to decide.
	firing time.Time
	// unsaved are ticks that have fired and that the store does not know of yet.
	unsaved []Tick

	// mu guards last, next and paused, which Status reads.
	mu     sync.Mutex
	last   time.Time
	next   Tick
	paused bool
}

// run fires the ticks of the schedule until ctx is done.
func (r *runner) run(ctx context.Context) {
	started := r.now()
	inherited := !r.cursor.IsZero()
	if err := r.open(ctx, started); err != nil {
		return // ctx is done.
	}
	if inherited {
		// The runner before this one has been on time: what comes due in between is late by a moment, not missed.
		started = r.cursor
	}
	for cutoff := started; ; cutoff = r.now() {
		if err := r.catchUp(ctx, cutoff); err != nil {
			return // ctx is done.
		}
		if err := r.keepTime(ctx); err != nil {
			return // ctx is done.
		}
	}
}

// open takes up the schedule from the stored state.
func (r *runner) open(ctx context.Context, started time.Time) error {
	return r.retryUntilDone(ctx, "taking up a schedule", func() error {
		r.since = started // As long as nothing else is known, it begins now.
		err := r.changeFrom(ctx, true, func(s *State, fresh bool) bool {
			if !fresh {
				r.since = s.Since
			}
			// A cursor that was handed over knows better than the store what this worker has done.
			if r.cursor.IsZero() {
				r.cursor = earlier(s.Settled, started)
			}
			r.observe(s)
			if fresh {
				r.log.Info("schedule begins", zap.String("cron", r.spec.Expr.String()), zap.String("time_zone", r.spec.Expr.Zone()))
			}
			return s.keep(r.keeper, r.spec.MaxLate, r.now()) || fresh
		})
		if err != nil && !errors.Is(err, errUnread) && !errors.Is(err, jobs.ErrConflict) {
			r.complainOfStore(err)
			return nil // It is saved with the first tick.
		}
		return err
	})
}

// catchUp deals with the ticks that were due by cutoff and have not fired. Its error means that ctx is done.
func (r *runner) catchUp(ctx context.Context, cutoff time.Time) error {
	count, ticks := r.spec.overdue(r.cursor, cutoff)
	if count == 0 {
		return nil
	}
	if count == 1 {
		if err := backoff.Sleep(ctx, ticks[0].Due.Add(othersTurn).Sub(r.now())); err != nil {
			return err
		}
	}
	var p passage
	err := r.retryUntilDone(ctx, "passing over missed ticks", func() error {
		return r.change(ctx, func(s *State, _ bool) bool {
			p = s.pass(r.spec, r.cursor, cutoff, r.now())
			return p.missed > 0 || p.skipped > 0
		})
	})
	if err != nil {
		return err
	}
	r.tellPassage(p)
	for _, tick := range p.rest {
		if err := r.handle(ctx, tick); err != nil {
			return err
		}
	}
	r.cursor = later(r.cursor, p.end)
	return nil
}

// tellPassage counts and logs what was passed over and what is made up for.
func (r *runner) tellPassage(p passage) {
	r.metrics.ScheduleMissed(r.spec.Name, p.missed)
	for range p.skipped {
		r.metrics.ScheduleSkipped(r.spec.Name, string(VerdictBlackout))
	}
	if p.missed+len(p.rest) > 0 {
		r.log.Warn("ticks were missed", zap.Int("not_run", p.missed), zap.Int("made_up", len(p.rest)),
			zap.String("policy", string(r.spec.Missed)), zap.Time("latest", p.end))
	}
}

// keepTime fires one tick after the other when it is due. It returns nil when the next tick is so late that it was
// missed, and an error when ctx is done.
func (r *runner) keepTime(ctx context.Context) error {
	for {
		tick := r.spec.tick(r.spec.Expr.Next(r.cursor))
		r.show(tick)
		if err := r.waitUntil(ctx, tick.Due); err != nil {
			return err
		}
		if r.now().Sub(tick.Due) > onTime {
			return nil
		}
		if err := r.handle(ctx, tick); err != nil {
			return err
		}
	}
}

// waitUntil returns nil when the clock shows due or later.
func (r *runner) waitUntil(ctx context.Context, due time.Time) error {
	for {
		wait := due.Sub(r.now())
		if wait <= 0 {
			return context.Cause(ctx)
		}
		if err := backoff.Sleep(ctx, min(wait, longestSleep)); err != nil {
			return err
		}
		// There is time left for it: the sleep was a part of the wait. Other workers and operators may have been busy.
		if wait > longestSleep {
			r.refresh(ctx)
		}
	}
}

// handle does with a tick what is decided about it, attempt after attempt, and moves on to the next one. Its error means
// that ctx is done.
func (r *runner) handle(ctx context.Context, tick Tick) error {
	for attempt := 1; ; attempt++ {
		delay, err := r.attempt(ctx, tick)
		if err == nil && delay == 0 {
			break
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			delay = backoff.Delay(firstDelay, longestDelay, attempt)
		} else {
			attempt = 0 // It waits for its turn, which is no failure.
		}
		if r.spec.tooLate(tick, r.now().Add(delay)) {
			return r.giveUp(ctx, tick, attempt, err)
		}
		if err != nil {
			r.logFirst(attempt, "firing a schedule", err)
		}
		if err := backoff.Sleep(ctx, delay); err != nil {
			return err
		}
	}
	r.cursor = later(r.cursor, tick.At)
	return nil
}

// attempt decides about the tick, with the other workers, and fires it if that is the decision. A delay says how long the
// tick has to wait before it is looked at again.
func (r *runner) attempt(ctx context.Context, tick Tick) (time.Duration, error) {
	verdict, delay, err := r.decide(ctx, tick)
	if err != nil || verdict != VerdictFiring {
		return delay, err
	}
	limited, cancel := context.WithTimeoutCause(ctx, fireLimit, fmt.Errorf("no answer within %s", fireLimit))
	defer cancel()
	if err := r.fire.Fire(limited, tick); err != nil {
		return 0, err
	}
	r.metrics.ScheduleFired(r.spec.Name, tick.At)
	r.log.Debug("schedule fired", zap.Time("tick", tick.At))
	r.unsaved = append(r.unsaved, tick)
	r.save(ctx)
	return 0, nil
}

// giveUp counts a tick that could not be fired in time.
func (r *runner) giveUp(ctx context.Context, tick Tick, attempts int, why error) error {
	lost := false
	err := r.retryUntilDone(ctx, "giving up a tick", func() error {
		return r.change(ctx, func(s *State, _ bool) bool {
			lost = s.lose(tick)
			return lost
		})
	})
	if err != nil {
		return err
	}
	if lost {
		r.metrics.ScheduleMissed(r.spec.Name, 1)
		r.log.Error("tick given up", zap.Time("tick", tick.At), zap.Int("attempts", attempts), zap.NamedError("error", cmp.Or(why, errTooLate)))
	}
	r.cursor = later(r.cursor, tick.At)
	return nil
}

// logFirst logs the first failure of a series: the ones after it are the same story.
func (r *runner) logFirst(attempt int, what string, err error) {
	if attempt == 1 {
		r.log.Warn(what, zap.Error(err))
	}
}

// show publishes which tick comes next. While the schedule is paused, and where windows swallow every tick in sight,
// it publishes none.
func (r *runner) show(next Tick) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = next
	if next.Skip {
		r.next = nextFire(r.spec, next.At)
	}
	r.tellNext()
}

// observe publishes what the stored state says.
func (r *runner) observe(s *State) {
	if !s.LastFire.IsZero() {
		r.metrics.ScheduleFired(r.spec.Name, s.LastFire)
	}
	r.metrics.SchedulePaused(r.spec.Name, s.IsPaused())
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last, r.paused = s.LastFire, s.IsPaused()
	r.tellNext()
}

// tellNext sets the metric. The lock is held.
func (r *runner) tellNext() {
	due := r.next.Due
	if r.paused {
		due = time.Time{}
	}
	r.metrics.ScheduleNext(r.spec.Name, due)
}

// status returns what show and observe have published, or what is known before the first time.
func (r *runner) status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Status{
		Name: r.spec.Name, Expr: r.spec.Expr.String(), Zone: r.spec.Expr.Zone(), Last: r.last, Next: r.next.At, Paused: r.paused,
	}
	if s.Next.IsZero() {
		s.Next = NextFire(r.spec, r.now())
	}
	return s
}

// retryUntilDone calls do until it works. Its error is the cause of ctx's end.
func (r *runner) retryUntilDone(ctx context.Context, what string, do func() error) error {
	for attempt := 1; ; attempt++ {
		err := do()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		r.logFirst(attempt, what, err)
		if err := backoff.Sleep(ctx, backoff.Delay(firstDelay, longestDelay, attempt)); err != nil {
			return err
		}
	}
}
