package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"rekey/internal/bench"
)

func (c *cli) benchPaceCommand() *cobra.Command {
	var cfg bench.PaceConfig
	cmd := c.withOutput(&cobra.Command{
		Use:   "pace",
		Short: "Measure how rate limits are kept on this machine",
		Long: `Empty a list of jobs against a stand-in API with an exact bucket of 20 calls, then 50 a second,
with fleets of workers on a NATS server that syncs every write: with the bucket known, with
nothing known, and with an API that closes it now and then. In the same run, the plain way
(each job backs off on its own and obeys Retry-After) and hashicorp/go-retryablehttp do the
same list under the same concurrency.

RATIO is the time from the first to the last call to what the bucket allows at best, EARLY
counts calls before an announced Retry-After, LATE is the time from its end to the next call,
REDELIVERIES are the times that a job was sent away, and KV/JOB counts writes and reads of the
buckets' shared state. Figures of a shared machine are noisy: use --runs 5.`,
		Example: "  worker bench pace --jobs 500\n  worker bench pace --jobs 10000 --workers 1 --alone\n  worker bench pace --runs 5 -o json",
		Args:    want(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if cfg.Binary, cfg.Progress, err = c.measured(); err != nil {
				return err
			}
			rows, err := bench.RunPace(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			return c.printBenchPace(rows)
		},
	})
	cmd.Flags().IntVar(&cfg.Jobs, "jobs", 2000, "`N` jobs in each list")
	cmd.Flags().IntSliceVar(&cfg.Workers, "workers", []int{1, 4}, "`LIST` of workers in a fleet")
	cmd.Flags().IntVar(&cfg.Concurrency, "concurrency", 16, "`N` jobs at once in each worker")
	cmd.Flags().IntVar(&cfg.Runs, "runs", 1, "`N` runs, to print the medians of")
	cmd.Flags().BoolVar(&cfg.Alone, "alone", false, "leave out the ways that Rekey is compared with")
	return cmd
}

func (c *cli) printBenchPace(rows []bench.PaceRow) error {
	return c.print(rows, func(t *tabwriter.Writer) {
		row(t, "WAY", "WORKERS", "RATIO", "429S", "EARLY", "LATE P99 MS", "REDELIVERIES P50/P99", "KV/JOB")
		for _, r := range rows {
			ratio, late := none, none
			if r.Ratio > 0 {
				ratio = fmt.Sprintf("%.3f", r.Ratio)
			}
			if r.LateP99 >= 0 {
				late = fmt.Sprintf("%.1f", r.LateP99)
			}
			row(t, r.Way, r.Workers, ratio, fmt.Sprintf("%.0f", r.Refused), fmt.Sprintf("%.0f", r.Early), late,
				fmt.Sprintf("%.0f / %.0f", r.RedeliveriesP50, r.RedeliveriesP99), fmt.Sprintf("%.2f", r.KVPerJob))
		}
	})
}
