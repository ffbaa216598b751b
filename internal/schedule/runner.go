package schedule

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// longestNap bounds a wait: timers do not notice that the clock was set or that the machine slept.
	longestNap = 30 * time.Second
	// onTime is how late a tick may come to its turn before it counts as missed.
	onTime = time.Minute
	// firstDelay and longestDelay bound the time between two attempts, which doubles.
	firstDelay, longestDelay = time.Second, time.Minute
	// fireLimit and storeLimit bound one call, so that one that hangs is attempted again.
	fireLimit, storeLimit = 30 * time.Second, 5 * time.Second
	// saveAttempts bounds the race with other workers for the record. The loser saves with the next tick.
	saveAttempts = 5
)

// errTooLate tells that a tick was given up.
var errTooLate = errors.New("the tick is too late to fire")

// runner runs one schedule. All but mu and what it guards belongs to the goroutine of run.
type runner struct {
	spec    Spec
	fire    Firer
	store   Store
	metrics Recorder
	log     *zap.Logger

	state    State
	revision uint64
	// unsaved says that the store does not have state yet.
	unsaved bool

	// mu guards last and next, which Status reads.
	mu         sync.Mutex
	last, next time.Time
}

// run fires the ticks of the schedule until ctx is done.
func (r *runner) run(ctx context.Context, started time.Time) {
	r.metrics.ScheduleMissed(r.spec.Name, 0)
	if err := r.open(ctx, started); err != nil {
		return // ctx is done.
	}
	for cutoff := started; ; cutoff = wallClock() {
		if err := r.catchUp(ctx, cutoff); err != nil {
			return // ctx is done.
		}
		if err := r.keepTime(ctx); err != nil {
			return // ctx is done.
		}
	}
}

// open takes up the schedule where the store says that it stands.
func (r *runner) open(ctx context.Context, started time.Time) error {
	stored, revision, err := r.load(ctx)
	for attempt := 1; err != nil; attempt++ {
		r.complain(attempt, "loading the state of a schedule", err)
		if err := sleep(ctx, retryDelay(attempt)); err != nil {
			return err
		}
		stored, revision, err = r.load(ctx)
	}
	r.revision = revision
	fingerprint := r.spec.Expr.fingerprint()
	if stored.Fingerprint != fingerprint || stored.Settled.IsZero() {
		if stored.Fingerprint != "" {
			r.log.Info("schedule changed, it starts afresh",
				zap.String("was", stored.Fingerprint), zap.String("is", fingerprint))
		}
		r.state = State{Settled: started, Since: started, Fingerprint: fingerprint}
		r.save(ctx)
	} else {
		r.state = stored.notAhead(wallClock())
	}
	if !r.state.LastFire.IsZero() {
		r.metrics.ScheduleFired(r.spec.Name, r.state.LastFire)
	}
	return nil
}

// catchUp deals with the ticks that were due by cutoff and have not fired. Its error means that ctx is done.
func (r *runner) catchUp(ctx context.Context, cutoff time.Time) error {
	count, missed := r.spec.overdue(r.state.Settled, cutoff)
	if count == 0 {
		return nil
	}
	ticks := r.spec.makeUp(missed, wallClock())
	r.metrics.ScheduleMissed(r.spec.Name, count)
	r.log.Warn("ticks were missed", zap.Int("missed", count), zap.Int("made_up", len(ticks)),
		zap.String("policy", string(r.spec.Missed)), zap.Time("latest", missed[len(missed)-1].At))
	for _, tick := range ticks {
		// Another worker may have caught up faster.
		if !tick.At.After(r.state.Settled) {
			continue
		}
		if err := r.fireTick(ctx, tick); err != nil && !errors.Is(err, errTooLate) {
			return err
		}
	}
	r.settle(ctx, missed[len(missed)-1].At)
	return nil
}

// keepTime fires one tick after the other when it is due. It returns nil when the next tick is so late that it was
// missed, and an error when ctx is done.
func (r *runner) keepTime(ctx context.Context) error {
	for {
		tick := r.spec.tick(r.spec.Expr.Next(r.state.Settled))
		r.show(tick)
		if err := r.waitUntil(ctx, tick.Due); err != nil {
			return err
		}
		if wallClock().Sub(tick.Due) > onTime {
			return nil
		}
		err := r.fireTick(ctx, tick)
		if errors.Is(err, errTooLate) {
			r.metrics.ScheduleMissed(r.spec.Name, 1)
		} else if err != nil {
			return err
		}
	}
}

