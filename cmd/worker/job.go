package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"rekey/internal/app"
	"rekey/internal/jobs"
	"rekey/internal/ledger"
)

func (c *cli) jobCommand() *cobra.Command {
	show := c.withOutput(c.withServer(&cobra.Command{
		Use:     "show ID",
		Short:   "Show one job with all its attempts",
		Example: "  worker job show 3f9k2c8w5m1x7q0z4r6t8v2y9a -o json",
		Args:    want("ID"),
		RunE:    func(cmd *cobra.Command, list []string) error { return c.showJob(cmd.Context(), list[0]) },
	}))
	return noun("job", "Work with jobs", c.submitCommand(), c.jobListCommand(), show, c.retryCommand(), c.cancelCommand())
}

func (c *cli) showJob(ctx context.Context, id string) error {
	return c.ask(ctx, func(ctx context.Context, client *app.Client) error {
		record, err := client.Ledger.Find(ctx, id)
		if errors.Is(err, jobs.ErrNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
			return fmt.Errorf("job %s: %w", short(printable(id), 64), jobs.ErrNotFound)
		}
		if err != nil {
			return err
		}
		return c.printJob(record)
	})
}

func (c *cli) jobListCommand() *cobra.Command {
	var f listFlags
	cmd := c.withOutput(c.withServer(&cobra.Command{
		Use:     "ls",
		Short:   "List jobs, the latest first",
		Example: "  worker job ls --state waiting\n  worker job ls --outcome exhausted --since 24h -o json",
		Args:    want(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := f.filter(time.Now())
			if err != nil {
				return usage(err)
			}
			return c.ask(cmd.Context(), func(ctx context.Context, client *app.Client) error {
				list, err := client.Ledger.List(ctx, filter)
				if err != nil {
					return err
				}
				return c.printJobs(list)
			})
		},
	}))
	f.register(cmd)
	return cmd
}

// listFlags choose the jobs that `job ls` shows.
type listFlags struct {
	state, kind, outcome, target, event, since string
	limit                                      int
}

func (f *listFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.state, "state", "", "only jobs in this `STATE`: queued, running, waiting or done")
	flags.StringVar(&f.kind, "kind", "", "only jobs of this `KIND`, as in 'worker job submit --help'")
	flags.StringVar(&f.outcome, "outcome", "", "only jobs with this `OUTCOME`: "+strings.Join(jobs.Names(jobs.Outcomes()), ", "))
	flags.StringVar(&f.target, "target", "", "only jobs whose target contains this `TEXT`")
	flags.StringVar(&f.event, "event", "", "only jobs that the event with this `ID` asked for")
	flags.StringVar(&f.since, "since", "", "only jobs accepted since then: a `TIME` (RFC 3339) or an age like 24h")
	flags.IntVar(&f.limit, "limit", 50, "at most `N` jobs; 0 is all")
	complete(cmd, "state", jobs.Names(jobs.States()))
	complete(cmd, "kind", jobs.Names(jobs.Kinds()))
	complete(cmd, "outcome", jobs.Names(jobs.Outcomes()))
}

// complete offers the members of a closed set to shell completion.
func complete(cmd *cobra.Command, flag string, set []string) {
	// The only error is that of a flag that does not exist.
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(set, cobra.ShellCompDirectiveNoFileComp))
}

func (f *listFlags) filter(now time.Time) (ledger.Filter, error) {
	filter := ledger.Filter{Target: f.target, Event: f.event, Limit: f.limit}
	var err error
	if filter.State, err = member("--state", f.state, jobs.States()); err != nil {
		return filter, err
	}
	if filter.Kind, err = member("--kind", f.kind, jobs.Kinds()); err != nil {
		return filter, err
	}
	if filter.Outcome, err = member("--outcome", f.outcome, jobs.Outcomes()); err != nil {
		return filter, err
	}
	if filter.Since, err = since(f.since, now); err != nil {
		return filter, err
	}
	return filter, notNegative("--limit", f.limit)
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

// since is the moment that a time or an age names, or the zero time for an empty text.
func since(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if age, err := time.ParseDuration(text); err == nil && age >= 0 {
		return now.Add(-age), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, errors.New("--since must be an age like 24h or a time like 2026-11-24T03:00:00Z")
	}
	return at, nil
}
