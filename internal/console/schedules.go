package console

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"rekey/internal/config"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/schedule"
	"rekey/internal/terminal"
)

// schedulesView is the schedules of the configuration.
type schedulesView struct {
	Schedules []scheduleRow
	Operate   bool // The person may run, pause and resume them.
}

// scheduleRow is a schedule and its latest decisions.
type scheduleRow struct {
	fleet.Schedule
	Means   terminal.Meaning
	Skips   int
	Account string
}

// schedules lists the schedules.
func (c *Console) schedules(one *call) (page, error) {
	ctx, cancel := one.within()
	defer cancel()
	list, err := one.fleet.Schedules(ctx)
	v := schedulesView{Operate: one.may(config.MayOperate)}
	for i, s := range list {
		r := scheduleRow{Schedule: s, Means: terminal.Good, Account: one.config.Schedules[i].Job.Account}
		if s.State != fleet.ScheduleActive {
			r.Means = terminal.Worth
		}
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
func (c *call) action() schedule.Action {
	for _, a := range []schedule.Action{schedule.ActionRun, schedule.ActionPause, schedule.ActionResume} {
		if c.r.URL.Path == "/schedules/"+c.r.PathValue("name")+"/"+string(a) {
			return a
		}
	}
	return ""
}

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

func (c *Console) runSchedule(ctx context.Context, one *call, op operation) (page, string, error) {
	s, err := one.schedule()
	if err != nil {
		return page{}, "", err
	}
	id, _, err := one.fleet.RunSchedule(ctx, s, schedule.Operation{Action: schedule.ActionRun, By: op.By, Reason: op.Reason})
	if mistakes := jobs.Mistakes(err); len(mistakes) > 0 {
		err = failed(http.StatusUnprocessableEntity, "The job is not accepted", err.Error())
	}
	return made(ctx, one, id, err)
}

func (c *Console) pauseSchedule(ctx context.Context, one *call, op operation) (page, string, error) {
	s, err := one.schedule()
	if err == nil {
		_, err = one.fleet.PauseSchedule(ctx, s.Name, schedule.Operation{Action: one.action(), By: op.By, Reason: op.Reason})
	}
	if errors.Is(err, schedule.ErrPaused) || errors.Is(err, schedule.ErrNotPaused) {
		err = failed(http.StatusConflict, "There is nothing to do", err.Error())
	}
	return page{}, "/schedules", err
}

// pacing lists the rate buckets.
func (c *Console) pacing(one *call) (page, error) {
	ctx, cancel := one.within()
	defer cancel()
	list, err := one.fleet.Buckets(ctx)
	return page{Template: "pacing", Title: "Pacing", Data: struct{ Buckets []fleet.Bucket }{list}}, err
}

// receiversView is the receivers of the configuration.
type receiversView struct {
	Receivers []fleet.ReceiverState
	Operate   bool
}

// receivers lists the receivers of notifications.
func (c *Console) receivers(one *call) (page, error) {
	ctx, cancel := one.within()
	defer cancel()
	list, err := one.fleet.Receivers(ctx)
	return page{Template: "receivers", Title: "Receivers", Data: receiversView{list, one.may(config.MayOperate)}}, err
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

func (c *Console) testReceiver(ctx context.Context, one *call, _ operation) (page, string, error) {
	r, err := fleet.TestReceiver(ctx, one.config, one.r.PathValue("name"), c.version, c.lookup)
	if err != nil {
		return page{}, "", err
	}
	v := actView{Title: "The receiver has taken the sample", Back: "/receivers"}
	if r.Error != "" {
		v.Title, v.Problem = "The receiver has not taken the sample", r.Error
	}
	status := ""
	if r.Status > 0 {
		status = fmt.Sprintf("HTTP %d", r.Status)
	}
	v.Facts = facts("receiver", r.Receiver, "answer", status, "took", fmt.Sprintf("%.0f ms", r.DurationMS), "webhook id", r.ID)
	return page{Template: "done", Title: v.Title, Data: v}, "", nil
}

// settings shows the configuration that is in force.
func (c *Console) settings(one *call) (page, error) {
	list := config.Settings(one.config)
	for i := range list {
		list[i].Value = one.fleet.Discreet(list[i].Value)
	}
	return page{Template: "settings", Title: "Settings", Data: struct{ Settings []config.Setting }{list}}, nil
}
