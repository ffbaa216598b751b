package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"rekey/internal/bus"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
)

func (c *cli) dlqCommand() *cobra.Command {
	var limit int
	ls := c.withOutput(c.withServer(&cobra.Command{
		Use:     "ls",
		Short:   "List dead letters, the latest first",
		Example: "  worker dlq ls\n  worker dlq ls -o json",
		Args:    want(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.listDeadLetters(cmd.Context(), limit) },
	}))
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
	if limit == 0 {
		limit = math.MaxInt - 1
	}
	return c.askDeadLetters(ctx, func(ctx context.Context, d *bus.DeadLetters) error {
		list, err := d.List(ctx, limit+1) // One more, to see whether there is more.
		if err != nil {
			return err
		}
		if len(list) > limit {
			list = list[:limit]
			fmt.Fprintln(c.stderr, "There are more dead letters: --limit shows more at once, 0 all.")
		}
		return c.printDeadLetters(list)
	})
}

func (c *cli) showDeadLetter(ctx context.Context, text string) error {
	number, err := letterNumber(text)
	if err != nil {
		return err
	}
	return c.askDeadLetters(ctx, func(ctx context.Context, d *bus.DeadLetters) error {
		letter, err := d.Show(ctx, number)
		if errors.Is(err, jobs.ErrNotFound) {
			return fmt.Errorf("dead letter %d: %w", number, err)
		}
		if err != nil {
			return err
		}
		return c.printDeadLetter(letter)
	})
}

func (c *cli) askDeadLetters(ctx context.Context, question func(context.Context, *bus.DeadLetters) error) error {
	return c.ask(ctx, func(ctx context.Context, client *fleet.Client) error {
		letters, err := bus.OpenDeadLetters(ctx, client.Conn)
		if err != nil {
			return err
		}
		return question(ctx, letters)
	})
}

func (c *cli) printDeadLetters(list []bus.DeadLetter) error {
	if list == nil {
		list = []bus.DeadLetter{}
	}
	return c.print(list, func(t *tabwriter.Writer) {
		row(t, "N", "AT", "CODE", "KIND", "JOB", "REASON")
		for _, d := range list {
			row(t, d.Number, d.At, d.Code, d.Kind, d.JobID, short(d.Reason, 80))
		}
	})
}

func (c *cli) printDeadLetter(d bus.DeadLetter) error {
	return c.print(d, func(t *tabwriter.Writer) {
		field(t, "number", d.Number)
		field(t, "at", d.At)
		field(t, "subject", d.Subject)
		field(t, "code", d.Code)
		field(t, "reason", d.Reason)
		field(t, "receiver", d.Receiver)
		field(t, "kind", d.Kind)
		field(t, "job", d.JobID)
		field(t, "event", eventName(d.Event))
		if d.Event.Seq != 0 {
			field(t, "event subject", fmt.Sprintf("%s, sequence %d", d.Event.Subject, d.Event.Seq))
		}
		_, _ = fmt.Fprintf(t, "\n%s\n", printableLines(d.Payload))
	})
}
