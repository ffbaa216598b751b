package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"rekey/internal/bench"
)

func (c *cli) benchMemoryCommand() *cobra.Command {
	var cfg bench.MemoryConfig
	cmd := c.withOutput(&cobra.Command{
		Use:   "memory",
		Short: "Measure the memory of a worker with many unfinished jobs",
		Long: `Measure the memory of a worker process, embedded NATS server included, with more and more jobs
that are queued behind a busy API, and with jobs that wait an hour for their next attempt. RSS is
what it has when it has come to rest, PEAK the most that it had while the jobs came in.`,
		Example: "  worker bench memory\n  worker bench memory --jobs 10000,200000 -o json",
		Args:    want(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if cfg.Binary, cfg.Progress, err = c.measured(); err != nil {
				return err
			}
			rows, err := bench.Memory(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			return c.printMemory(rows)
		},
	})
	cmd.Flags().StringVar(&cfg.Server, "server", "", "`URL` of an external NATS server (default: embedded)")
	cmd.Flags().IntSliceVar(&cfg.Jobs, "jobs", []int{10_000, 50_000, 100_000}, "`LIST` of numbers of jobs")
	cmd.Flags().DurationVar(&cfg.Rest, "rest", 30*time.Second, "`TIME` that the worker is left alone before it is measured")
	return cmd
}

func (c *cli) printMemory(rows []bench.MemoryRow) error {
	return c.print(rows, func(t *tabwriter.Writer) {
		row(t, "STATE", "JOBS", "RSS MIB", "PEAK MIB", "BYTES PER JOB")
		for _, r := range rows {
			perJob := none
			if r.Jobs > 0 {
				perJob = fmt.Sprintf("%.0f", r.PerJob)
			}
			row(t, r.State, r.Jobs, fmt.Sprintf("%.0f", r.RSSMiB), fmt.Sprintf("%.0f", r.PeakMiB), perJob)
		}
	})
}
