package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/schedule"
)

// scheduleFlags say who does something to a schedule and why.
type scheduleFlags struct {
	by, reason string
	wait       bool
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
		Use:   "run NAME --reason TEXT",
		Short: "Make the job of a schedule now, once",
		Long: `Make the job of a schedule now, once, beside its ticks: also while the schedule is paused, its
last job is not done, or a window of not_during is open. Who did it and why is recorded.

` + waitCodes,
		Example: "  worker schedule run weekly-jwks --reason 'key found in a log' --wait",
		Args:    want("NAME"),
		RunE:    func(cmd *cobra.Command, list []string) error { return c.runSchedule(cmd.Context(), list[0], &f) },
	})))
	cmd.Flags().BoolVar(&f.wait, "wait", false, "show progress until the outcome; exit 0 only when the credential is dead")
	return cmd
}

func (c *cli) runSchedule(ctx context.Context, name string, f *scheduleFlags) error {
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
		fmt.Fprintf(c.stderr, "note: a window of not_during is open: %s\n", window)
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
	if f.wait {
		c.say(submittedLine, jobID)
		return c.await(ctx, client, fleet.Wait{JobID: jobID, Stored: true, After: after}, 0)
	}
	return c.printSubmitted(submitted{JobID: jobID, EventID: eventID})
}

func (c *cli) schedulePauseCommand() *cobra.Command {
	return c.operateCommand(schedule.ActionPause, &cobra.Command{
		Use:   "pause NAME --reason TEXT",
		Short: "Keep a schedule from firing, on all workers",
		Long: `Keep a schedule from firing, on all workers and across restarts, until it is resumed. Its ticks
are skipped and counted meanwhile. Jobs that it has made already go on.`,
		Example: "  worker schedule pause weekly-jwks --reason 'change freeze CHG-42'",
	})
}

func (c *cli) scheduleResumeCommand() *cobra.Command {
	return c.operateCommand(schedule.ActionResume, &cobra.Command{
		Use:   "resume NAME --reason TEXT",
		Short: "Let a paused schedule fire again",
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
		state, err := client.PauseSchedule(ctx, name, op)
		if errors.Is(err, schedule.ErrPaused) || errors.Is(err, schedule.ErrNotPaused) {
			fmt.Fprintf(c.stderr, "%s\n", err)
			err = nil
		}
		if err != nil {
			return err
		}
		r, err := newScheduleRow(s, spec, fleet.ScheduleState{State: state}, c.now())
		if err != nil {
			return err
		}
		return c.print(r, func(t *tabwriter.Writer) {
			field(t, "schedule", r.Name)
			field(t, "state", r.State)
			field(t, "detail", r.Detail)
			field(t, "next", tickTime(r.Next))
		})
	})
}
