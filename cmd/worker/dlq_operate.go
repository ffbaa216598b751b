package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"rekey/internal/bus"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/plain"
	"rekey/internal/show"
	"rekey/internal/terminal"
)

// letterFlags choose dead letters.
type letterFlags struct {
	code, kind, receiver, job, since string
	all, yes                         bool
}

func (f *letterFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.code, "code", "", "only those with this `CODE`: refused, exhausted, malformed and so on")
	flags.StringVar(&f.kind, "kind", "", "only those of jobs of this `KIND`")
	flags.StringVar(&f.receiver, "receiver", "", "only those of notifications to the receiver with this `NAME`")
	flags.StringVar(&f.job, "job", "", "only those of the job with this `ID`, or its beginning")
	flags.StringVar(&f.since, "since", "", "only those written since then: a `TIME` (RFC 3339) or an age like 24h")
	complete(cmd, "kind", jobs.Names(jobs.Kinds()))
}

// registerChoice adds the flags of what changes dead letters.
func (f *letterFlags) registerChoice(cmd *cobra.Command) {
	f.register(cmd)
	cmd.Flags().BoolVar(&f.all, "all", false, "all dead letters, as far as the filters choose them")
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do not ask at a terminal")
}

// filter is what numbers and flags choose, but for the moment since which they do.
func (f *letterFlags) filter(numbers []string) (fleet.LetterFilter, moment, error) {
	filter := fleet.LetterFilter{Job: f.job, Code: f.code, Kind: f.kind, Receiver: f.receiver}
	begin, err := since(f.since)
	if err != nil {
		return filter, nil, usage(err)
	}
	if _, err := member("--kind", f.kind, jobs.Kinds()); err != nil {
		return filter, nil, usage(err)
	}
	for _, text := range numbers {
		span, err := fleet.ParseSpan(text)
		if err != nil {
			return filter, nil, usage(err)
		}
		filter.Numbers = append(filter.Numbers, span)
	}
	return filter, begin, nil
}

// check reports, as a usage error, that nothing is chosen.
func (f *letterFlags) check(cmd *cobra.Command, numbers []string) error {
	if len(numbers) == 0 && !f.all && f.code == "" && f.kind == "" && f.receiver == "" && f.job == "" && f.since == "" {
		return usagef("nothing is chosen: N, a range like 3-9, a filter or --all; the form is: %s", cmd.UseLine())
	}
	if len(numbers) > 0 && f.all {
		return usagef("either numbers or --all, not both")
	}
	return nil
}

func (c *cli) replayCommand() *cobra.Command {
	return c.lettersCommand(jobs.ActionReplay, &cobra.Command{
		Use:        "replay N… | --all --reason TEXT",
		SuggestFor: []string{"retry"},
		Short:      "Replay dead letters",
		Long: `Replay dead letters and remove them from the stream: a job is retried, an event is
published once more under its identity, a notification is sent to its receiver again. What has
succeeded meanwhile is not done again.

Numbers, ranges (3-9) and filters choose; they can be combined. At a terminal it shows what is chosen and
asks; --yes is for scripts there. Before anything is done it says which of them would fail the same way:
the rules of the fleet refuse the event as before, the account is gone, or the API refused the same call.
An event that cannot be read, whatever the configuration (it is too large, or no JSON), is not published
again. Exit code 4 says that some could not be replayed, and 1 that none could.`,
		Example: "  worker dlq replay 1 --reason 'account configured'\n  worker dlq replay --code exhausted --since 2h --reason 'Atlas is back'",
	}, func(ctx context.Context, client *fleet.Client, n uint64, op jobs.Operation) (fleet.Replayed, error) {
		return client.Replay(ctx, n, op)
	})
}

func (c *cli) dropCommand() *cobra.Command {
	return c.lettersCommand(jobs.ActionDrop, &cobra.Command{
		Use:   "drop N… | --all --reason TEXT",
		Short: "Delete dead letters",
		Long: `Delete dead letters. Who did it and why remains: on the job, where there is one. Numbers, ranges (3-9) and
filters choose; they can be combined. At a terminal it shows what is chosen and asks; --yes is for scripts there.
Exit code 4 says that some could not be deleted.`,
		Example: "  worker dlq drop 1 4-7 --reason 'test events'\n  worker dlq drop --code malformed --since 1h --reason 'mistyped rule of the SIEM'",
	}, func(ctx context.Context, client *fleet.Client, n uint64, op jobs.Operation) (fleet.Replayed, error) {
		return fleet.Replayed{Number: n, Dropped: true}, client.Drop(ctx, n, op)
	})
}

// onLetter does something to one dead letter.
type onLetter func(context.Context, *fleet.Client, uint64, jobs.Operation) (fleet.Replayed, error)