// waitUntil returns nil when the clock shows due or later.
func (r *runner) waitUntil(ctx context.Context, due time.Time) error {
	for {
		wait := due.Sub(wallClock())
		if wait <= 0 {
			return context.Cause(ctx)
		}
		if err := sleep(ctx, min(wait, longestNap)); err != nil {
			return err
		}
		// There is time left for it: the nap was a part of the wait.
		if r.unsaved && wait > longestNap {
			r.save(ctx)
		}
	}
}

// fireTick fires the tick, attempt after attempt, and settles it. The error is errTooLate, or the cause of ctx's end,
// after which the tick is not settled.
func (r *runner) fireTick(ctx context.Context, tick Tick) error {
	for attempt := 1; ; attempt++ {
		err := r.attempt(ctx, tick)
		if err == nil {
			r.state.LastFire = later(r.state.LastFire, tick.At)
			r.metrics.ScheduleFired(r.spec.Name, tick.At)
			r.log.Debug("schedule fired", zap.Time("tick", tick.At), zap.Int("attempt", attempt))
			r.settle(ctx, tick.At)
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		delay := retryDelay(attempt)
		if r.spec.tooLate(tick, wallClock().Add(delay)) {
			r.log.Error("tick given up", zap.Time("tick", tick.At), zap.Int("attempt", attempt), zap.Error(err))
			r.settle(ctx, tick.At)
			return errTooLate
		}
		r.complain(attempt, "firing a schedule", err)
		if err := sleep(ctx, delay); err != nil {
			return err
		}
	}
}

// attempt calls the Firer once.
func (r *runner) attempt(ctx context.Context, tick Tick) error {
	ctx, cancel := context.WithTimeoutCause(ctx, fireLimit, fmt.Errorf("no answer within %s", fireLimit))
	defer cancel()
	return r.fire.Fire(ctx, tick)
}

// settle notes that nothing up to at is left to do.
func (r *runner) settle(ctx context.Context, at time.Time) {
	r.state.Settled = later(r.state.Settled, at)
	r.save(ctx)
}

// load reads the stored state and its revision.
func (r *runner) load(ctx context.Context) (State, uint64, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, storeLimit, fmt.Errorf("no answer within %s", storeLimit))
	defer cancel()
	return r.store.Load(ctx, r.spec.Name)
}

// save brings the state into the store. A store that does not answer must not keep the schedule from firing, so the
// state then stays unsaved until the next tick or nap; the worst that comes of it is a tick that fires again.
func (r *runner) save(ctx context.Context) {
	// What has fired is to be on record even if the worker was told to stop meanwhile.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeLimit)
	defer cancel()
	err := r.trySave(ctx)
	if err != nil && !r.unsaved {
		r.log.Warn("saving the state of a schedule", zap.Error(err))
	}
	r.unsaved = err != nil
}

// trySave saves the state, taking over what other workers have saved since it was loaded.
func (r *runner) trySave(ctx context.Context) error {
	for range saveAttempts {
		revision, err := r.store.Save(ctx, r.spec.Name, r.state, r.revision)
		if err == nil {
			r.revision = revision
			return nil
		}
		if !errors.Is(err, ErrConflict) {
			return err
		}
		stored, revision, err := r.load(ctx)
		if err != nil {
			return err
		}
		if stored.replaces(r.state) {
			// The record is not ours any more. Our old revision makes sure that we see so the next time, too.
			return nil
		}
		r.revision = revision
		merged := merge(r.state, stored, wallClock())
		r.state = merged
		if merged.equal(stored) {
			return nil
		}
	}
	return ErrConflict
}

// complain logs the first failure of a series: the ones after it are the same story.
func (r *runner) complain(attempt int, what string, err error) {
	if attempt == 1 {
		r.log.Warn(what, zap.Error(err))
	}
}

// show publishes which tick comes next.
func (r *runner) show(next Tick) {
	r.metrics.ScheduleNext(r.spec.Name, next.At)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last, r.next = r.state.LastFire, next.At
}

// status returns what show has published, or what is known before the first time.
func (r *runner) status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Status{Name: r.spec.Name, Expr: r.spec.Expr.String(), Zone: r.spec.Expr.Zone(), Last: r.last, Next: r.next}
	if s.Next.IsZero() {
		s.Next = r.spec.Expr.Next(time.Now())
	}
	return s
}

// retryDelay returns the time between an attempt and the next one: 1 s, 2 s, 4 s and so on up to a minute.
func retryDelay(attempt int) time.Duration {
	delay := firstDelay
	for range attempt - 1 {
		if delay *= 2; delay >= longestDelay {
			return longestDelay
		}
	}
	return delay
}

// sleep waits for d, or returns the cause of ctx's end.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
