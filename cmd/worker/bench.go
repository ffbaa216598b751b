package main

import (
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"rekey/internal/bench"
)

func (c *cli) benchCommand() *cobra.Command {
	var cfg bench.Config
	cmd := c.withOutput(&cobra.Command{
		Use:   "bench",
		Short: "Measure throughput and latency on this machine",
		Long: `Measure a worker process against the floor, a bare consumer that makes the same call and
acknowledges with confirmation, on the same NATS with the same durability, in the same run.
The API is a stand-in on this machine that answers at once.

JOBS/S is how fast queued jobs (of the floor: queued messages) are done, EVENTS/S how fast
published events get their results, and SHARE is Rekey's jobs to the floor's. Latencies are
from before the publication until the call comes in; those of urgent jobs are taken while a
backlog of bulk jobs keeps all slots busy with calls of 50 ms. Figures of a shared machine
are noisy: use --runs 5, and read medians and ratios.`,
		Example: "  worker bench\n  worker bench --server nats://127.0.0.1:4222 --concurrency 16 --jobs 10000",
		Args:    want(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if cfg.Binary, cfg.Progress, err = c.measured(); err != nil {
				return err
			}
			rows, err := bench.Run(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			return c.printBench(rows)
		},
	})
	cmd.Flags().StringVar(&cfg.Server, "server", "", "`URL` of an external NATS server (default: embedded)")
	cmd.Flags().IntVar(&cfg.Jobs, "jobs", 3000, "`N` jobs for each throughput")
	cmd.Flags().IntVar(&cfg.Singles, "singles", 300, "`N` events for each latency")
	cmd.Flags().IntVar(&cfg.Backlog, "backlog", 0, "`N` bulk jobs that urgent ones overtake (default: as --jobs)")
	cmd.Flags().IntVar(&cfg.Runs, "runs", 1, "`N` runs, to print the medians of")
	cmd.Flags().IntSliceVar(&cfg.Concurrency, "concurrency", []int{1, 16, 64}, "`LIST` of jobs at once")
	cmd.AddCommand(c.benchMemoryCommand(), c.benchReadCommand(), c.benchPaceCommand())
	return cmd
}

// measured is what every measurement needs: the worker's own binary, and who hears of its progress.
func (c *cli) measured() (binary string, progress func(string), err error) {
	if binary, err = os.Executable(); err != nil {
		return "", nil, fmt.Errorf("finding the worker's own binary: %w", err)
	}
	return binary, func(line string) { fmt.Fprintln(c.stderr, line) }, nil
}

func (c *cli) printBench(rows []bench.Row) error {
	return c.print(rows, func(t *tabwriter.Writer) {
		row(t, "CONCURRENCY", "FLOOR JOBS/S", "REKEY JOBS/S", "SHARE", "EVENTS/S", "FLOOR P50/P99 MS", "REKEY P50/P99 MS", "URGENT P50/P99 MS", "RSS MIB")
		for _, r := range rows {
			row(t, r.Concurrency, fmt.Sprintf("%.0f", r.FloorPerSecond), fmt.Sprintf("%.0f", r.RekeyPerSecond),
				fmt.Sprintf("%.0f %%", 100*r.Share), fmt.Sprintf("%.0f", r.EventsPerSecond),
				fmt.Sprintf("%.2f / %.2f", r.FloorP50, r.FloorP99),
				fmt.Sprintf("%.2f / %.2f", r.RekeyP50, r.RekeyP99), fmt.Sprintf("%.1f / %.1f", r.UrgentP50, r.UrgentP99),
				fmt.Sprintf("%.0f", r.RSSMiB))
		}
	})
}
