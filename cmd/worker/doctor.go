package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"rekey/internal/doctor"
	"rekey/internal/terminal"
)

func (c *cli) doctorCommand() *cobra.Command {
	var strict, fresh bool
	cmd := c.withOutput(c.withConfig(&cobra.Command{
		Use:   "doctor -c FILE",
		Short: "Check that a worker would work here, and say what to do where it would not",
		Long: `Look at everything that a worker needs: the configuration, secrets, NATS with its permissions,
streams and limits, ports, each account's token and roles at the API, clocks, Vault and traces.

Nothing is changed: no stream is made, no event published, nothing revoked; it only asks and reads. It
can be run before the first worker and beside running ones, as the user that the worker runs as. The
checks are independent of each other: where NATS is down, the accounts are examined all the same.

✓ is good, ! works but less well than promised, ✗ does not work, – could not be looked at. Exit code 1
says that there is a ✗ (with --strict: or a !).`,
		Example: "  worker doctor -c /etc/rekey/worker.yaml\n  worker doctor -c /etc/rekey/worker.yaml --strict -o json",
		Args:    want(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.configName() == "" {
				return usagef("no configuration is given: -c FILE or $%s", envConfig)
			}
			return c.examine(cmd.Context(), strict, fresh)
		},
	}))
	cmd.Flags().BoolVar(&strict, "strict", false, "warnings fail, too")
	cmd.Flags().BoolVar(&fresh, "fresh", false, "ask for new bearer tokens, although the fleet may share some: only that tries a client secret")
	return cmd
}

// diagnosis is what `doctor -o json` shows.
type diagnosis struct {
	OK       bool             `json:"ok"` // No finding has failed, nor with --strict is one a warning.
	Findings []doctor.Finding `json:"findings"`
}

func (c *cli) examine(ctx context.Context, strict, fresh bool) error {
	release, _ := buildVersion()
	d := doctor.Doctor{File: c.configName(), Version: release, LookupEnv: c.lookupEnv, Fresh: fresh}
	result := diagnosis{Findings: d.Examine(ctx)}
	failed, warned := doctor.Count(result.Findings, doctor.Failed), doctor.Count(result.Findings, doctor.Warning)
	result.OK = failed == 0 && (warned == 0 || !strict)
	if err := c.print(result, func(t *terminal.Table) { diagnosisTable(t, result.Findings) }); err != nil {
		return err
	}
	if !result.OK {
		return errReported
	}
	return nil
}

// meanings say what the statuses mean.
var meanings = map[doctor.Status]terminal.Meaning{doctor.OK: terminal.Good, doctor.Warning: terminal.Worth, doctor.Failed: terminal.Bad}

// diagnosisTable writes one line for each finding, below it what to do, and at the end how many there are of each status.
func diagnosisTable(t *terminal.Table, list []doctor.Finding) {
	t.Head(terminal.Raw(""), "AREA", "WHAT", "FOUND")
	for _, f := range list {
		t.Wrapped(terminal.Meant{Cell: f.Status.Symbol(), Meaning: meanings[f.Status]}, f.Area, f.What, f.Found)
		if f.Do != "" {
			t.Wrapped(terminal.Raw(""), terminal.Raw(""), terminal.Raw(""), "→ "+f.Do)
		}
	}
	var counts []string
	for _, s := range doctor.Statuses() {
		counts = append(counts, fmt.Sprintf("%s %d", s.Symbol(), doctor.Count(list, s)))
	}
	t.Line("\n%s", strings.Join(counts, "   "))
}
