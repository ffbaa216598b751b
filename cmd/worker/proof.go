package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/show"
	"rekey/internal/terminal"
)

// proofFlags choose the proofs that `proof ls` shows.
type proofFlags struct {
	state, kind, target, account, since string
	limit                               int
}

func (c *cli) proofCommand() *cobra.Command {
	var f proofFlags
	ls := c.withIDs(c.withOutput(c.withServer(&cobra.Command{
		Use:   "ls",
		Short: "List the proofs that are not over, and those that went wrong",
		Long: `List the jobs whose target is still alive, or is back; those without a verdict yet; and those whose
target is dead and watched in case it is back. Those that a person must act on come first. Proofs that have
ended are in 'worker job ls --verdict verified', and so on with recorded and accepted.`,
		Example: "  worker proof ls\n  worker proof ls --state watched --since 7d",
		Args:    want(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.listProofs(cmd.Context(), &f) },
	})))
	flags := ls.Flags()
	flags.StringVar(&f.state, "state", "", "only proofs in this `STATE`: "+strings.Join(jobs.Names(fleet.ProofStates()), ", "))
	flags.StringVar(&f.kind, "kind", "", "only jobs of this `KIND`")
	flags.StringVar(&f.target, "target", "", "only jobs whose target contains this `TEXT`, from the beginning of a word or id")
	flags.StringVar(&f.account, "account", "", "only jobs of the account of this `NAME`")
	flags.StringVar(&f.since, "since", "", "only jobs accepted since then: a `TIME` (RFC 3339) or an age like 24h")
	flags.IntVar(&f.limit, "limit", 50, "at most `N` proofs; 0 is all")
	complete(ls, "state", jobs.Names(fleet.ProofStates()))
	complete(ls, "kind", jobs.Names(jobs.Kinds()))
	return noun("proof", "Work with the proofs of what jobs did", ls, c.proofCheckCommand(), c.proofStopCommand())
}

func (c *cli) listProofs(ctx context.Context, f *proofFlags) error {
	states, q, begin, err := f.query()
	if err != nil {
		return usage(err)
	}
	return c.search(ctx, func(ctx context.Context, client *fleet.Client) error {
		q.Since = begin(c.now())
		list, more, err := client.Proofs(ctx, q, states)
		if err != nil {
			return asUsage(err)
		}
		if more {
			c.tell("There are more proofs: --limit shows more at once, 0 all.")
		}
		return printList(c, list, f.none(states), func(t *terminal.Table) { show.Proofs(t, list) })
	})
}

// none says that the flags choose no proof, and where those are that have ended.
func (f *proofFlags) none(states []fleet.ProofState) string {
	among := ""
	if f.kind+f.target+f.account+f.since != "" {
		among = " among those that the filters choose"
	}
	ended := []jobs.Verdict{jobs.VerdictVerified, jobs.VerdictRecorded, jobs.VerdictAccepted}
	return fmt.Sprintf("No proof is %s%s. Those that have ended: 'worker job ls --verdict V', where V is %s.",
		strings.Join(jobs.Names(states), ", "), among, strings.Join(jobs.Names(ended), ", "))
}

// query is what the flags choose, but for the moment since which they do.
func (f *proofFlags) query() ([]fleet.ProofState, fleet.Query, moment, error) {
	q := fleet.Query{Target: f.target, Account: f.account, Limit: f.limit}
	begin, err := since(f.since)
	if err != nil {
		return nil, q, nil, err
	}
	states := fleet.ProofStates()
	state, err := member("--state", f.state, states)
	if err != nil {
		return nil, q, nil, err
	}
	if state != "" {
		states = []fleet.ProofState{state}
	}
	if q.Kind, err = member("--kind", f.kind, jobs.Kinds()); err != nil {
		return nil, q, nil, err
	}
	return states, q, begin, notNegative("--limit", f.limit)
}

func (c *cli) proofCheckCommand() *cobra.Command {
	return c.watchCommand(jobs.ActionCheck, &cobra.Command{
		Use:   "check ID… --reason TEXT",
		Short: "Look at watched targets of jobs at once",
		Long: `Have a worker look at once at a target that is dead and watched, in case it is back. The look has the lowest rank
at the API's rate limit, as the others, and is made later where the limit is used up. Who did it and why is recorded on the
job; 'worker job show ID' has what the look shows. A proof that is pending is looked at often anyway.`,
		Example: "  worker proof check 3f9k2c8w5m1x7q0z4r6t8v2y9a --reason 'Terraform has run'",
	}, (*fleet.Client).CheckNow)
}

func (c *cli) proofStopCommand() *cobra.Command {
	return c.watchCommand(jobs.ActionStop, &cobra.Command{
		Use:   "stop ID… --reason TEXT",
		Short: "End the watch of jobs' targets",
		Long: `End the watch of a target that is dead: it is not looked at any more in case it is back. Who did it and why
is recorded on the job, and the verdict stays. A proof that is pending ends by itself, within proof.within.
A target that is not watched is left alone: exit code 1. Exit code 4 says that it was so for some of them.`,
		Example: "  worker proof stop 3f9k2c8w5m1x7q0z4r6t8v2y9a --reason 'it is to be put back'",
	}, (*fleet.Client).StopWatch)
}

// watchCommand completes a command that changes the watch of targets.
func (c *cli) watchCommand(action jobs.Action, cmd *cobra.Command, do onJob) *cobra.Command {
	cmd = c.jobsCommand(action, cmd, do)
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, list []string) error {
		if cmd.Flag("reason").Value.String() == "" {
			return usagef("--reason is required: it is recorded on the job")
		}
		return run(cmd, list)
	}
	return cmd
}
