package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"rekey/internal/config"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/schedule"
	"rekey/internal/wire"
)

func (c *cli) scheduleCommand() *cobra.Command {
	return noun("schedule", "Work with schedules",
		c.scheduleListCommand(), c.scheduleNextCommand(), c.scheduleRunCommand(), c.schedulePauseCommand(), c.scheduleResumeCommand())
}

func (c *cli) scheduleListCommand() *cobra.Command {
	return c.withOutput(c.withServer(&cobra.Command{
		Use:   "ls",
		Short: "List the configured schedules with their last and next ticks",
		Long: `List the schedules of the configuration as the whole fleet has them: the last tick that fired
and the outcome of the last job, the next tick that fires, the state (active, paused, or blackout
while a window of not_during is open), and how many ticks were missed or skipped since the
schedule began. -o json has all of it, with the latest decisions and what operators did.`,
		Example: "  worker schedule ls -c configs/worker.yaml",
		Args:    want(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.listSchedules(cmd.Context()) },
	}))
}

// The states of a schedule.
const (
	stateActive   = "active"
	statePaused   = "paused"
	stateBlackout = "blackout"
)

// scheduleRow is one schedule as `schedule ls -o json` shows it.
type scheduleRow struct {
	Name        string               `json:"name"`
	Cron        string               `json:"cron"`
	TimeZone    string               `json:"time_zone"`
	Kind        string               `json:"kind"`
	Overlap     string               `json:"overlap"`
	MissedRule  string               `json:"missed"`
	State       string               `json:"state"`
	Detail      string               `json:"detail,omitempty"` // Who paused it and why, or the window that is open.
	Last        time.Time            `json:"last,omitzero"`
	LastJob     string               `json:"last_job,omitempty"`
	LastOutcome string               `json:"last_outcome,omitempty"` // Of the last job; its state while it has none.
	Next        time.Time            `json:"next,omitzero"`
	Missed      int                  `json:"missed_ticks"` // Ticks that were not run, since the schedule began.
	LastMissed  time.Time            `json:"last_missed,omitzero"`
	Skipped     map[string]int       `json:"skipped_ticks"` // Ticks that were left out on purpose, by why.
	Since       time.Time            `json:"since,omitzero"`
	Recent      []schedule.Decision  `json:"recent"`
	Operations  []schedule.Operation `json:"operations"`
}

func (c *cli) listSchedules(ctx context.Context) error {
	if c.configName() == "" {
		return usagef("no configuration is given, and it is what names the schedules: -c FILE or $%s", envConfig)
	}
	cfg, err := c.config()
	if err != nil {
		return err
	}
	specs, err := wire.Specs(cfg.Schedules)
	if err != nil {
		return err
	}
	names := make([]string, len(specs))
	for i, spec := range specs {
		names[i] = spec.Name
	}
	return c.ask(ctx, func(ctx context.Context, client *fleet.Client) error {
		standings, err := client.ScheduleStates(ctx, names)
		if err != nil {
			return err
		}
		rows := []scheduleRow{}
		for i, s := range cfg.Schedules {
			r, err := newScheduleRow(s, specs[i], standings[s.Name], c.now())
			if err != nil {
				return err
			}
			rows = append(rows, r)
		}
		return c.printSchedules(rows)
	})
}

// newScheduleRow has its moments on the clock that the schedule goes by.
func newScheduleRow(s config.Schedule, spec schedule.Spec, state fleet.ScheduleState, now time.Time) (scheduleRow, error) {
	zone, err := time.LoadLocation(spec.Expr.Zone())
	if err != nil {
		return scheduleRow{}, err
	}
	r := scheduleRow{
		Name: s.Name, Cron: s.Cron, TimeZone: s.TimeZone, Kind: string(s.Job.Kind), Overlap: string(s.Overlap),
		MissedRule: string(s.Missed), State: stateActive, Last: inZone(state.LastFire, zone), LastJob: state.LastJob,
		LastOutcome: state.LastOutcome, Next: inZone(schedule.NextFire(spec, now), zone), Missed: state.Missed,
		LastMissed: inZone(state.LastMissed, zone), Skipped: map[string]int{}, Since: inZone(state.Since, zone),
		Recent: state.Recent, Operations: state.Operations,
	}
	if r.Recent == nil {
		r.Recent = []schedule.Decision{}
	}
	if r.Operations == nil {
		r.Operations = []schedule.Operation{}
	}
	for _, reason := range schedule.Skips() {
		r.Skipped[string(reason)] = state.Skipped[reason]
	}
	if window, open := spec.Blackout(now); open {
		r.State, r.Detail = stateBlackout, window
	}
	if state.IsPaused() {
		r.State, r.Next = statePaused, time.Time{}
		r.Detail = fmt.Sprintf("since %s by %s: %s", state.Pause.At.In(zone).Format(timeLayout), state.Pause.By, state.Pause.Reason)
	}
	return r, nil
}

