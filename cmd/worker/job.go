package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/plain"
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
	return printList(c, list, "No jobs.", func(t *terminal.Table) { show.Jobs(t, list, c.now()) })
}

func (c *cli) printJob(r jobs.PublicRecord) error {
	return c.print(r, func(t *terminal.Table) { show.Job(t, &r) })
}

// showRequest shows the dead letter of the request for a job that was never made.
func (c *cli) showRequest(ctx context.Context, client *fleet.Client, id string) error {
	letter, err := client.RequestLetter(ctx, id)
	if errors.Is(err, jobs.ErrNotFound) {
		return fmt.Errorf("job %s: %w; 'worker job ls WORD' finds jobs by words", terminal.Short(plain.Line(id), 64), err)
	}
	if err != nil {
		return err
	}
	c.tell("There is no such job: its request was not accepted, and is dead letter %d.", letter.Number)
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
	if _, err := fleet.Since(text, time.Time{}); err != nil {
		return nil, fmt.Errorf("--since %w", err)
	}
	return func(now time.Time) time.Time {
		at, _ := fleet.Since(text, now) //nolint:errcheck // It was read before.
		return at
	}, nil
}

// onJob does something to one job.
type onJob = func(*fleet.Client, context.Context, string, jobs.Operation) (jobs.PublicRecord, error)

func (c *cli) retryCommand() *cobra.Command {
	return c.jobsCommand(jobs.ActionRetry, &cobra.Command{
		Use:        "retry ID…",
		SuggestFor: []string{"replay"},
		Short:      "Retry jobs",
		Long: `Retry jobs: one that was refused, exhausted or cancelled begins anew with all its
attempts; one that waits is due at once, though not before the API allows it. A job that has
succeeded, or runs, is left alone: exit code 1. Exit code 4 says that it was so for some of them.
One that is queued already stays so, and nothing new is recorded.`,
		Example: `  worker job retry 3f9k2c8w5m1x7q0z4r6t8v2y9a --reason 'role granted'
  worker job ls --outcome exhausted --since 2h --limit 0 -q | xargs -r worker job retry --reason 'Atlas is back'`,
	}, (*fleet.Client).Retry)
}

func (c *cli) cancelCommand() *cobra.Command {
	return c.jobsCommand(jobs.ActionCancel, &cobra.Command{
		Use:        "cancel ID…",
		SuggestFor: []string{"stop", "abort"},
		Short:      "End jobs before their next attempt",
		Long: `Ask jobs to end before their next attempt. A worker ends one that is queued or waits when it comes to it,
behind what is before it in its lane, and without a call; without a worker it stays as it is. One that runs ends after
its call, unless that succeeds or is refused: its detail then says that the cancellation came too late. The command does
not wait for that: 'worker job wait ID' does. One that has ended is left alone: exit code 1.
Exit code 4 says that it was so for some of them. A repeat changes nothing, and nothing new is recorded.`,
		Example: `  worker job cancel 3f9k2c8w5m1x7q0z4r6t8v2y9a --reason 'false alarm'
  worker job ls --account security --state waiting --limit 0 -q | xargs -r worker job cancel --reason 'wrong rule of the SIEM'`,
	}, (*fleet.Client).Cancel)
}

// jobsCommand completes a command that does something to jobs, one after the other.
func (c *cli) jobsCommand(action jobs.Action, cmd *cobra.Command, do onJob) *cobra.Command {
	var f operateFlags
	cmd.Args, cmd.ValidArgsFunction = wantFirst("ID"), c.completeJobs()
	cmd.RunE = func(cmd *cobra.Command, list []string) error {
		ctx, client, err := c.dial(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		return c.operate(ctx, client, list, c.operation(action, &f), do)
	}
	f.register(cmd)
	return c.withOutput(c.withServer(cmd))
}

// operate does something to jobs, and shows them as they are then.
func (c *cli) operate(ctx context.Context, client *fleet.Client, list []string, op jobs.Operation, do onJob) error {
	var changed []jobs.PublicRecord
	var failed []error
	for _, given := range list {
		limited, cancel := context.WithTimeout(ctx, askTimeout)
		record, err := c.operateOne(limited, client, given, op, do)
		err = unanswered(ctx, limited, client.Explain(err))
		cancel()
		if err == nil {
			changed = append(changed, record)
		} else if failed = append(failed, err); ctx.Err() != nil {
			break
		}
	}
	err := errors.Join(failed...)
	switch {
	case len(changed) == 0:
		return err
	case len(list) == 1:
		return c.printJob(changed[0])
	case err != nil:
		err = &partlyError{err}
	}
	return errors.Join(c.printJobs(changed), err)
}

// operateOne does something to one job. That there is nothing to do is an error, as the HTTP API has it.
func (c *cli) operateOne(ctx context.Context, client *fleet.Client, given string, op jobs.Operation, do onJob) (jobs.PublicRecord, error) {
	id, err := client.JobID(ctx, given)
	if err != nil {
		return jobs.PublicRecord{}, err
	}
	record, err := do(client, ctx, id, op)
	name := "job " + terminal.Short(plain.Line(id), 64)
	switch {
	case op.Action == jobs.ActionCancel && errors.Is(err, jobs.ErrEnded) && record.Outcome.Success():
		return record, fmt.Errorf("%s: it is too late: %w: %s", name, err, record.Outcome)
	case errors.Is(err, jobs.ErrEnded):
		return record, fmt.Errorf("%s: %w: %s", name, err, record.Outcome)
	case errors.Is(err, jobs.ErrAsked):
		c.tell("%s: %s", name, err)
		return record, nil
	}
	if err := orLetter(ctx, client, id, err); err != nil {
		return record, fmt.Errorf("%s: %w", name, err)
	}
	return record, nil
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
