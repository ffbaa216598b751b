package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/show"
	"rekey/internal/terminal"
)

func (c *cli) jobListCommand() *cobra.Command {
	var f listFlags
	cmd := c.withIDs(c.withOutput(c.withServer(&cobra.Command{
		Use:   "ls [WORD]…",
		Short: "List and find jobs, the latest first",
		Long: `List jobs, the one whose event was accepted last first. The filters can be combined. Words find what a
person may have read: reason, requester, detail, target, ids of jobs, events, requests and evidence,
errors; a job has them all. Where no job has them, words that begin like them are looked for. When there are more
jobs than --limit lets through, the command says so and how to go on. Where no worker is connected, or events wait
to be taken in, it says that, too.

With --watch it then prints a line for every job that changes and that the filters choose, and for
one that they do not choose any more, until it is interrupted: when it changed and why. The form json
has a line for each, too.`,
		Example: `  worker job ls --state waiting
  worker job ls --verdict still_alive
  worker job ls --outcome exhausted --since 24h -o json
  worker job ls IR-4711
  worker job ls --since 7d --count hour,outcome
  worker job ls --target 5ec0000000000000000000c1 --watch`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, words []string) error {
			filter, begin, err := f.filter()
			if err != nil {
				return usage(err)
			}
			filter.Q = strings.Join(words, " ")
			if f.count != "" {
				return c.countJobs(cmd.Context(), fleet.SummaryQuery{Query: filter, By: strings.Split(f.count, ",")}, begin)
			}
			if f.watch {
				return c.watchJobs(cmd.Context(), filter, begin)
			}
			return c.listJobs(cmd.Context(), filter, begin)
		},
	})))
	f.register(cmd)
	// The flag exists: it was added in the line above.
	_ = cmd.RegisterFlagCompletionFunc("account", c.completeAccounts())
	return cmd
}

func (c *cli) listJobs(ctx context.Context, filter fleet.Query, begin moment) error {
	return c.search(ctx, func(ctx context.Context, client *fleet.Client) error {
		filter.Since = begin(c.now())
		var err error
		if filter.After, err = client.JobID(ctx, filter.After); err != nil {
			return err
		}
		page, err := client.Jobs(ctx, filter)
		if err != nil {
			return asUsage(err)
		}
		if err := c.printPage(page); err != nil {
			return err
		}
		c.tellFleet(ctx, client)
		return nil
	})
}

// countJobs prints how many jobs there are of each kind that is asked for.
func (c *cli) countJobs(ctx context.Context, q fleet.SummaryQuery, begin moment) error {
	return c.search(ctx, func(ctx context.Context, client *fleet.Client) error {
		q.Since, q.Limit = begin(c.now()), 0
		counted, err := client.Summary(ctx, q)
		if err != nil {
			return asUsage(err)
		}
		c.tellAge(counted.Lag)
		if counted.Partly {
			c.tell("Not all jobs are counted: there are at least so many. --since counts fewer.")
		}
		return printList(c, counted.Groups, "No jobs.", func(t *terminal.Table) { show.Groups(t, q.By, counted.Groups) })
	})
}

// listFlags choose the jobs that `job ls` shows.
type listFlags struct {
	state, kind, outcome, target, event, since string
	verdict, account, by, sort, count          string
	after, lane, policy                        string
	limit                                      int
	watch                                      bool
}

