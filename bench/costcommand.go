package main

import (
	"maps"
	"slices"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func (b *bench) costCommand() *cobra.Command {
	var cfg CostConfig
	cmd := &cobra.Command{
		Use:   "cost",
		Short: "Count what one job costs",
		Long: `Count what one job costs a worker and an external NATS server that syncs every write: processor time of both, the
worker's allocations, what the streams store (each is a synced write), and what the worker sends, by kind. FLOOD is for
jobs whose events come all at once, ALONE for jobs that come one by one. Nothing is proven: a job is one call. The counts are
the same on a busy machine, and processor times nearly: compare medians of several runs of two workers in turns.`,
		Example: "  bench cost\n  bench cost --runs 5 -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Binary, cfg.Progress = b.worker, b.progress
			costs, err := MeasureCosts(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			return b.printCosts(costs)
		},
	}
	cmd.Flags().IntVar(&cfg.Jobs, "jobs", 2000, "`N` jobs at once")
	cmd.Flags().IntVar(&cfg.Singles, "singles", 300, "`N` jobs one by one")
	cmd.Flags().IntVar(&cfg.Runs, "runs", 1, "`N` runs, to print the medians of")
	cmd.Flags().IntVar(&cfg.Concurrency, "concurrency", 16, "`N` jobs at once in the worker")
	return cmd
}

func (b *bench) printCosts(costs Costs) error {
	return b.print(costs, func(t *tabwriter.Writer) {
		f, a := costs.Flood, costs.Alone
		line := func(what string, flood, alone float64) {
			row(t, what, strconv.FormatFloat(flood, 'f', 2, 64), strconv.FormatFloat(alone, 'f', 2, 64))
		}
		each := func(flood, alone map[string]float64) {
			both := maps.Clone(flood)
			maps.Copy(both, alone)
			for _, key := range slices.Sorted(maps.Keys(both)) {
				if flood[key] >= 0.005 || alone[key] >= 0.005 {
					line("  "+key, flood[key], alone[key])
				}
			}
		}
		row(t, "A JOB", "FLOOD", "ALONE")
		line("CPU ms, worker", f.WorkerCPU, a.WorkerCPU)
		line("CPU ms, server", f.ServerCPU, a.ServerCPU)
		line("allocations", f.Allocs, a.Allocs)
		line("allocated KiB", f.AllocKiB, a.AllocKiB)
		line("stored", f.Stored, a.Stored)
		each(f.Streams, a.Streams)
		line("round trips", f.RoundTrips, a.RoundTrips)
		line("sent", f.Sent, a.Sent)
		each(f.Messages, a.Messages)
	})
}

// serveCommand is the server of a measurement.
func (b *bench) serveCommand() *cobra.Command {
	return &cobra.Command{
		Use: serveCommand + " STORE", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return serve(cmd.InOrStdin(), b.stdout, args[0]) },
	}
}
