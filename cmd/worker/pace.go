package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"rekey/internal/fleet"
	"rekey/internal/pace"
	"rekey/internal/show"
	"rekey/internal/terminal"
)

func (c *cli) paceCommand() *cobra.Command {
	ls := c.withIDs(c.withOutput(c.withServer(&cobra.Command{
		Use:   "ls",
		Short: "List the API's rate buckets and how many jobs have a turn",
		Long: `List the rate buckets of the API that the fleet has used within the last day: what is known of
each and from where (config, rate_limits, answer, default), how many calls it would take now,
until when the API wants none, about how many jobs have a planned turn, and when the last of
them will have it at this rate. A job that the API has refused waits for its own retry and has no
planned turn: worker job ls --state waiting lists it. docs/pacing.md tells how jobs are paced.`,
		Example: "  worker pace ls\n  worker pace ls -o json",
		Args:    want(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.listBuckets(cmd.Context()) },
	})))
	return noun("pace", "Work with the API's rate limits", ls)
}

func (c *cli) listBuckets(ctx context.Context) error {
	return c.ask(ctx, func(ctx context.Context, client *fleet.Client) error {
		buckets, err := client.Buckets(ctx)
		if err != nil {
			return err
		}
		return c.printBuckets(buckets)
	})
}

func (c *cli) printBuckets(buckets []fleet.Bucket) error {
	return printList(c, buckets, "No rate buckets.", func(t *terminal.Table) {
		t.Head("BUCKET", "LIMIT", terminal.Optional("KNOWN FROM"), "TOKENS", "OPENS", "PLANNED", "LAST TURN")
		for _, b := range buckets {
			t.Row(terminal.Shortened{Full: b.Bucket, Short: show.ShortTarget(b.Bucket)}, bucketLimit(b), b.Source, bucketTokens(b), terminal.Meant{Cell: b.PausedUntil, Meaning: terminal.Worth}, b.Planned, b.LastTurnAt)
		}
	})
}

func bucketLimit(b fleet.Bucket) string {
	return pace.Limit{Capacity: b.Capacity, Refill: b.Refill, Every: time.Duration(b.EveryMS * float64(time.Millisecond))}.String()
}

func bucketTokens(b fleet.Bucket) string {
	if b.Capacity == 0 {
		return terminal.None
	}
	return fmt.Sprint(b.Tokens)
}
