package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os/user"
	"slices"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"rekey/internal/bus"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
)

// operateFlags say who does something and why. Both stand in the ledger.
type operateFlags struct {
	by, reason string
}

func (f *operateFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.reason, "reason", "", "why, a free `TEXT` that is recorded")
	cmd.Flags().StringVar(&f.by, "by", "", "who, a free `TEXT` that is recorded (default: the user's name)")
}

func (f *operateFlags) operation(action jobs.Action) jobs.Operation {
	by := f.by
	if by == "" {
		by = "unknown"
		if u, err := user.Current(); err == nil {
			by = u.Username
		}
	}
	return jobs.Operation{Action: action, By: by, Reason: f.reason}
}

func (c *cli) retryCommand() *cobra.Command {
	var f operateFlags
	cmd := c.withOutput(c.withServer(&cobra.Command{
		Use:   "retry ID",
		Short: "Retry a job",
		Long: `Retry a job: one that was refused, exhausted or cancelled begins anew with all its
attempts; one that waits is due at once, though not before the API allows it. A job that has
succeeded is left alone.`,
		Example: "  worker job retry 3f9k2c8w5m1x7q0z4r6t8v2y9a --reason 'role granted'",
		Args:    want("ID"),
		RunE: func(cmd *cobra.Command, list []string) error {
			return c.ask(cmd.Context(), func(ctx context.Context, client *fleet.Client) error {
				record, err := client.Retry(ctx, list[0], f.operation(jobs.ActionRetry))
				return c.operated(list[0], record, orLetter(ctx, client, list[0], err))
			})
		},
	}))
	f.register(cmd)
	return cmd
}

func (c *cli) cancelCommand() *cobra.Command {
	var f operateFlags
	cmd := c.withOutput(c.withServer(&cobra.Command{
		Use:   "cancel ID",
		Short: "End a job before its next attempt",
		Long: `Ask a job to end before its next attempt. A worker ends one that is queued or waits at once,
and one that runs after its call, unless that succeeds. When it has succeeded already, it is too late:
exit code 1.`,
		Example: "  worker job cancel 3f9k2c8w5m1x7q0z4r6t8v2y9a --reason 'false alarm'",
		Args:    want("ID"),
		RunE: func(cmd *cobra.Command, list []string) error {
			return c.ask(cmd.Context(), func(ctx context.Context, client *fleet.Client) error {
				record, err := client.Cancel(ctx, list[0], f.operation(jobs.ActionCancel))
				if errors.Is(err, jobs.ErrEnded) && record.Outcome.Success() {
					return fmt.Errorf("job %s: it is too late: %w: %s", short(list[0], 64), err, record.Outcome)
				}
				return c.operated(list[0], record, orLetter(ctx, client, list[0], err))
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
		return fmt.Errorf("job %s: %w", short(id, 64), err)
	}
	return c.printJob(record)
}

func (c *cli) replayCommand() *cobra.Command {
	var f operateFlags
	var all bool
	cmd := c.withOutput(c.withServer(&cobra.Command{
		Use:   "replay N | --all",
		Short: "Replay dead letters",
		Long: `Replay dead letters and remove them from the stream: a job is retried, an event is
published once more under its identity, a notification is sent to its receiver again. What has
succeeded meanwhile is not done again.
Exit code 4 says that some could not be replayed.`,
		Example: "  worker dlq replay 1 --reason 'account configured'\n  worker dlq replay --all",
		Args: func(_ *cobra.Command, list []string) error {
			if all == (len(list) == 1) || len(list) > 1 {
				return usagef("either one N or --all is required")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, list []string) error {
			return c.replay(cmd.Context(), list, f.operation(jobs.ActionReplay))
		},
	}))
	cmd.Flags().BoolVar(&all, "all", false, "all dead letters, the oldest first")
	f.register(cmd)
	return cmd
}

// replay replays the named dead letter, or all when none is named.
func (c *cli) replay(ctx context.Context, list []string, op jobs.Operation) error {
	ctx, client, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	numbers, err := c.letters(ctx, client, list)
	if err != nil {
		return err
	}
	var results []fleet.Replayed
	var failed []error
	for _, number := range numbers {
		result, err := client.Replay(ctx, number, op)
		if err != nil {
			failed = append(failed, err)
			result.Error = err.Error()
		}
		results = append(results, result)
	}
	if err := c.printReplayed(results); err != nil {
		return err
	}
	switch {
	case len(failed) == 0:
		return nil
	case len(failed) < len(numbers):
		return &partlyError{errors.Join(failed...)}
	}
	return errors.Join(failed...)
}

// letters are the numbers of the dead letters to replay, the oldest first.
func (c *cli) letters(ctx context.Context, client *fleet.Client, list []string) ([]uint64, error) {
	if len(list) == 1 {
		number, err := letterNumber(list[0])
		return []uint64{number}, err
	}
	stream, err := bus.OpenDeadLetters(ctx, client.Conn)
	if err != nil {
		return nil, err
	}
	all, err := stream.List(ctx, math.MaxInt)
	if err != nil {
		return nil, err
	}
	numbers := make([]uint64, 0, len(all))
	for _, letter := range slices.Backward(all) {
		numbers = append(numbers, letter.Number)
	}
	return numbers, nil
}

func letterNumber(text string) (uint64, error) {
	number, err := strconv.ParseUint(text, 10, 64)
	if err != nil || number == 0 {
		return 0, usagef("N must be a number from 'worker dlq ls'")
	}
	return number, nil
}

func (c *cli) printReplayed(results []fleet.Replayed) error {
	if results == nil {
		results = []fleet.Replayed{}
	}
	return c.print(results, func(t *tabwriter.Writer) {
		row(t, "N", "RESULT", "JOB", "EVENT")
		for _, r := range results {
			result := "back at work"
			switch {
			case r.Error != "":
				result = "failed"
			case r.Nothing:
				result = "has succeeded"
			case r.Receiver != "":
				result = "sent again to " + r.Receiver
			}
			event := ""
			if r.EventSeq != 0 {
				event = fmt.Sprintf("sequence %d", r.EventSeq)
			}
			row(t, r.Number, result, r.JobID, event)
		}
	})
}

func (c *cli) dropCommand() *cobra.Command {
	var f operateFlags
	cmd := c.withServer(&cobra.Command{
		Use:     "drop N --reason TEXT",
		Short:   "Delete a dead letter",
		Example: "  worker dlq drop 1 --reason 'test event'",
		Args:    want("N"),
		RunE: func(cmd *cobra.Command, list []string) error {
			number, err := letterNumber(list[0])
			if err != nil {
				return err
			}
			if f.reason == "" {
				return usagef("--reason is required: it is what remains of the dead letter")
			}
			return c.ask(cmd.Context(), func(ctx context.Context, client *fleet.Client) error {
				return client.Drop(ctx, number, f.operation(jobs.ActionDrop))
			})
		},
	})
	f.register(cmd)
	return cmd
}

// partlyError says that some of what was asked for is done: exit code 4.
type partlyError struct{ err error }

// Error returns what was not done.
func (e *partlyError) Error() string { return e.err.Error() }

// Unwrap returns what was not done.
func (e *partlyError) Unwrap() error { return e.err }
