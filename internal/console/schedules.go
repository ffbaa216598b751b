package console

import (
	"context"
	"maps"
	"path"
	"slices"
	"time"

	"rekey/internal/config"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/schedule"
	"rekey/internal/show"
	"rekey/internal/terminal"
)

// scheduleRow is a schedule and its latest decisions.
type scheduleRow struct {
	fleet.Schedule
	Skips   int
	Account string
}

// schedules lists the schedules.
func (c *Console) schedules(ctx context.Context, one *call) (page, error) {
	list, err := one.fleet.Schedules(ctx)
	v := struct{ Schedules []scheduleRow }{}
	for i, s := range list {
		r := scheduleRow{Schedule: s, Account: one.config.Schedules[i].Job.Account}
		for _, n := range s.Skipped {
			r.Skips += n
		}
		v.Schedules = append(v.Schedules, r)
	}
	return page{Template: "schedules", Title: "Schedules", Data: v}, err
}

// schedule is the schedule that the address names.
func (c *call) schedule() (config.Schedule, error) {
	i := slices.IndexFunc(c.config.Schedules, func(s config.Schedule) bool { return s.Name == c.r.PathValue("name") })
	if i < 0 {
		return config.Schedule{}, jobs.ErrNotFound
	}
	return c.config.Schedules[i], nil
}

// action is the last part of the address.
func (c *call) action() schedule.Action { return schedule.Action(path.Base(c.r.URL.Path)) }

// showSchedule is what is shown before something is done to a schedule.
func (c *Console) showSchedule(_ context.Context, one *call) (actView, error) {
	s, err := one.schedule()
	if err != nil {
		return actView{}, err
	}
	v := actView{Back: "/schedules", Facts: facts("schedule", s.Name, "cron", s.Cron+" "+s.TimeZone, "kind", string(s.Job.Kind), "account", s.Job.Account)}
	for _, name := range slices.Sorted(maps.Keys(s.Job.Params)) {
		v.Facts = append(v.Facts, fact{name, s.Job.Params[name]})
	}
	switch one.action() {
	case schedule.ActionRun:
		v.Title, v.Button, v.Says = "Run a schedule now", "Run it", []string{"The job of the schedule is made now, once, beside its ticks: also while it is paused, or in a window in which it does not fire."}
	case schedule.ActionPause:
		v.Title, v.Button, v.Says = "Pause a schedule", "Pause it", []string{"The schedule does not fire, on all workers, until it is resumed. Its ticks are skipped and counted. Jobs that it has made go on."}
	case schedule.ActionResume:
		v.Title, v.Button, v.Says = "Resume a schedule", "Resume it", []string{"The schedule fires again, from its next tick on. Ticks that came due during the pause are not made up for."}
	}
	return v, nil
}

func (c *Console) runSchedule(ctx context.Context, one *call, op operation) (page, error) {
	s, err := one.schedule()
	if err != nil {
		return page{}, err
	}
	id, _, err := one.fleet.RunSchedule(ctx, s, schedule.Operation{Action: schedule.ActionRun, By: op.By, Reason: op.Reason})
	return made(ctx, one, id, err)
}

func (c *Console) pauseSchedule(ctx context.Context, one *call, op operation) (page, error) {
	s, err := one.schedule()
	if err == nil {
		_, err = one.fleet.PauseSchedule(ctx, s.Name, schedule.Operation{Action: one.action(), By: op.By, Reason: op.Reason})
	}
	return page{To: "/schedules"}, err
}

// pacing lists the rate buckets.
func (c *Console) pacing(ctx context.Context, one *call) (page, error) {
	list, err := one.fleet.Buckets(ctx)
	return page{Template: "pacing", Title: "Pacing", Data: struct{ Buckets []fleet.Bucket }{list}}, err
}

// receivers lists the receivers of notifications.
func (c *Console) receivers(ctx context.Context, one *call) (page, error) {
	list, err := one.fleet.Receivers(ctx)
	return page{Template: "receivers", Title: "Receivers", Data: struct{ Receivers []fleet.ReceiverState }{list}}, err
}

func (c *Console) showReceiver(_ context.Context, one *call) (actView, error) {
	for _, r := range one.config.Receivers {
		if r.Name == one.r.PathValue("name") {
			return actView{
				Title: "Test a receiver", Button: "Send the sample", Back: "/receivers", Facts: facts("receiver", r.Name, "type", string(r.Type)),
				Says: []string{"A sample is sent once, from this worker. It is marked as a test."},
			}, nil
		}
	}
	return actView{}, jobs.ErrNotFound
}

func (c *Console) testReceiver(ctx context.Context, one *call, _ operation) (page, error) {
	r, err := fleet.TestReceiver(ctx, one.config, one.r.PathValue("name"), c.cfg.Version, c.cfg.Lookup)
	if err != nil {
		return page{}, err
	}
	v := actView{Title: "The receiver has taken the sample", Back: "/receivers"}
	if r.Error != "" {
		v.Title, v.Problem = "The receiver has not taken the sample", r.Error
	}
	v.Facts = facts("receiver", r.Receiver, "answer", show.Answer(jobs.Attempt{Status: r.Status}), "took", terminal.Took(time.Duration(r.DurationMS*float64(time.Millisecond))), "webhook id", r.ID)
	return page{Template: "act", Title: v.Title, Data: v}, nil
}

// settings shows the configuration that is in force.
func (c *Console) settings(_ context.Context, one *call) (page, error) {
	list := config.Settings(one.config)
	for i := range list {
		list[i].Value = one.fleet.Discreet(list[i].Value)
	}
	return page{Template: "settings", Title: "Settings", Data: struct{ Settings []config.Setting }{list}}, nil
}
