package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"rekey/internal/app"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/schedule"
)

func (c *cli) scheduleCommand() *cobra.Command {
	var n int
	ls := c.withOutput(c.withServer(&cobra.Command{
		Use:     "ls",
		Short:   "List the configured schedules with their last and next ticks",
		Example: "  worker schedule ls -c configs/worker.yaml",
		Args:    want(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.listSchedules(cmd.Context()) },
	}))
	next := c.withOutput(c.withConfig(&cobra.Command{
		Use:     "next NAME",
		Short:   "Show the next ticks of a schedule",
		Example: "  worker schedule next weekly-jwks -n 5 -c configs/worker.yaml",
		Args:    want("NAME"),
		RunE:    func(_ *cobra.Command, list []string) error { return c.nextTicks(list[0], n) },
	}))
	next.Flags().IntVarP(&n, "count", "n", 5, "how many ticks (`N`)")
	return noun("schedule", "Work with schedules", ls, next)
}

// scheduleRow is one schedule as `schedule ls -o json` shows it.
type scheduleRow struct {
	Name     string    `json:"name"`
	Cron     string    `json:"cron"`
	TimeZone string    `json:"time_zone"`
	Kind     string    `json:"kind"`
	Missed   string    `json:"missed"`
	Last     time.Time `json:"last,omitzero"`
	Next     time.Time `json:"next,omitzero"`
}

func (c *cli) listSchedules(ctx context.Context) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	specs, err := app.Specs(cfg.Schedules)
	if err != nil {
		return err
	}
	return c.ask(ctx, func(ctx context.Context, client *app.Client) error {
		rows := []scheduleRow{}
		for i, s := range cfg.Schedules {
			state, err := client.ScheduleState(ctx, s.Name)
			if err != nil {
				return err
			}
			r, err := newScheduleRow(s, specs[i], state, time.Now())
			if err != nil {
				return err
			}
			rows = append(rows, r)
		}
		return c.printSchedules(rows)
	})
}

// newScheduleRow has its moments on the clock that the schedule goes by.
func newScheduleRow(s config.Schedule, spec schedule.Spec, state schedule.State, now time.Time) (scheduleRow, error) {
	zone, err := time.LoadLocation(spec.Expr.Zone())
	if err != nil {
		return scheduleRow{}, err
	}
	r := scheduleRow{Name: s.Name, Cron: s.Cron, TimeZone: s.TimeZone, Kind: string(s.Job.Kind), Missed: string(s.Missed)}
	if !state.LastFire.IsZero() {
		r.Last = state.LastFire.In(zone)
	}
	if ticks := schedule.Upcoming(spec, now, 1); len(ticks) > 0 {
		r.Next = ticks[0].At.In(zone)
	}
	return r, nil
}

func (c *cli) printSchedules(rows []scheduleRow) error {
	return c.print(rows, func(t *tabwriter.Writer) {
		row(t, "NAME", "CRON", "TIME ZONE", "KIND", "LAST", "NEXT")
		for _, r := range rows {
			row(t, r.Name, r.Cron, r.TimeZone, r.Kind, tickTime(r.Last), tickTime(r.Next))
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

// tickRow is one tick as `schedule next -o json` shows it.
type tickRow struct {
	At  time.Time `json:"at"`  // The nominal time.
	Due time.Time `json:"due"` // With jitter.
}

func (c *cli) nextTicks(name string, n int) error {
	if n < 1 || n > 1000 {
		return usagef("-n must be between 1 and 1000")
	}
	cfg, err := c.config()
	if err != nil {
		return err
	}
	specs, err := app.Specs(cfg.Schedules)
	if err != nil {
		return err
	}
	for _, spec := range specs {
		if spec.Name == name {
			return c.printTicks(spec, n)
		}
	}
	return fmt.Errorf("schedule %s: %w; %s", short(name, 64), jobs.ErrNotFound, c.configured(specs))
}

// configured says which schedules there are.
func (c *cli) configured(specs []schedule.Spec) string {
	if c.configName() == "" {
		return "no configuration is given: -c FILE or $" + envConfig
	}
	names := make([]string, len(specs))
	for i, spec := range specs {
		names[i] = spec.Name
	}
	return fmt.Sprintf("%s has: %s", c.configName(), cmp.Or(strings.Join(names, ", "), "none"))
}

func (c *cli) printTicks(spec schedule.Spec, n int) error {
	zone, err := time.LoadLocation(spec.Expr.Zone())
	if err != nil {
		return err
	}
	rows := []tickRow{}
	for _, tick := range schedule.Upcoming(spec, time.Now(), n) {
		rows = append(rows, tickRow{At: tick.At.In(zone), Due: tick.Due.In(zone)})
	}
	return c.print(rows, func(t *tabwriter.Writer) {
		row(t, "TICK", "DUE WITH JITTER")
		for _, r := range rows {
			row(t, tickTime(r.At), tickTime(r.Due))
		}
	})
}
