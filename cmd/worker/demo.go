package main

import (
	"context"

	"github.com/spf13/cobra"

	"rekey/internal/demo"
	"rekey/internal/terminal"
)

func (c *cli) demoCommand() *cobra.Command {
	var keep, verbose bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole way from an event to a dead credential, on this machine only",
		Long: `Run a worker with an embedded NATS server in a temporary folder against a stand-in for the
Atlas API, publish real events, let a real schedule fire, and show what came of it. Nothing
outside of this machine is contacted. It ends by itself; with --keep it goes on until it is
interrupted, so that you can look around.`,
		Example: "  worker demo\n  worker demo --keep",
		Args:    want(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.demo(cmd.Context(), keep, verbose) },
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "go on until interrupted")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show the worker's log on standard error")
	return cmd
}

func (c *cli) demo(ctx context.Context, keep, verbose bool) error {
	release, revision := buildVersion()
	return demo.Run(ctx, demo.Config{
		Out: c.stdout, Width: c.width(c.stdout), Table: func() *terminal.Table { return c.table(c.stdout) }, Logger: c.logger,
		Version: release, Revision: revision, LookupEnv: c.lookupEnv, Keep: keep, Verbose: verbose,
	})
}
