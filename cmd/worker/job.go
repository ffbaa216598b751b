package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/show"
	"rekey/internal/terminal"
)

func (c *cli) jobCommand() *cobra.Command {
	show := c.withOutput(c.withServer(&cobra.Command{
		Use:               "show ID",
		ValidArgsFunction: c.completeJobs(),
		Short:             "Show one job with all its attempts",
		Long:              "Show one job with all its attempts, or the dead letter of the request that asked for it and was not accepted.",
		Example:           "  worker job show 3f9k2c8w5m1x7q0z4r6t8v2y9a -o json",
		Args:              want("ID"),
		RunE:              func(cmd *cobra.Command, list []string) error { return c.showJob(cmd.Context(), list[0]) },
	}))
	return noun("job", "Work with jobs", c.submitCommand(), c.jobListCommand(), show, c.waitCommand(), c.retryCommand(), c.cancelCommand())
}

func (c *cli) showJob(ctx context.Context, id string) error {
	return c.ask(ctx, func(ctx context.Context, client *fleet.Client) error {
		id, err := client.JobID(ctx, id)
		if err != nil {
			return err
		}
		record, err := client.Job(ctx, id)
		if errors.Is(err, jobs.ErrNotFound) {
			return c.showRequest(ctx, client, id)
		}
		if err != nil {
			return err
		}
		return c.printJob(record)
	})
}

func (c *cli) printJobs(list []jobs.PublicRecord) error {
	if list == nil {
		list = []jobs.PublicRecord{}
	}
	return c.print(list, func(t *terminal.Table) { show.Jobs(t, list, c.now()) })
}

func (c *cli) printJob(r jobs.PublicRecord) error {
	return c.print(r, func(t *terminal.Table) { show.Job(t, &r) })
}

// showRequest shows the dead letter of the request for a job that was never made.
func (c *cli) showRequest(ctx context.Context, client *fleet.Client, id string) error {
	letter, err := client.RequestLetter(ctx, id)
	if errors.Is(err, jobs.ErrNotFound) {
		return fmt.Errorf("job %s: %w", terminal.Short(terminal.Printable(id), 64), err)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stderr, "There is no such job: its request was not accepted, and is dead letter %d.\n", letter.Number)
	return c.printDeadLetter(letter)
}

func notNegative(flag string, n int) error {
	if n < 0 {
		return fmt.Errorf("%s must not be negative; 0 is all", flag)
	}
	return nil
}

// member returns the member of a closed set that a flag names, or "" for an empty flag.
func member[T ~string](flag, value string, set []T) (T, error) {
	if value == "" {
		return "", nil
	}
	for _, m := range set {
		if string(m) == value {
			return m, nil
		}
	}
	return "", fmt.Errorf("%s must be one of %s", flag, strings.Join(jobs.Names(set), ", "))
}

// moment is a time, or an age: then it depends on what time it is now.
type moment func(now time.Time) time.Time

// since is the moment that a text names, and the zero time for an empty one.
func since(text string) (moment, error) {
	if text == "" {
		return func(time.Time) time.Time { return time.Time{} }, nil
	}
	if age, err := time.ParseDuration(text); err == nil && age >= 0 {
		return func(now time.Time) time.Time { return now.Add(-age) }, nil
	}
	if days, err := strconv.Atoi(strings.TrimSuffix(text, "d")); err == nil && days >= 0 && strings.HasSuffix(text, "d") {
		return func(now time.Time) time.Time { return now.AddDate(0, 0, -days) }, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, errors.New("--since must be an age like 24h or a time like 2026-11-24T03:00:00Z")
	}
	return func(time.Time) time.Time { return at }, nil
}

func (c *cli) retryCommand() *cobra.Command {
	var f operateFlags
	cmd := c.withOutput(c.withServer(&cobra.Command{
		Use:               "retry ID",
		ValidArgsFunction: c.completeJobs(),
		Short:             "Retry a job",
		Long: `Retry a job: one that was refused, exhausted or cancelled begins anew with all its
attempts; one that waits is due at once, though not before the API allows it. A job that has
succeeded is left alone.`,
		Example: "  worker job retry 3f9k2c8w5m1x7q0z4r6t8v2y9a --reason 'role granted'",
		Args:    want("ID"),
		RunE: func(cmd *cobra.Command, list []string) error {
			return c.ask(cmd.Context(), func(ctx context.Context, client *fleet.Client) error {
				id, err := client.JobID(ctx, list[0])
				if err != nil {
					return err
				}
				record, err := client.Retry(ctx, id, c.operation(jobs.ActionRetry, &f))
				return c.operated(id, record, orLetter(ctx, client, id, err))
			})
		},
	}))
	f.register(cmd)
	return cmd
}

func (c *cli) cancelCommand() *cobra.Command {
	var f operateFlags
	cmd := c.withOutput(c.withServer(&cobra.Command{
		Use:               "cancel ID",
		ValidArgsFunction: c.completeJobs(),
		Short:             "End a job before its next attempt",
		Long: `Ask a job to end before its next attempt. A worker ends one that is queued or waits at once,
and one that runs after its call, unless that succeeds. When it has succeeded already, it is too late:
exit code 1.`,
		Example: "  worker job cancel 3f9k2c8w5m1x7q0z4r6t8v2y9a --reason 'false alarm'",
		Args:    want("ID"),
		RunE: func(cmd *cobra.Command, list []string) error {
			return c.ask(cmd.Context(), func(ctx context.Context, client *fleet.Client) error {
				id, err := client.JobID(ctx, list[0])
				if err != nil {
					return err
				}
				record, err := client.Cancel(ctx, id, c.operation(jobs.ActionCancel, &f))
				if errors.Is(err, jobs.ErrEnded) && record.Outcome.Success() {
					return fmt.Errorf("job %s: it is too late: %w: %s", terminal.Short(id, 64), err, record.Outcome)
				}
				return c.operated(id, record, orLetter(ctx, client, id, err))
			})
		},
	}))
	f.register(cmd)
	return cmd
}

// orLetter names, where there is no such job, the dead letter of the request for it.
func orLetter(ctx context.Context, client *fleet.Client, id string, err error) error {
	if !errors.Is(err, jobs.ErrNotFound) {
		return err
	}
	if letter, letterErr := client.RequestLetter(ctx, id); letterErr == nil {
		return fmt.Errorf("%w: its request was not accepted, and is dead letter %d; 'worker dlq replay %d' takes it in again", err, letter.Number, letter.Number)
	}
	return err
}

// operated shows a job after an operation. That there was nothing to do is no failure.
func (c *cli) operated(id string, record jobs.PublicRecord, err error) error {
	if errors.Is(err, jobs.ErrSucceeded) || errors.Is(err, jobs.ErrEnded) || errors.Is(err, jobs.ErrRunning) {
		fmt.Fprintf(c.stderr, "%s\n", err)
		err = nil
	}
	if err != nil {
		return fmt.Errorf("job %s: %w", terminal.Short(id, 64), err)
	}
	return c.printJob(record)
}
