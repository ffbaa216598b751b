package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rekey/internal/bus"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/kv"
	"rekey/internal/schedule"
)

// startSchedules starts what wakes on cron.
func (w *worker) startSchedules(s stores) error {
	specs, err := Specs(w.Config.Schedules)
	if err != nil {
		return err
	}
	if len(specs) == 0 {
		return nil
	}
	requests := map[string]map[string]any{}
	for _, sch := range w.Config.Schedules {
		requests[sch.Name] = request(sch)
	}
	scheduler, err := schedule.New(schedule.Config{
		Schedules: specs, Fire: &firer{conn: w.conn, names: w.names, requests: requests},
		Store: s.schedules, Metrics: w.metrics, Logger: w.Logger,
	})
	if err != nil {
		return err
	}
	w.background("schedules", scheduler.Run)
	return nil
}

// Specs turns configured schedules into those that the scheduler runs.
func Specs(list []config.Schedule) ([]schedule.Spec, error) {
	specs := make([]schedule.Spec, 0, len(list))
	for _, s := range list {
		expr, err := schedule.Parse(s.Cron, s.TimeZone)
		if err != nil {
			return nil, fmt.Errorf("schedule %s: %w", s.Name, err)
		}
		specs = append(specs, schedule.Spec{
			Name: s.Name, Expr: expr, Jitter: s.Jitter, Missed: s.Missed, MaxLate: s.MaxLate,
		})
	}
	return specs, nil
}

// request is the request object of a schedule's events.
func request(s config.Schedule) map[string]any {
	req := map[string]any{"kind": string(s.Job.Kind), "params": s.Job.Params, "requested_by": "schedule " + s.Name}
	for name, value := range map[string]string{
		"account": s.Job.Account, "lane": string(s.Job.Lane), "reason": s.Job.Reason, "requested_by": s.Job.RequestedBy,
	} {
		if value != "" {
			req[name] = value
		}
	}
	return req
}

// firer turns a tick into an event. Its identity is the schedule and the tick's time, so
// that any number of workers make one job of it; its path is that of all events.
type firer struct {
	conn     *bus.Conn
	names    bus.Names
	requests map[string]map[string]any
}

// Fire publishes the tick's event.
func (f *firer) Fire(ctx context.Context, tick schedule.Tick) error {
	id := tick.At.UTC().Format(time.RFC3339)
	_, err := f.conn.PublishRequest(ctx, f.names, jobs.ClassSchedule, "rekey/schedule/"+tick.Schedule, id, f.requests[tick.Schedule])
	return err
}

// scheduleStore keeps the state of every schedule in JetStream.
type scheduleStore struct {
	bucket *kv.Bucket[schedule.State]
}

func openScheduleStore(ctx context.Context, c *bus.Conn, n bus.Names, replicas int) (*scheduleStore, error) {
	bucket, err := kv.Open[schedule.State](ctx, c.JetStream(), kv.Config{
		Bucket: n.Schedules(), Description: "The last fire of every schedule.", Replicas: replicas,
	})
	if err != nil {
		return nil, err
	}
	return &scheduleStore{bucket: bucket}, nil
}

// Load returns the state of a schedule, or a zero one.
func (s *scheduleStore) Load(ctx context.Context, name string) (schedule.State, uint64, error) {
	state, revision, err := s.bucket.Load(ctx, name)
	if errors.Is(err, jobs.ErrNotFound) {
		return schedule.State{}, 0, nil
	}
	return state, revision, err
}

// Save writes the state of a schedule over its revision.
func (s *scheduleStore) Save(ctx context.Context, name string, state schedule.State, revision uint64) (uint64, error) {
	revision, err := s.bucket.Save(ctx, name, state, revision)
	if errors.Is(err, jobs.ErrConflict) {
		return 0, schedule.ErrConflict
	}
	return revision, err
}
