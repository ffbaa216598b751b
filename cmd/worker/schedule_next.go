package main

import (
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"rekey/internal/schedule"
)

func (c *cli) scheduleNextCommand() *cobra.Command {
	var n int
	cmd := c.withOutput(c.withConfig(&cobra.Command{
		Use:   "next NAME",
		Short: "Show the next ticks of a schedule",
		Long: `Show the next ticks of a schedule on its own clock, when they are due with jitter, and which
of them fall into a window of not_during: they are skipped, or due at its end. No server is asked,
so that a pause or an unfinished job does not count.`,
		Example: "  worker schedule next weekly-jwks -n 5 -c configs/worker.yaml",
		Args:    want("NAME"),
		RunE:    func(_ *cobra.Command, list []string) error { return c.nextTicks(list[0], n) },
	}))
	cmd.Flags().IntVarP(&n, "count", "n", 5, "how many ticks (`N`)")
	return cmd
}

// tickRow is one tick as `schedule next -o json` shows it.
type tickRow struct {
	At       time.Time `json:"at"`                 // The nominal time.
	Due      time.Time `json:"due,omitzero"`       // With jitter, or at the end of a window. None: it is skipped.
	Blackout string    `json:"blackout,omitempty"` // The window that skips or moves it.
}

func (c *cli) nextTicks(name string, n int) error {
	if n < 1 || n > 1000 {
		return usagef("-n must be between 1 and 1000")
	}
	_, spec, err := c.findSchedule(name)
	if err != nil {
		return err
	}
	zone, err := time.LoadLocation(spec.Expr.Zone())
	if err != nil {
		return err
	}
	rows := []tickRow{}
	for _, tick := range schedule.Upcoming(spec, time.Now(), n) {
		r := tickRow{At: tick.At.In(zone), Due: tick.Due.In(zone), Blackout: tick.Blackout}
		if tick.Skip {
			r.Due = time.Time{}
		}
		rows = append(rows, r)
	}
	return c.print(rows, func(t *tabwriter.Writer) {
		row(t, "TICK", "DUE WITH JITTER")
		for _, r := range rows {
			due := tickTime(r.Due)
			switch {
			case r.Due.IsZero():
				due = "skipped: " + r.Blackout
			case r.Blackout != "":
				due += ", moved: " + r.Blackout
			}
			row(t, tickTime(r.At), due)
		}
	})
}