// lettersCommand completes a command that changes dead letters.
func (c *cli) lettersCommand(action jobs.Action, cmd *cobra.Command, do onLetter) *cobra.Command {
	var f letterFlags
	var op operateFlags
	cmd.Args, cmd.ValidArgsFunction = f.check, c.completeLetters(true)
	cmd.RunE = func(cmd *cobra.Command, list []string) error {
		if op.reason == "" {
			return usagef("--reason is required: it is recorded, and what remains of a dead letter")
		}
		filter, begin, err := f.filter(list)
		if err != nil {
			return err
		}
		ctx, client, err := c.dial(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		filter.Since = begin(c.now())
		chosen, err := c.chooseLetters(ctx, client, filter)
		if err != nil {
			return err
		}
		if err := c.confirmLetters(ctx, client, action, chosen, f.yes); err != nil {
			return err
		}
		return c.changeLetters(ctx, client, chosen, c.operation(action, &op), do)
	}
	f.registerChoice(cmd)
	op.register(cmd)
	return c.withOutput(c.withServer(cmd))
}

// chooseLetters are the dead letters that a filter chooses, the oldest first. A number without a letter is not found.
func (c *cli) chooseLetters(ctx context.Context, client *fleet.Client, f fleet.LetterFilter) ([]bus.DeadLetter, error) {
	limited, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	list, err := client.FindLetters(limited, f)
	if err != nil {
		return nil, unanswered(ctx, limited, client.Explain(err))
	}
	slices.Reverse(list)
	among := ""
	if f.Code+f.Kind+f.Receiver+f.Job != "" || !f.Since.IsZero() {
		among = " among those that the filters choose"
	}
	for _, span := range f.Numbers {
		known := func(d bus.DeadLetter) bool { return d.Number >= span.From && d.Number <= span.To }
		if span.From == span.To && !slices.ContainsFunc(list, known) {
			return nil, fmt.Errorf("dead letter %d: %w%s; nothing is changed", span.From, jobs.ErrNotFound, among)
		}
	}
	return list, nil
}

// confirmLetters says which replays would fail the same way, and asks at a terminal whether what is chosen is meant.
func (c *cli) confirmLetters(ctx context.Context, client *fleet.Client, action jobs.Action, list []bus.DeadLetter, yes bool) error {
	if action == jobs.ActionReplay {
		if err := c.foresee(ctx, client, list); err != nil {
			return err
		}
	}
	if yes || len(list) == 0 || !terminal.IsTerminal(c.stdin) || !terminal.IsTerminal(c.stderr) {
		return nil
	}
	t := c.table(c.stderr)
	show.Causes(t, fleet.Causes(list))
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(c.stderr, "%s %s: is this meant? yes or no: ", action, terminal.Plural(len(list), "dead letter"))
	return terminal.Confirm(ctx, c.stdin)
}

// foreseen is of how many dead letters it is asked whether a replay would fail.
const foreseen = 100

func (c *cli) foresee(ctx context.Context, client *fleet.Client, list []bus.DeadLetter) error {
	limited, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	foresight, err := client.Foresee(limited)
	if err != nil {
		return unanswered(ctx, limited, err)
	}
	for _, letter := range list[:min(foreseen, len(list))] {
		why, err := foresight.Same(limited, letter.Number)
		if err != nil {
			return unanswered(ctx, limited, err)
		}
		if why != "" {
			c.tell("dead letter %d would fail the same way: %s", letter.Number, plain.Line(why))
		}
	}
	return nil
}

// changeLetters does something to dead letters, one after the other.
func (c *cli) changeLetters(ctx context.Context, client *fleet.Client, list []bus.DeadLetter, op jobs.Operation, do onLetter) error {
	results := []fleet.Replayed{}
	var failed []error
	for _, letter := range list {
		limited, cancel := context.WithTimeout(ctx, askTimeout)
		result, err := do(limited, client, letter.Number, op)
		err = unanswered(ctx, limited, err)
		cancel()
		if err != nil {
			failed = append(failed, err)
			result.Error = err.Error()
		}
		if results = append(results, result); ctx.Err() != nil {
			break
		}
	}
	if err := c.print(results, func(t *terminal.Table) { show.Replayed(t, results) }); err != nil {
		return err
	}
	if len(list) == 0 {
		c.tell("No dead letter is chosen: nothing is changed.")
	}
	err := errors.Join(failed...)
	switch left := len(list) - len(results); {
	case left > 0:
		return &partlyError{errors.Join(err, fmt.Errorf("interrupted: %s left as before", terminal.Plural(left, "dead letter")))}
	case len(failed) > 0 && len(failed) < len(results):
		return &partlyError{err}
	}
	return err
}