func (f *listFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.state, "state", "", "only jobs in this `STATE`: queued, running, waiting or done")
	flags.StringVar(&f.kind, "kind", "", "only jobs of this `KIND`, as in 'worker job submit --help'")
	flags.StringVar(&f.outcome, "outcome", "", "only jobs with this `OUTCOME`: "+strings.Join(jobs.Names(jobs.Outcomes()), ", "))
	flags.StringVar(&f.verdict, "verdict", "", "only jobs whose proof has this `VERDICT`: "+strings.Join(jobs.Names(jobs.Verdicts()), ", "))
	flags.StringVar(&f.account, "account", "", "only jobs of the account of this `NAME`")
	flags.StringVar(&f.lane, "lane", "", "only jobs of this `LANE`: "+strings.Join(jobs.Names(jobs.Lanes()), ", "))
	flags.StringVar(&f.policy, "policy", "", "only jobs that the policy of this `NAME` asked for")
	flags.StringVar(&f.by, "requested-by", "", "only jobs that this `REQUESTER` asked for, or was said to ask for")
	flags.StringVar(&f.target, "target", "", "only jobs whose target contains this `TEXT`, from the beginning of a word or id")
	flags.StringVar(&f.event, "event", "", "only jobs that the event with this `ID` asked for")
	flags.StringVar(&f.since, "since", "", "only jobs accepted since then: a `TIME` (RFC 3339) or an age like 24h")
	flags.IntVar(&f.limit, "limit", 50, "at most `N` jobs; 0 is all")
	flags.StringVar(&f.after, "after", "", "go on behind this job, the last of an earlier list: its `ID`")
	flags.BoolVarP(&f.watch, "watch", "w", false, "go on with a line for every change, until interrupted")
	flags.StringVar(&f.sort, "sort", "", "the `ORDER`, the latest first: accepted (default), finished or changed; the oldest first with a - before it")
	flags.StringVar(&f.count, "count", "", "count the jobs instead, by these `FIELDS` with commas: hour, kind, lane, state, outcome, verdict")
	complete(cmd, "verdict", jobs.Names(jobs.Verdicts()))
	complete(cmd, "sort", jobs.Names(fleet.Sorts()))
	complete(cmd, "state", jobs.Names(jobs.States()))
	complete(cmd, "kind", jobs.Names(jobs.Kinds()))
	complete(cmd, "outcome", jobs.Names(jobs.Outcomes()))
	complete(cmd, "lane", jobs.Names(jobs.Lanes()))
}

// complete offers the members of a closed set to shell completion.
func complete(cmd *cobra.Command, flag string, set []string) {
	// The only error is that of a flag that does not exist.
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(set, cobra.ShellCompDirectiveNoFileComp))
}

// filter is what the flags choose, but for the moment since which they do.
func (f *listFlags) filter() (fleet.Query, moment, error) {
	filter := fleet.Query{Target: f.target, Event: f.event, Account: f.account, Policy: f.policy, RequestedBy: f.by, After: f.after, Limit: f.limit}
	begin, err := since(f.since)
	if err != nil {
		return filter, nil, err
	}
	if f.watch && f.after != "" {
		return filter, nil, errors.New("--watch begins with the latest jobs; it cannot go with --after")
	}
	if filter.State, err = member("--state", f.state, jobs.States()); err != nil {
		return filter, nil, err
	}
	if filter.Kind, err = member("--kind", f.kind, jobs.Kinds()); err != nil {
		return filter, nil, err
	}
	if filter.Outcome, err = member("--outcome", f.outcome, jobs.Outcomes()); err != nil {
		return filter, nil, err
	}
	if filter.Verdict, err = member("--verdict", f.verdict, jobs.Verdicts()); err != nil {
		return filter, nil, err
	}
	if filter.Lane, err = member("--lane", f.lane, jobs.Lanes()); err != nil {
		return filter, nil, err
	}
	if filter.Sort, err = member("--sort", f.sort, fleet.Sorts()); err != nil {
		return filter, nil, err
	}
	return filter, begin, notNegative("--limit", f.limit)
}

// printPage prints a list, and on standard error, away from it, whether there is more.
func (c *cli) printPage(page fleet.Page) error {
	switch {
	case page.Partly:
		c.tell("Not all jobs were looked at in time: --after %s goes on.", page.Next)
	case page.More:
		c.tell("There are more jobs: --after %s goes on behind these, --limit shows more at once.", page.Next)
	}
	c.tellAge(page.Lag)
	return c.printJobs(page.Records)
}

// asUsage makes an error of usage of a question that is wrong.
func asUsage(err error) error {
	if invalid, ok := errors.AsType[*fleet.InvalidQuery](err); ok {
		return usage(invalid)
	}
	return err
}

