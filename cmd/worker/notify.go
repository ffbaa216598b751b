package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"rekey/internal/fleet"
)

func (c *cli) notifyCommand() *cobra.Command {
	ls := c.withOutput(c.withServer(&cobra.Command{
		Use:   "ls",
		Short: "List the targets of notifications and how they stand",
		Long: `List the targets of the configuration: how many results each has not been told of, until when it
is left alone after a failure, and when it last took something and last failed. What was given
up is among the dead letters: 'worker dlq ls'.`,
		Example: "  worker notify ls -c worker.yaml\n  worker notify ls -c worker.yaml -o json",
		Args:    want(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.listTargets(cmd.Context()) },
	}))
	test := c.withOutput(c.withConfig(&cobra.Command{
		Use:   "test NAME",
		Short: "Send one sample to a target, now and from here",
		Long: `Send one sample, with the target's template and signature, from this machine, and say what was
answered. Nothing is asked of the fleet, and a failure is not repeated. Exit code 1 says that the
target did not take it.`,
		Example: "  worker notify test security-channel -c worker.yaml",
		Args:    want("NAME"),
		RunE:    func(cmd *cobra.Command, list []string) error { return c.tryTarget(cmd.Context(), list[0]) },
	}))
	return noun("notify", "Work with the targets of notifications", ls, test)
}

func (c *cli) listTargets(ctx context.Context) error {
	return c.ask(ctx, func(ctx context.Context, client *fleet.Client) error {
		targets, err := client.Targets(ctx)
		if err != nil {
			return err
		}
		return c.print(targets, func(t *tabwriter.Writer) {
			now := c.now()
			row(t, "NAME", "TYPE", "PENDING", "STATE", "LAST DELIVERY", "LAST FAILURE", "ERROR")
			for _, s := range targets {
				row(t, s.Name, s.Type, s.Pending, targetState(s, now), near(s.DeliveredAt, now), near(s.FailedAt, now), short(s.Error, 60))
			}
		})
	})
}

func targetState(s fleet.TargetStanding, now time.Time) string {
	switch {
	case !s.Served:
		return "not served yet"
	case s.RetryAt.After(now):
		return "waits until " + clock(s.RetryAt, now)
	case s.Failures > 0:
		return "failing"
	}
	return "ok"
}

func (c *cli) tryTarget(ctx context.Context, name string) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	release, _ := buildVersion()
	tried, err := fleet.TryTarget(ctx, cfg, name, release, c.lookupEnv)
	if err != nil {
		return err
	}
	err = c.print(tried, func(t *tabwriter.Writer) {
		field(t, "target", tried.Target)
		field(t, "webhook-id", tried.ID)
		if tried.Status != 0 {
			field(t, "answer", fmt.Sprintf("HTTP %d", tried.Status))
		}
		field(t, "took", time.Duration(tried.DurationMS*float64(time.Millisecond)))
	})
	if err == nil && tried.Error != "" {
		return fmt.Errorf("target %s did not take the sample: %s", tried.Target, tried.Error)
	}
	return err
}
