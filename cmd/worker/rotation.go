package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"rekey/internal/backoff"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/show"
	"rekey/internal/terminal"
)

func (c *cli) rotationCommand() *cobra.Command {
	ls := c.withIDs(c.withOutput(c.withServer(&cobra.Command{
		Use:   "ls",
		Short: "List the rotations with the steps that they are at",
		Long: `List the rotations that the workers have configured: the step of an unfinished one, what it waits for, and when the old secret
ends by itself; else the outcome of the latest one.`,
		Example: "  worker rotation ls",
		Args:    want(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.listRotations(cmd.Context()) },
	})))
	show := c.withOutput(c.withServer(&cobra.Command{
		Use:   "show NAME",
		Short: "Show the latest job of a rotation: its steps, what it waits for and until when",
		Long: `Show the latest job of a rotation, as 'worker job show' does: each step with what came of it, what the present one waits for
and since when, and when an old secret ends by itself.`,
		Example: "  worker rotation show ci -o json",
		Args:    want("NAME"),
		RunE: func(cmd *cobra.Command, list []string) error {
			return c.ask(cmd.Context(), func(ctx context.Context, client *fleet.Client) error {
				r, err := client.Rotation(ctx, list[0])
				if err != nil {
					return err
				}
				return c.printJob(r)
			})
		},
	}))
	return noun("rotation", "Work with rotations", ls, show, c.rotationRunCommand(), c.rotationAbandonCommand())
}

func (c *cli) listRotations(ctx context.Context) error {
	return c.ask(ctx, func(ctx context.Context, client *fleet.Client) error {
		found, err := client.Rotations(ctx)
		if err != nil {
			return err
		}
		list := []show.ConfiguredRotation{}
		for _, name := range slices.Sorted(maps.Keys(found)) {
			list = append(list, show.NewRotation(name, found[name]))
		}
		return printList(c, list, "No rotations.", func(t *terminal.Table) { show.Rotations(t, list) })
	})
}

func (c *cli) rotationRunCommand() *cobra.Command {
	var f submitFlags
	cmd := c.withOutput(c.withServer(&cobra.Command{
		Use:   "run NAME",
		Short: "Begin a rotation now",
		Long: `Begin a rotation now. While one of the same name is unfinished, the request joins that. It takes as long as the users of the old
one need to move: days, as a rule. --dry-run says what would be done, and changes nothing.

` + waitCodes,
		Example: "  worker rotation run ci --reason 'laptop lost'",
		Args:    want("NAME"),
		RunE: func(cmd *cobra.Command, list []string) error {
			return c.runRotation(cmd.Context(), list[0], &f)
		},
	}))
	flags := cmd.Flags()
	flags.StringVar(&f.reason, "reason", "", "why, a free `TEXT` that is recorded")
	flags.StringVar(&f.lane, "lane", "", "the `LANE` of the job: urgent, normal or bulk (default: normal)")
	flags.BoolVar(&f.dryRun, "dry-run", false, "do everything but the calls that change something")
	flags.DurationVar(&f.timeout, "timeout", 0, "with --wait, wait at most this `TIME`")
	waitFlag(cmd, &f.wait)
	return cmd
}

// runRotation asks for a rotation. The workers know which kind its jobs have.
func (c *cli) runRotation(ctx context.Context, name string, f *submitFlags) error {
	var kind jobs.Kind
	err := c.ask(ctx, func(ctx context.Context, client *fleet.Client) (err error) {
		kind, err = client.RotationKind(ctx, name)
		return err
	})
	if err != nil {
		return err
	}
	request, err := c.request(string(kind), []string{kinds.ParamRotation + "=" + name}, f)
	if err != nil {
		return err
	}
	return c.submit(ctx, request, f)
}

func (c *cli) rotationAbandonCommand() *cobra.Command {
	var f operateFlags
	cmd := c.withOutput(c.withServer(&cobra.Command{
		Use:   "abandon NAME --reason TEXT",
		Short: "Take what an unfinished rotation has made back",
		Long: `Take what an unfinished rotation has made back: where the old one is shown to work, the stores get that again, and the new one
is deleted. The life of an old secret stays cut to a week. Where it cannot be shown, and once the old one is being deleted, the rotation
goes on: exit code 6. A rotation that has not asked for a secret yet just ends.`,
		Example: "  worker rotation abandon ci --reason 'the new secret is in a log'",
		Args:    want("NAME"),
		RunE: func(cmd *cobra.Command, list []string) error {
			if f.reason == "" {
				return usagef("--reason is required: it is recorded on the job")
			}
			return c.ask(cmd.Context(), func(ctx context.Context, client *fleet.Client) error {
				return c.abandon(ctx, client, list[0], &f)
			})
		},
	}))
	f.register(cmd)
	return cmd
}

// abandonPoll is how often it is looked whether a rotation is taken back.
const abandonPoll = 250 * time.Millisecond

// abandon asks for the end of a rotation, and waits for what comes of it.
func (c *cli) abandon(ctx context.Context, client *fleet.Client, name string, f *operateFlags) error {
	r, err := client.Rotation(ctx, name)
	if err != nil {
		return err
	}
	if r.Done() {
		return fmt.Errorf("rotation %s is over: %s: %w", terminal.Short(name, 64), r.Outcome, jobs.ErrEnded)
	}
	if r, err = client.Cancel(ctx, r.JobID, c.operation(jobs.ActionCancel, f)); err != nil && !errors.Is(err, jobs.ErrAsked) {
		return err
	}
	for !r.Done() && r.CancelAsked {
		if err := backoff.Sleep(ctx, abandonPoll); err != nil {
			return err
		}
		if r, err = client.Job(ctx, r.JobID); err != nil {
			return err
		}
	}
	if err := c.printJob(r); err != nil || r.Outcome == jobs.OutcomeCancelled {
		return err
	}
	return &codeError{exitRefused, fmt.Errorf("rotation %s goes on: it was not taken back", terminal.Short(name, 64))}
}