// inZone shows a moment on a clock, and leaves the zero time as it is.
func inZone(at time.Time, zone *time.Location) time.Time {
	if at.IsZero() {
		return at
	}
	return at.In(zone)
}

func (c *cli) printSchedules(rows []scheduleRow) error {
	return c.print(rows, func(t *tabwriter.Writer) {
		row(t, "NAME", "CRON", "TIME ZONE", "KIND", "STATE", "LAST", "OUTCOME", "NEXT", "MISSED", "SKIPPED", "DETAIL")
		for _, r := range rows {
			skipped := 0
			for _, n := range r.Skipped {
				skipped += n
			}
			row(t, r.Name, r.Cron, r.TimeZone, r.Kind, r.State, tickTime(r.Last), r.LastOutcome, tickTime(r.Next), r.Missed, skipped, r.Detail)
		}
	})
}

// tickTime shows a moment on its own clock, with the day of the week, which many schedules
// go by.
func tickTime(at time.Time) string {
	if at.IsZero() {
		return none
	}
	return at.Format("Mon " + timeLayout)
}

// findSchedule returns the configured schedule with this name.
func (c *cli) findSchedule(name string) (config.Schedule, schedule.Spec, error) {
	cfg, err := c.config()
	if err != nil {
		return config.Schedule{}, schedule.Spec{}, err
	}
	names := make([]string, len(cfg.Schedules))
	for i, s := range cfg.Schedules {
		if s.Name == name {
			spec, err := s.Spec()
			return s, spec, err
		}
		names[i] = s.Name
	}
	return config.Schedule{}, schedule.Spec{}, fmt.Errorf("schedule %s: %w; %s", short(name, 64), jobs.ErrNotFound, c.configured(names))
}

// configured says which schedules there are.
func (c *cli) configured(names []string) string {
	if c.configName() == "" {
		return "no configuration is given: -c FILE or $" + envConfig
	}
	return fmt.Sprintf("%s has: %s", c.configName(), cmp.Or(strings.Join(names, ", "), "none"))
}

func (c *cli) scheduleNextCommand() *cobra.Command {
	var n int
	cmd := c.withOutput(c.withConfig(&cobra.Command{
		Use:   "next NAME",
		Short: "Show the next ticks of a schedule",
		Long: `Show the next ticks of a schedule on its own clock, when they are due with jitter, and which
of them fall into a window of not_during: they are skipped, or due at its end. No server is asked,
so that a pause or an unfinished job does not count.`,
		Example: "  worker schedule next weekly-jwks -n 5 -c configs/worker.yaml",
		Args:    want("NAME"),
		RunE:    func(_ *cobra.Command, list []string) error { return c.nextTicks(list[0], n) },
	}))
	cmd.Flags().IntVarP(&n, "count", "n", 5, "how many ticks (`N`)")
	return cmd
}

// tickRow is one tick as `schedule next -o json` shows it.
type tickRow struct {
	At       time.Time `json:"at"`                 // The nominal time.
	Due      time.Time `json:"due,omitzero"`       // With jitter, or at the end of a window. None: it is skipped.
	Blackout string    `json:"blackout,omitempty"` // The window that skips or moves it.
}

func (c *cli) nextTicks(name string, n int) error {
	if n < 1 || n > 1000 {
		return usagef("-n must be between 1 and 1000")
	}
	_, spec, err := c.findSchedule(name)
	if err != nil {
		return err
	}
	zone, err := time.LoadLocation(spec.Expr.Zone())
	if err != nil {
		return err
	}
	rows := []tickRow{}
	for _, tick := range schedule.Upcoming(spec, time.Now(), n) {
		r := tickRow{At: tick.At.In(zone), Due: tick.Due.In(zone), Blackout: tick.Blackout}
		if tick.Skip {
			r.Due = time.Time{}
		}
		rows = append(rows, r)
	}
	return c.print(rows, func(t *tabwriter.Writer) {
		row(t, "TICK", "DUE WITH JITTER")
		for _, r := range rows {
			due := tickTime(r.Due)
			switch {
			case r.Due.IsZero():
				due = "skipped: " + r.Blackout
			case r.Blackout != "":
				due += ", moved: " + r.Blackout
			}
			row(t, tickTime(r.At), due)
		}
	})
}
