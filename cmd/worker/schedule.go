package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rekey/internal/config"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/schedule"
	"rekey/internal/terminal"
)

func (c *cli) scheduleCommand() *cobra.Command {
	return noun("schedule", "Work with schedules",
		c.scheduleListCommand(), c.scheduleNextCommand(), c.scheduleRunCommand(), c.schedulePauseCommand(), c.scheduleResumeCommand())
}

func (c *cli) scheduleListCommand() *cobra.Command {
	return c.withIDs(c.withOutput(c.withServer(&cobra.Command{
		Use:   "ls",
		Short: "List the configured schedules with their last and next ticks",
		Long: `List the schedules of the configuration as the whole fleet has them: the last tick that fired
and the outcome of the last job, the next tick that fires, the state (active, paused, or blackout
while a window of not_during is open), and how many ticks were missed or skipped since the
schedule began. -o json has all of it, with the latest decisions and what operators did.`,
		Example: "  worker schedule ls -c configs/worker.yaml",
		Args:    want(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.listSchedules(cmd.Context()) },
	})))
}

func (c *cli) listSchedules(ctx context.Context) error {
	if c.configName() == "" {
		return usagef("no configuration is given, and it is what names the schedules: -c FILE or $%s", envConfig)
	}
	return c.ask(ctx, func(ctx context.Context, client *fleet.Client) error {
		rows, err := client.Schedules(ctx)
		if err != nil {
			return err
		}
		return c.printSchedules(rows)
	})
}

func (c *cli) printSchedules(rows []fleet.Schedule) error {
	return printList(c, rows, "No schedules.", func(t *terminal.Table) {
		t.Head("NAME", terminal.Optional("CRON"), terminal.Optional("TIME ZONE"), terminal.Optional("KIND"), "STATE", "LAST", "OUTCOME", "NEXT",
			terminal.Optional("MISSED"), terminal.Optional("SKIPPED"), terminal.Optional("DETAIL"))
		for _, r := range rows {
			skipped := 0
			for _, n := range r.Skipped {
				skipped += n
			}
			t.Row(r.Name, r.Cron, r.TimeZone, r.Kind, r.State, tickTime(r.Last), r.LastOutcome, tickTime(r.Next), r.Missed, skipped, r.Detail)
		}
	})
}

// tickTime shows a moment on its own clock, with the day of the week, which many schedules
// go by.
func tickTime(at time.Time) string {
	if at.IsZero() {
		return terminal.None
	}
	return at.Format("Mon " + terminal.TimeLayout)
}

// findSchedule returns the configured schedule with this name.
func (c *cli) findSchedule(name string) (config.Schedule, schedule.Spec, error) {
	cfg, err := c.config()
	if err != nil {
		return config.Schedule{}, schedule.Spec{}, err
	}
	names := make([]string, len(cfg.Schedules))
	for i, s := range cfg.Schedules {
		names[i] = s.Name
	}
	found, err := fleet.ByPrefix("schedule", name, names)
	if err == nil {
		s := cfg.Schedules[slices.Index(names, found)]
		spec, err := s.Spec()
		return s, spec, err
	}
	if !errors.Is(err, jobs.ErrNotFound) {
		return config.Schedule{}, schedule.Spec{}, err
	}
	return config.Schedule{}, schedule.Spec{}, fmt.Errorf("schedule %s: %w; %s", terminal.Short(name, 64), jobs.ErrNotFound, c.configured(names))
}

// configured says which names the configuration has.
func (c *cli) configured(names []string) string {
	if c.configName() == "" {
		return "no configuration is given: -c FILE or $" + envConfig
	}
	return fmt.Sprintf("%s has: %s", c.configName(), cmp.Or(strings.Join(names, ", "), "none"))
}

