package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rekey/internal/audit"
	"rekey/internal/fleet"
	"rekey/internal/refused"
	"rekey/internal/terminal"
)

// auditTimeout bounds the reading of all results, of which there may be a million.
const auditTimeout = 10 * time.Minute

func (c *cli) auditCommand() *cobra.Command {
	var format, from string
	export := c.withServer(&cobra.Command{
		Use:   "export",
		Short: "Write results as auditors read them",
		Long: `Write results, the oldest first: who asked and why, by which event, policy, schedule or
operator, what was sent and what the API said, when, and by which worker and version; and the
HTTP requests that were refused. jsonl has the results as they were announced, ocsf events of the class API Activity of the
Open Cybersecurity Schema Framework, and csv a line for each.`,
		Example: "  worker audit export --since 720h --format csv > results.csv\n  worker audit export --format ocsf",
		Args:    want(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.exportResults(cmd.Context(), format, from) },
	})
	export.Flags().StringVar(&format, "format", "jsonl", "`FORMAT`: "+strings.Join(audit.Formats(), ", "))
	export.Flags().StringVar(&from, "since", "", "only results since then: a `TIME` (RFC 3339) or an age like 24h (default: all)")
	verify := c.withOutput(c.withServer(&cobra.Command{
		Use:   "verify",
		Short: "Find results that were changed or taken away",
		Long: `Walk the chains in which each worker ties its results, verdicts and reports of refused requests: each holds the hash of the one
before it, and the latest of each chain is noted apart from them. Exit code 1 when a result
was changed, doubled, or taken out. Each report tells of many refused requests: 'worker audit refusals' counts these.`,
		Example: "  worker audit verify\n  worker audit verify -o json",
		Args:    want(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.verifyResults(cmd.Context()) },
	}))
	return noun("audit", "Export and verify what was done", export, verify, c.refusalsCommand())
}

func (c *cli) refusalsCommand() *cobra.Command {
	var from string
	cmd := c.withOutput(c.withServer(&cobra.Command{
		Use:   "refusals",
		Short: "List HTTP requests that were refused",
		Long: `List the requests to the HTTP API and to doors that were refused, the latest first: where, whose, why, how
often, and from which networks. A worker writes them down a second after the first one, and then once a minute
while they go on; after an hour of that, every 15 minutes. REQUESTS counts requests; 'worker audit verify' counts
those reports.`,
		Example: "  worker audit refusals\n  worker audit refusals --since 24h -o json",
		Args:    want(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.listRefusals(cmd.Context(), from) },
	}))
	cmd.Flags().StringVar(&from, "since", "7d", "only those since then: a `TIME` (RFC 3339) or an age like 24h or 7d")
	return cmd
}

// refusal is one line of the list.
type refusal struct {
	refused.Refusals
	Worker string `json:"worker"`
	Seq    uint64 `json:"seq"` // Of the report in the stream of results.
}

func (c *cli) listRefusals(ctx context.Context, from string) error {
	begin, err := since(from)
	if err != nil {
		return usage(err)
	}
	list := []refusal{}
	err = c.askLong(ctx, func(ctx context.Context, client *fleet.Client) error {
		_, err := client.EachResult(ctx, begin(c.now()), func(r audit.Result) error {
			if !r.Refusals {
				return nil
			}
			report, err := audit.DecodeRefusals(r)
			for _, one := range report.Refusals {
				list = append(list, refusal{one, report.Worker, r.Seq})
			}
			return err
		})
		return err
	})
	if err != nil {
		return err
	}
	slices.Reverse(list)
	return printList(c, list, "No refused requests.", func(t *terminal.Table) {
		t.Head("LAST", terminal.Optional("FIRST"), "REQUESTS", "STATUS", "CODE", "AT", "CLIENT", "FROM")
		for _, one := range list {
			t.Wrapped(one.Last, one.First, one.Count.Count, one.Status, one.Code, audit.At(one.Refusals), one.Client, audit.From(one.Refusals))
		}
	})
}

func (c *cli) exportResults(ctx context.Context, format, from string) error {
	begin, err := since(from)
	if err != nil {
		return usage(err)
	}
	out := bufio.NewWriter(c.stdout)
	exporter, err := audit.NewExporter(format, out)
	if err != nil {
		return usage(fmt.Errorf("--format: %w", err))
	}
	return c.askLong(ctx, func(ctx context.Context, client *fleet.Client) error {
		_, err := client.EachResult(ctx, begin(c.now()), exporter.Write)
		return errors.Join(err, exporter.Flush(), out.Flush())
	})
}

// askLong is ask for what reads a whole stream.
func (c *cli) askLong(ctx context.Context, question func(context.Context, *fleet.Client) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, auditTimeout, fmt.Errorf("reading took longer than %s", auditTimeout))
	defer cancel()
	ctx, client, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	return question(ctx, client)
}

func (c *cli) verifyResults(ctx context.Context) error {
	var report audit.Report
	err := c.askLong(ctx, func(ctx context.Context, client *fleet.Client) error {
		ends, err := client.ChainEnds(ctx) // Before the results: they only grow.
		if err != nil {
			return err
		}
		verifier := audit.NewVerifier()
		keep, err := client.EachResult(ctx, time.Time{}, func(r audit.Result) error { verifier.Add(r); return nil })
		report = verifier.Finish(ends, client.Now(), keep)
		return err
	})
	if err != nil {
		return err
	}
	if err := c.printReport(report); err != nil {
		return err
	}
	if len(report.Problems) > 0 {
		return errReported
	}
	return nil
}

func (c *cli) printReport(report audit.Report) error {
	return c.print(report, func(t *terminal.Table) {
		t.Head("RESULTS", "PROOFS", "REPORTS OF REFUSALS", "CHAINS", "UNTIED", "EXPIRED", "PROBLEMS")
		t.Row(report.Results, report.Proofs, report.Refusals, report.Chains, report.Untied, report.Expired, len(report.Problems))
		for _, p := range report.Problems {
			t.Row(p.Code, p.Chain, p.N, p.Detail)
		}
	})
}
