package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"rekey/internal/bus"
	"rekey/internal/fleet"
	"rekey/internal/show"
	"rekey/internal/terminal"
)

func (c *cli) dlqCommand() *cobra.Command {
	var f letterFlags
	var limit int
	var grouped bool
	ls := c.withIDs(c.withOutput(c.withServer(&cobra.Command{
		Use:   "ls",
		Short: "List dead letters, the latest first",
		Long: `List dead letters, the latest first, or with --group how many there are of each cause: what differs in
ids, times and addresses alone has one cause. The filters can be combined.`,
		Example: "  worker dlq ls --group\n  worker dlq ls --code refused --since 24h -o json",
		Args:    want(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.listDeadLetters(cmd.Context(), &f, limit, grouped)
		},
	})))
	f.register(ls)
	ls.Flags().IntVar(&limit, "limit", 50, "at most `N` dead letters, or groups of them; 0 is all")
	ls.Flags().BoolVarP(&grouped, "group", "g", false, "count them by their cause, with the numbers that 'worker dlq replay' and 'drop' take")
	show := c.withOutput(c.withServer(&cobra.Command{
		Use:               "show N",
		ValidArgsFunction: c.completeLetters(false),
		Short:             "Show one dead letter with its reason and the original message",
		Long: `Show one dead letter with its reason and the original message. A terminal gets the first 4 KiB of the message;
-o wide, -o json and output that is no terminal have all of it.`,
		Example: "  worker dlq show 1",
		Args:    want("N"),
		RunE:    func(cmd *cobra.Command, list []string) error { return c.showDeadLetter(cmd.Context(), list[0]) },
	}))
	return noun("dlq", "Work with dead letters", ls, show, c.replayCommand(), c.dropCommand())
}

func (c *cli) listDeadLetters(ctx context.Context, f *letterFlags, limit int, grouped bool) error {
	if err := notNegative("--limit", limit); err != nil {
		return usage(err)
	}
	filter, begin, err := f.filter(nil)
	if err != nil {
		return err
	}
	return c.search(ctx, func(ctx context.Context, client *fleet.Client) error {
		job, err := client.JobID(ctx, filter.Job)
		if err != nil {
			return err
		}
		q := fleet.LetterQuery{Code: filter.Code, Kind: filter.Kind, Receiver: filter.Receiver, Job: job, Since: begin(c.now()), Limit: limit}
		if grouped {
			q.Limit = 0 // Every letter counts.
		}
		found, err := client.DeadLetters(ctx, q)
		if err != nil {
			return err
		}
		c.tellAge(found.Lag)
		if grouped {
			return c.printCauses(fleet.Causes(found.Letters), limit)
		}
		if found.More {
			c.tell("There are more dead letters: --limit shows more at once, 0 all.")
		}
		return c.printDeadLetters(found.Letters)
	})
}

// printCauses prints the largest groups of dead letters, and on standard error whether there are more.
func (c *cli) printCauses(causes []fleet.Cause, limit int) error {
	if limit > 0 && len(causes) > limit {
		causes = causes[:limit]
		c.tell("There are more groups: --limit shows more at once, 0 all.")
	}
	return printList(c, causes, "No dead letters.", func(t *terminal.Table) { show.Causes(t, causes) })
}

func (c *cli) showDeadLetter(ctx context.Context, text string) error {
	number, err := strconv.ParseUint(text, 10, 64)
	if err != nil || number == 0 {
		return usagef("N must be a number from 'worker dlq ls'")
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
	return printList(c, list, "No dead letters.", func(t *terminal.Table) { show.DeadLetters(t, list) })
}

// mostPayload is how many bytes of a dead letter's message a terminal gets.
const mostPayload = 4 << 10

func (c *cli) printDeadLetter(d bus.DeadLetter) error {
	most := 0
	if c.output == terminal.FormTable && terminal.IsTerminal(c.stdout) {
		most = mostPayload
	}
	return c.print(d, func(t *terminal.Table) { show.DeadLetter(t, &d, most) })
}
