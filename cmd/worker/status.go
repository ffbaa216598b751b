package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"rekey/internal/backoff"
	"rekey/internal/fleet"
	"rekey/internal/show"
	"rekey/internal/terminal"
)

// statusEvery is how often `status --watch` looks.
const statusEvery = 2 * time.Second

func (c *cli) statusCommand() *cobra.Command {
	var watch bool
	cmd := c.withOutput(c.withServer(&cobra.Command{
		Use:   "status",
		Short: "Show on one screen how the fleet is, and what a person must do",
		Long: `Show on one screen how the fleet is: workers and whether they are ready, events that are not settled, jobs without an
outcome by lane and state, the oldest urgent one, proofs that are pending, credentials that are still alive, how long
it took in the last 24 hours from an event to a dead credential and to its proof, dead letters by cause, paused rate
buckets, when the secrets of the workers' own accounts end and the certificates that they watch, and of the
configuration the schedules that are late and the receivers that fail. What cannot be read is called not known.

Exit code 1 says that a person must act, or look at what a line WARN says; exit code 0 that nothing is known that is to be
done. The lines ACT say who must (the responder deals with incidents, the operator runs the workers), and what to do; those
about workers that are not ready, as their /readyz says, come first. A line WARN is about credentials that a look has seen
to work while their proof is pending: the API may lag, and the line goes when a later look sees them dead.`,
		Example: "  worker status\n  worker status --watch\n  worker status -o json",
		Args:    want(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watch {
				return c.unreached(c.watchStatus(cmd.Context()))
			}
			return c.unreached(c.search(cmd.Context(), func(ctx context.Context, client *fleet.Client) error {
				s := client.Status(ctx)
				if err := c.printStatus(&s); err != nil {
					return err
				}
				if !s.OK {
					return errReported
				}
				return nil
			}))
		},
	}))
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "look again every 2 s, until interrupted")
	return cmd
}

// unreached shows the status of a fleet whose NATS was not reached in place of the error that says so.
func (c *cli) unreached(err error) error {
	why, ok := errors.AsType[*fleet.UnreachableError](err)
	if !ok {
		return err
	}
	s := fleet.Unreached(c.now(), why)
	return cmp.Or(c.printStatus(&s), errReported)
}

func (c *cli) printStatus(s *fleet.Status) error {
	return c.print(s, func(t *terminal.Table) { show.Status(t, s) })
}

// watchStatus shows the status again and again, at a terminal in the place of the one before. Programs get a line for each.
func (c *cli) watchStatus(ctx context.Context) error {
	ctx, client, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	if c.output == terminal.FormJSON {
		c.output = terminal.FormJSONL
	}
	for {
		limited, cancel := context.WithTimeout(ctx, askTimeout)
		s := client.Status(limited)
		cancel()
		if ctx.Err() != nil { // The operator has seen enough.
			return c.forbidden(nil)
		}
		if c.output.IsTable() && terminal.IsTerminal(c.stdout) {
			fmt.Fprint(c.stdout, terminal.Clear)
		}
		if c.output.IsTable() {
			fmt.Fprintln(c.stdout, terminal.Text(s.At))
		}
		if err := c.printStatus(&s); err != nil {
			return err
		}
		if backoff.Sleep(ctx, statusEvery) != nil {
			return c.forbidden(nil)
		}
	}
}
