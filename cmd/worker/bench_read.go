package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"rekey/internal/bench"
)

func (c *cli) benchReadCommand() *cobra.Command {
	var cfg bench.ReadConfig
	cmd := c.withOutput(&cobra.Command{
		Use:   "read",
		Short: "Measure how long lists of a large ledger take",
		Long: `Fill the ledger of a worker process with records and measure how long 'job ls' with each filter
and 'dlq ls' take, from the start of the command to its end: medians of --runs, and the worst.`,
		Example: "  worker bench read\n  worker bench read --records 1000000 --runs 3",
		Args:    want(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if cfg.Binary, cfg.Progress, err = c.measured(); err != nil {
				return err
			}
			rows, err := bench.Read(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			return c.print(rows, func(t *tabwriter.Writer) {
				row(t, "COMMAND", "FOUND", "MS", "WORST MS")
				for _, r := range rows {
					row(t, r.Command, r.Found, fmt.Sprintf("%.0f", r.MS), fmt.Sprintf("%.0f", r.WorstMS))
				}
			})
		},
	})
	cmd.Flags().StringVar(&cfg.Server, "server", "", "`URL` of an external NATS server (default: embedded)")
	cmd.Flags().IntVar(&cfg.Records, "records", 100_000, "`N` records, and a tenth of it dead letters")
	cmd.Flags().IntVar(&cfg.Runs, "runs", 5, "`N` times for each list")
	return cmd
}