// tellAge says on standard error, away from a list, that it is not up to date.
func (c *cli) tellAge(lag uint64) {
	if lag > 0 {
		c.tell("The list is %s behind: the worker that answered is still reading them.", terminal.Plural(int(min(lag, math.MaxInt32)), "change"))
	}
}

// tellFleet says on standard error, away from a list, that no worker is connected and what waits for one. What may not be
// seen is not said.
func (c *cli) tellFleet(ctx context.Context, client *fleet.Client) {
	fleet, err := client.Fleet(ctx)
	if err != nil {
		return
	}
	if line := show.Fleet(fleet); line != "" {
		c.tell("%s", line)
	}
}

// watchJobs prints the jobs that the filter chooses and then a line for every change, until
// ctx ends. That is how a watch is meant to end.
func (c *cli) watchJobs(ctx context.Context, filter fleet.Query, begin moment) error {
	ctx, client, page, err := c.beginWatch(ctx, &filter, begin)
	if err != nil {
		return err
	}
	defer client.Close()
	w := jobWatch{cli: c, filter: filter, shown: map[string]bool{}, table: c.table(c.stdout)}
	w.table.Aligned = true
	if err := w.begin(page.Records); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err = client.FollowJobs(ctx, page.Revision, func(r jobs.PublicRecord) {
		if err := w.changed(r); err != nil { // The reader is gone.
			cancel(err)
		}
	})
	if ctx.Err() != nil { // The operator has seen enough.
		return nil
	}
	return err
}

// beginWatch reads the list, which begins on the clock of the server. It is bounded as every question; what follows is not.
func (c *cli) beginWatch(ctx context.Context, filter *fleet.Query, begin moment) (context.Context, *fleet.Client, fleet.Page, error) {
	ctx, client, err := c.dial(ctx)
	if err != nil {
		return ctx, nil, fleet.Page{}, err
	}
	limited, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	filter.Since = begin(c.now())
	page, err := client.Jobs(limited, *filter)
	if err != nil {
		client.Close()
	}
	return ctx, client, page, unanswered(ctx, limited, err)
}

// jobWatch prints jobs as they change.
type jobWatch struct {
	cli    *cli
	filter fleet.Query
	shown  map[string]bool // Jobs that the reader takes for chosen.
	table  *terminal.Table
}

// begin prints the jobs that there are.
func (w *jobWatch) begin(list []jobs.PublicRecord) error {
	w.table.Head("WHEN", "JOB", "KIND", "TARGET", terminal.Optional("LANE"), terminal.Whole("STATE"), terminal.Optional("ATTEMPTS"), "WHY")
	for _, r := range list {
		if err := w.show(r); err != nil {
			return err
		}
	}
	return w.flush()
}

// changed shows a job that the filter chooses, and once more one that it has chosen before.
func (w *jobWatch) changed(r jobs.PublicRecord) error {
	chosen := w.filter.Chooses(&r)
	if !chosen && !w.shown[r.JobID] {
		return nil
	}
	if err := w.show(r); err != nil {
		return err
	}
	if !chosen {
		delete(w.shown, r.JobID)
	}
	return w.flush()
}

func (w *jobWatch) show(r jobs.PublicRecord) error {
	w.shown[r.JobID] = true
	switch {
	case w.cli.output.IsTable():
		at, why := show.Change(&r)
		state := show.State(r, w.cli.now())
		w.table.Row(terminal.Clock(at, w.cli.now()), terminal.ID(r.JobID), r.Kind, show.ShortTarget(r.Target), r.Lane, state, r.AttemptCount, why)
		return nil
	case w.cli.output == terminal.FormJSON: // A list without an end has a line for each.
		return terminal.Encode(w.cli.stdout, terminal.FormJSONL, r)
	}
	if w.cli.output == terminal.FormYAML {
		fmt.Fprintln(w.cli.stdout, "---")
	}
	return terminal.Encode(w.cli.stdout, w.cli.output, r)
}

// flush writes the rows of the table, which is not there in another form.
func (w *jobWatch) flush() error {
	if !w.cli.output.IsTable() {
		return nil
	}
	return w.table.Flush()
}
