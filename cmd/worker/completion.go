package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"rekey/internal/fleet"
	"rekey/internal/show"
)

// completeTimeout bounds what completion asks the fleet: a person waits for it with a finger on the key.
const completeTimeout = 1500 * time.Millisecond

// completeMost is how many jobs and dead letters completion offers, the latest ones.
const completeMost = 50

// completer is what cobra asks for the values of an argument or a flag.
type completer = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// fromFleet offers what the fleet knows, for the first argument, or for each with several. Where it does not answer in time,
// nothing is offered.
func (c *cli) fromFleet(several bool, find func(context.Context, *fleet.Client) ([]string, error)) completer {
	return func(cmd *cobra.Command, have []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(have) > 0 && !several {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		c.stderr = io.Discard // It would be in the middle of the line that is typed.
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
		defer cancel()
		var found []string
		if err := c.ask(ctx, func(ctx context.Context, client *fleet.Client) (err error) {
			found, err = find(ctx, client)
			return err
		}); err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeJobs offers the ids of the latest jobs.
func (c *cli) completeJobs() completer {
	return c.fromFleet(false, func(ctx context.Context, client *fleet.Client) ([]string, error) {
		page, err := client.Jobs(ctx, fleet.Query{Limit: completeMost})
		var ids []string
		for _, r := range page.Records {
			ids = append(ids, fmt.Sprintf("%s\t%s %s %s", r.JobID, r.Kind, show.ShortTarget(r.Target), show.State(r, c.now()).Cell))
		}
		return ids, err
	})
}

// completeLetters offers the numbers of the latest dead letters.
func (c *cli) completeLetters(several bool) completer {
	return c.fromFleet(several, func(ctx context.Context, client *fleet.Client) ([]string, error) {
		found, err := client.DeadLetters(ctx, fleet.LetterQuery{Limit: completeMost})
		var numbers []string
		for _, d := range found.Letters {
			numbers = append(numbers, strconv.FormatUint(d.Number, 10)+"\t"+d.Code+" "+d.Kind)
		}
		return numbers, err
	})
}

// completeAccounts offers the accounts of the rules that a worker has loaded last.
func (c *cli) completeAccounts() completer {
	return c.fromFleet(true, func(ctx context.Context, client *fleet.Client) ([]string, error) {
		_, rules, err := client.FleetEvaluator(ctx)
		var names []string
		for _, account := range rules.Accounts {
			names = append(names, account.Name)
		}
		return names, err
	})
}

// completeSchedules offers the schedules of the configuration.
func (c *cli) completeSchedules(_ *cobra.Command, have []string, _ string) (names []string, directive cobra.ShellCompDirective) {
	cfg, err := c.config()
	if err != nil || len(have) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, s := range cfg.Schedules {
		names = append(names, fmt.Sprintf("%s\t%s %s", s.Name, s.Cron, s.Job.Kind))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeReceivers offers the receivers of the configuration.
func (c *cli) completeReceivers(_ *cobra.Command, have []string, _ string) (names []string, directive cobra.ShellCompDirective) {
	cfg, err := c.config()
	if err != nil || len(have) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, r := range cfg.Receivers {
		names = append(names, fmt.Sprintf("%s\t%s", r.Name, r.Type))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeContexts offers the user's contexts.
func (c *cli) completeContexts(_ *cobra.Command, _ []string, _ string) (names []string, directive cobra.ShellCompDirective) {
	store, err := c.contexts()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list, err := store.List()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, e := range list {
		names = append(names, fmt.Sprintf("%s\t%s", e.Name, withoutSecret(e.Context.URL)))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
