package app

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"rekey/internal/bus"
	"rekey/internal/jobs"
	"rekey/internal/schedule"
	"rekey/internal/stores"
	"rekey/internal/wire"
)

// intakeGrace is how long a job that a schedule asked for may be without a record and still count as unfinished: its
// event is in the stream and waits to be taken in. One that comes to nothing must not hold up its schedule without end.
const intakeGrace = 5 * time.Minute

// removedEvery is how often schedules are looked for that are not configured any more.
const removedEvery = time.Minute

// startSchedules starts what wakes on cron. It runs without any schedule, too: a reload may bring some.
func (w *worker) startSchedules(s storage) error {
	specs, err := wire.Specs(w.Config.Schedules)
	if err != nil {
		return err
	}
	requests, err := wire.NewRequests(w.Config.Schedules)
	if err != nil {
		return err
	}
	w.firer = &firer{conn: w.conn}
	w.firer.requests.Store(&requests)
	w.scheduler, err = schedule.New(schedule.Config{
		Schedules: specs, Fire: w.firer, Store: s.schedules, Jobs: unfinished{s.ledger, w.conn.Clock().Now}, Metrics: w.metrics, Logger: w.Logger,
		Worker: w.keeper(), Now: w.conn.Clock().Now,
	})
	if err != nil {
		return err
	}
	w.background(partSchedules, w.scheduler.Run)
	w.background(partRemoved, func(ctx context.Context) error { return w.markRemoved(ctx, s.schedules) })
	return nil
}

// keeper is what this worker is called in the states of schedules. Whatever process runs an embedded server is the same
// worker.
func (w *worker) keeper() string {
	if w.embedded != nil {
		return "embedded"
	}
	return w.Name
}

// markRemoved notes which schedules this worker does not have any more, now and every minute until ctx ends. Where one that
// no worker had is configured again later, it starts afresh.
func (w *worker) markRemoved(ctx context.Context, store stores.Schedules) error {
	ticker := time.NewTicker(removedEvery)
	defer ticker.Stop()
	for {
		if err := store.MarkRemoved(ctx, *w.firer.requests.Load(), w.keeper(), w.conn.Clock().Now().UTC()); err != nil && ctx.Err() == nil {
			w.log.Warn("looking for removed schedules", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// firer turns a tick into an event. Its identity is the schedule and the tick's time, by which the ledger
// makes one job of it however many workers fire it; its path is that of all events.
type firer struct {
	conn     *bus.Conn
	requests atomic.Pointer[wire.Requests] // A reload changes them.
}

// Job is the id of the job that the tick's event makes.
func (f *firer) Job(tick schedule.Tick) string {
	return jobs.ID(wire.ScheduleSource(tick.Schedule), wire.TickID(tick))
}

// Fire publishes the tick's event.
func (f *firer) Fire(ctx context.Context, tick schedule.Tick) error {
	r, ok := (*f.requests.Load())[tick.Schedule]
	if !ok {
		return fmt.Errorf("schedule %s is not configured any more", tick.Schedule)
	}
	_, err := f.conn.PublishRequest(ctx, jobs.ClassSchedule, wire.ScheduleSource(tick.Schedule), wire.TickID(tick), r.Fields)
	return err
}

// finder looks up jobs.
type finder interface {
	Find(ctx context.Context, id string) (jobs.PublicRecord, error)
}

// unfinished knows what became of the jobs of schedules.
type unfinished struct {
	ledger finder
	now    func() time.Time
}

// Unfinished reports whether a job that was asked for at a moment has no outcome yet.
func (u unfinished) Unfinished(ctx context.Context, id string, since time.Time) (bool, error) {
	record, err := u.ledger.Find(ctx, id)
	if errors.Is(err, jobs.ErrNotFound) {
		return u.now().Sub(since) < intakeGrace, nil
	}
	return err == nil && !record.Done(), err
}