func (c *cli) scheduleNextCommand() *cobra.Command {
	var n int
	cmd := c.withOutput(c.withConfig(&cobra.Command{
		Use:               "next NAME",
		ValidArgsFunction: c.completeSchedules,
		Short:             "Show the next ticks of a schedule",
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
	return c.print(rows, func(t *terminal.Table) {
		t.Head("TICK", "DUE WITH JITTER")
		for _, r := range rows {
			due := tickTime(r.Due)
			switch {
			case r.Due.IsZero():
				due = "skipped: " + r.Blackout
			case r.Blackout != "":
				due += ", moved: " + r.Blackout
			}
			t.Row(tickTime(r.At), due)
		}
	})
}

// scheduleFlags say who does something to a schedule and why.
type scheduleFlags struct {
	by, reason string
	wait       fleet.Until
}

func (f *scheduleFlags) register(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&f.reason, "reason", "", "why, a free `TEXT` that is recorded (required)")
	cmd.Flags().StringVar(&f.by, "by", "", "who, a free `TEXT` that is recorded (default: the user's name)")
	return cmd
}

func (c *cli) scheduleOperation(action schedule.Action, f *scheduleFlags) (schedule.Operation, error) {
	if f.reason == "" {
		return schedule.Operation{}, usagef("--reason is required: it is recorded with the schedule")
	}
	by := cmp.Or(f.by, userName(), "unknown")
	return schedule.Operation{Action: action, By: by, Reason: c.discreet(f.reason)}, nil
}

func (c *cli) scheduleRunCommand() *cobra.Command {
	var f scheduleFlags
	cmd := f.register(c.withOutput(c.withServer(&cobra.Command{
		Use:               "run NAME --reason TEXT",
		ValidArgsFunction: c.completeSchedules,
		Short:             "Make the job of a schedule now, once",
		Long: `Make the job of a schedule now, once, beside its ticks: also while the schedule is paused, its
last job is not done, or a window of not_during is open. Who did it and why is recorded.

` + waitCodes,
		Example: "  worker schedule run weekly-jwks --reason 'key found in a log' --wait",
		Args:    want("NAME"),
		RunE:    func(cmd *cobra.Command, list []string) error { return c.runSchedule(cmd.Context(), list[0], &f) },
	})))
	waitFlag(cmd, &f.wait)
	return cmd
}

func (c *cli) runSchedule(ctx context.Context, name string, f *scheduleFlags) error {
	if _, err := member("--wait", string(f.wait), fleet.Untils()); err != nil {
		return usage(err)
	}
	op, err := c.scheduleOperation(schedule.ActionRun, f)
	if err != nil {
		return err
	}
	s, spec, err := c.findSchedule(name)
	if err != nil {
		return err
	}
	ctx, client, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	if window, open := spec.Blackout(op.At); open {
		c.tell("note: a window of not_during is open: %s", window)
	}
	limited, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	after, err := client.LastLetter(limited)
	if err != nil {
		return unanswered(ctx, limited, err)
	}
	jobID, eventID, err := client.RunSchedule(limited, s, op)
	if len(jobs.Mistakes(err)) > 0 {
		return usage(err)
	}
	if err != nil {
		return unanswered(ctx, limited, err)
	}
	if f.wait != "" {
		c.say(submittedLine, jobID)
		return c.await(ctx, client, fleet.Wait{JobID: jobID, Stored: true, After: after, Proof: f.wait == fleet.UntilProof}, 0)
	}
	return c.printSubmitted(submitted{JobID: jobID, EventID: eventID})
}

func (c *cli) schedulePauseCommand() *cobra.Command {
	return c.operateCommand(schedule.ActionPause, &cobra.Command{
		Use:               "pause NAME --reason TEXT",
		ValidArgsFunction: c.completeSchedules,
		Short:             "Keep a schedule from firing, on all workers",
		Long: `Keep a schedule from firing, on all workers and across restarts, until it is resumed. Its ticks
are skipped and counted meanwhile. Jobs that it has made already go on.`,
		Example: "  worker schedule pause weekly-jwks --reason 'change freeze CHG-42'",
	})
}

func (c *cli) scheduleResumeCommand() *cobra.Command {
	return c.operateCommand(schedule.ActionResume, &cobra.Command{
		Use:               "resume NAME --reason TEXT",
		ValidArgsFunction: c.completeSchedules,
		Short:             "Let a paused schedule fire again",
		Long: `Let a paused schedule fire again, from its next tick on. Ticks that came due during the pause are
not made up for; 'worker schedule run' does that where it is wanted.`,
		Example: "  worker schedule resume weekly-jwks --reason 'freeze is over'",
	})
}

// operateCommand completes a command that pauses or resumes a schedule.
func (c *cli) operateCommand(action schedule.Action, cmd *cobra.Command) *cobra.Command {
	var f scheduleFlags
	cmd.Args = want("NAME")
	cmd.RunE = func(cmd *cobra.Command, list []string) error {
		op, err := c.scheduleOperation(action, &f)
		if err != nil {
			return err
		}
		return c.operateSchedule(cmd.Context(), list[0], op)
	}
	return f.register(c.withOutput(c.withServer(cmd)))
}

// operateSchedule pauses or resumes a schedule. That there was nothing to do is no failure.
func (c *cli) operateSchedule(ctx context.Context, name string, op schedule.Operation) error {
	s, spec, err := c.findSchedule(name)
	if err != nil {
		return err
	}
	return c.ask(ctx, func(ctx context.Context, client *fleet.Client) error {
		state, err := client.PauseSchedule(ctx, s.Name, op)
		if errors.Is(err, schedule.ErrPaused) || errors.Is(err, schedule.ErrNotPaused) {
			c.tell("%s", err)
			err = nil
		}
		if err != nil {
			return err
		}
		r, err := fleet.NewSchedule(s, spec, fleet.ScheduleState{State: state}, c.now())
		if err != nil {
			return err
		}
		return c.print(r, func(t *terminal.Table) {
			t.Field("schedule", r.Name)
			t.Field("state", r.State)
			t.Field("detail", r.Detail)
			t.Field("next", tickTime(r.Next))
		})
	})
}
