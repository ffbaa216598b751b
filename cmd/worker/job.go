package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

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
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			return c.ask(cmd.Context(), func(ctx context.Context, client *app.Client) error {
				record, err := client.Ledger.Find(ctx, list[0])
				if errors.Is(err, jobs.ErrNotFound) {
					return fmt.Errorf("job %s: %w", short(list[0], 64), err)
				}
				if err != nil {
					return err
				}
				return c.printJob(record)
			})
		},
	}))
	return noun("job", "Work with jobs", c.submitCommand(), c.jobListCommand(), show)
}

func (c *cli) jobListCommand() *cobra.Command {
	var f listFlags
	cmd := c.withOutput(c.withServer(&cobra.Command{
		Use:     "ls",
		Short:   "List jobs, the latest first",
		Example: "  worker job ls --state waiting\n  worker job ls --outcome exhausted --since 24h -o json",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := f.filter(time.Now())
			if err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
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
	flags.StringVar(&f.kind, "kind", "", "only jobs of this `KIND`")
	flags.StringVar(&f.outcome, "outcome", "", "only jobs with this `OUTCOME`")
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
	filter.Since, err = since(f.since, now)
	return filter, err
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
	return "", fmt.Errorf("%s must be one of %v", flag, set)
}

func since(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if age, err := time.ParseDuration(text); err == nil {
		return now.Add(-age), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, errors.New("--since must be an age like 24h or a time like 2026-11-24T03:00:00Z")
	}
	return at, nil
}

func (c *cli) printJobs(list []jobs.Record) error {
	if list == nil {
		list = []jobs.Record{}
	}
	return c.print(list, func(t *tabwriter.Writer) {
		row(t, "JOB", "KIND", "TARGET", "LANE", "STATE", "OUTCOME", "ATTEMPTS", "ACCEPTED", "RETRY AT")
		for _, r := range list {
			row(t, r.JobID, r.Kind, short(r.Target, 48), r.Lane, r.State, r.Outcome, r.AttemptCount, r.AcceptedAt, r.RetryAt)
		}
	})
}

func (c *cli) printJob(r jobs.Record) error {
	return c.print(r, func(t *tabwriter.Writer) {
		row(t, "job", r.JobID)
		row(t, "kind", r.Kind)
		row(t, "target", r.Target)
		row(t, "account", r.Account)
		row(t, "lane", r.Lane)
		row(t, "origin", r.Origin)
		row(t, "reason", r.Reason)
		row(t, "requested by", r.RequestedBy)
		row(t, "state", r.State)
		if r.Done() {
			row(t, "outcome", r.Outcome)
			row(t, "known", r.Known)
			row(t, "detail", r.Detail)
			row(t, "took", r.FinishedAt.Sub(r.AcceptedAt))
		}
		row(t, "accepted", r.AcceptedAt)
		row(t, "retry at", r.RetryAt)
		for _, e := range r.Events {
			row(t, "event", e.Source+" "+e.ID)
		}
		row(t, "attempts", fmt.Sprintf("%d, %d spent", r.AttemptCount, r.AttemptsSpent))
		for _, a := range r.Attempts {
			row(t, fmt.Sprintf("  %d", a.Attempt), attemptLine(a))
		}
	})
}

// attemptLine tells of one attempt.
func attemptLine(a jobs.Attempt) string {
	line := a.StartedAt.Local().Format("15:04:05.000")
	if a.FinishedAt.IsZero() {
		return line + " under way on " + a.Worker
	}
	line += fmt.Sprintf(" %s after %s", a.Reason, took(a.FinishedAt.Sub(a.StartedAt)))
	if a.Status != 0 {
		line += fmt.Sprintf(", HTTP %d", a.Status)
	}
	if a.ErrorCode != "" {
		line += " " + a.ErrorCode
	}
	if !a.RetryAt.IsZero() {
		line += ", next at " + a.RetryAt.Local().Format("15:04:05.000")
	}
	if a.RequestID != "" {
		line += ", request " + a.RequestID
	}
	if a.Error != "" {
		line += ": " + a.Error
	}
	return line
}
