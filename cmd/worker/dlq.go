package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"rekey/internal/bus"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/show"
	"rekey/internal/terminal"
)

func (c *cli) dlqCommand() *cobra.Command {
	var limit int
	ls := c.withIDs(c.withOutput(c.withServer(&cobra.Command{
		Use:     "ls",
		Short:   "List dead letters, the latest first",
		Example: "  worker dlq ls\n  worker dlq ls -o json",
		Args:    want(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.listDeadLetters(cmd.Context(), limit) },
	})))
	ls.Flags().IntVar(&limit, "limit", 50, "at most `N` dead letters; 0 is all")
	show := c.withOutput(c.withServer(&cobra.Command{
		Use:     "show N",
		Short:   "Show one dead letter with its reason and the original message",
		Example: "  worker dlq show 1",
		Args:    want("N"),
		RunE:    func(cmd *cobra.Command, list []string) error { return c.showDeadLetter(cmd.Context(), list[0]) },
	}))
	return noun("dlq", "Work with dead letters", ls, show, c.replayCommand(), c.dropCommand())
}

func (c *cli) listDeadLetters(ctx context.Context, limit int) error {
	if err := notNegative("--limit", limit); err != nil {
		return usage(err)
	}
	return c.search(ctx, func(ctx context.Context, client *fleet.Client) error {
		found, err := client.DeadLetters(ctx, fleet.LetterQuery{Limit: limit})
		if err != nil {
			return err
		}
		if found.More {
			fmt.Fprintln(c.stderr, "There are more dead letters: --limit shows more at once, 0 all.")
		}
		c.tellAge(found.Lag)
		return c.printDeadLetters(found.Letters)
	})
}

func (c *cli) showDeadLetter(ctx context.Context, text string) error {
	number, err := letterNumber(text)
	if err != nil {
		return err
	}
	return c.ask(ctx, func(ctx context.Context, client *fleet.Client) error {
		letter, err := client.DeadLetter(ctx, number)
		if err != nil {
			return err
		}
		return c.printDeadLetter(letter)
	})
}

func (c *cli) printDeadLetters(list []bus.DeadLetter) error {
	if list == nil {
		list = []bus.DeadLetter{}
	}
	return c.print(list, func(t *terminal.Table) { show.DeadLetters(t, list) })
}

func (c *cli) printDeadLetter(d bus.DeadLetter) error {
	return c.print(d, func(t *terminal.Table) { show.DeadLetter(t, &d) })
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
			return c.replay(cmd.Context(), list, c.operation(jobs.ActionReplay, &f))
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
	all, err := client.StoredDeadLetters(ctx, math.MaxInt)
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
	return c.print(results, func(t *terminal.Table) {
		t.Row("N", "RESULT", "JOB", "EVENT")
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
			t.Row(r.Number, result, r.JobID, event)
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
				return client.Drop(ctx, number, c.operation(jobs.ActionDrop, &f))
			})
		},
	})
	f.register(cmd)
	return cmd
}
