package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/terminal"
)

func (c *cli) receiverCommand() *cobra.Command {
	ls := c.withIDs(c.withOutput(c.withServer(&cobra.Command{
		Use:   "ls",
		Short: "List the receivers of notifications and their state",
		Long: `List the receivers of the configuration: how many results wait for each, until when the worker
pauses after a failure, and when the last delivery and the last failure were. A notification that
was given up is among the dead letters: 'worker dlq ls'.`,
		Example: "  worker receiver ls -c worker.yaml\n  worker receiver ls -c worker.yaml -o json",
		Args:    want(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.listReceivers(cmd.Context()) },
	})))
	test := c.withOutput(c.withConfig(&cobra.Command{
		Use:               "test NAME",
		ValidArgsFunction: c.completeReceivers,
		Short:             "Send one sample to a receiver, now and from here",
		Long: `Send one sample, with the receiver's template and signature, from this machine, and show the
answer. A pager gets an incident of the lowest urgency and, at once, its end: who is on call may
be paged. The fleet is not asked, and a failure is not retried. Exit code 1 says that the receiver
did not accept it.`,
		Example: "  worker receiver test security-channel -c worker.yaml",
		Args:    want("NAME"),
		RunE:    func(cmd *cobra.Command, list []string) error { return c.testReceiver(cmd.Context(), list[0]) },
	}))
	return noun("receiver", "Work with the receivers of notifications", ls, test)
}

func (c *cli) listReceivers(ctx context.Context) error {
	return c.ask(ctx, func(ctx context.Context, client *fleet.Client) error {
		receivers, err := client.Receivers(ctx)
		if err != nil {
			return err
		}
		return printList(c, receivers, "No receivers.", func(t *terminal.Table) {
			now := c.now()
			t.Head("NAME", terminal.Optional("TYPE"), "PENDING", terminal.Whole("STATE"), "LAST DELIVERY", "LAST FAILURE", "ERROR")
			for _, s := range receivers {
				t.Wrapped(s.Name, s.Type, s.Pending, receiverState(s, now), s.DeliveredAt, s.FailedAt, s.Error)
			}
		})
	})
}

func receiverState(s fleet.ReceiverState, now time.Time) string {
	switch {
	case !s.Served:
		return "not served yet"
	case s.RetryAt.After(now):
		return "waits until " + terminal.Clock(s.RetryAt, now)
	case s.Failures > 0:
		return "failing"
	}
	return "ok"
}

func (c *cli) testReceiver(ctx context.Context, name string) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	release, _ := buildVersion()
	names := make([]string, len(cfg.Receivers))
	for i, r := range cfg.Receivers {
		names[i] = r.Name
	}
	if found, err := fleet.ByPrefix("receiver", name, names); err == nil {
		name = found
	} else if !errors.Is(err, jobs.ErrNotFound) {
		return err
	}
	tried, err := fleet.TestReceiver(ctx, cfg, name, release, c.lookupEnv)
	if errors.Is(err, jobs.ErrNotFound) {
		return fmt.Errorf("%w; %s", err, c.configured(names))
	}
	if err != nil {
		return err
	}
	err = c.print(tried, func(t *terminal.Table) {
		t.Field("receiver", tried.Receiver)
		t.Field("webhook-id", tried.ID)
		if tried.Status != 0 {
			t.Field("answer", tried.Answer())
		}
		t.Field("took", time.Duration(tried.DurationMS*float64(time.Millisecond)))
	})
	if err == nil && tried.Error != "" {
		return fmt.Errorf("receiver %s did not accept the sample: %s", tried.Receiver, tried.Error)
	}
	return err
}
