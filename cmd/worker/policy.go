package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rekey/internal/config"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/plain"
	"rekey/internal/policy"
	"rekey/internal/show"
	"rekey/internal/terminal"
	"rekey/internal/wire"
)

// sampleFlags say how the events of files would have come.
type sampleFlags struct {
	class, at, expect string
	headers           []string
}

func (f *sampleFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.class, "class", jobs.ClassIncident, "`CLASS` of the events: the last part of their subject")
	cmd.Flags().StringVar(&f.at, "at", "", "`TIME` (RFC 3339) at which the events come in (default: now)")
	cmd.Flags().StringArrayVar(&f.headers, "header", nil, "`'NAME: VALUE'` of the messages, as policies see it; may be given several times")
	cmd.Flags().StringVar(&f.expect, "expect", "", "`FILE` with the output of an earlier '-o json'; exit 1 when anything differs")
}

func (c *cli) policyCommand() *cobra.Command {
	var f sampleFlags
	test := c.withOutput(c.withConfig(&cobra.Command{
		Use:   "test -c FILE EVENT.json…",
		Short: "Show what a configuration makes of events in files",
		Long: `Show what a configuration makes of events: which policies match, why the others do not, and
the jobs with their parameters (secrets as fingerprints). Nothing is contacted. The limits per
hour, which depend on what was before, are left out. The cost is what the event takes of the steps that
it may cost each policy; it is not compared. Exit 1 says that an event has a problem, or
with --expect that anything differs.`,
		Example: `  worker policy test -c worker.yaml alert.json
  worker policy test -c worker.yaml alerts/*.json -o json > expected.json
  worker policy test -c worker.yaml alerts/*.json --expect expected.json`,
		Args: wantFirst("EVENT.json"),
		RunE: func(cmd *cobra.Command, files []string) error {
			if c.configName() == "" {
				return usagef("no configuration is given: -c FILE or $%s", envConfig)
			}
			cfg, err := c.config()
			if err != nil {
				return err
			}
			evaluator, err := wire.NewEvaluator(cfg)
			if err != nil {
				return err
			}
			return c.evaluate(cmd.Context(), evaluator, files, f)
		},
	}))
	f.register(test)
	return noun("policy", "Work with policies", test, c.backtestCommand())
}

func (c *cli) planCommand() *cobra.Command {
	var f sampleFlags
	plan := c.withOutput(c.withServer(&cobra.Command{
		Use:   "plan EVENT.json…",
		Short: "Show what the running fleet would make of events in files",
		Long: `Show what the running fleet would make of events, as 'worker policy test' does for a configuration
file: by the policies and limits that a worker has loaded last. The events stay here, and no job is
made. The limits per hour are left out.`,
		Example: "  worker plan alert.json\n  worker plan alert.json --class rotation -o json",
		Args:    wantFirst("EVENT.json"),
		RunE: func(cmd *cobra.Command, files []string) error {
			return c.ask(cmd.Context(), func(ctx context.Context, client *fleet.Client) error {
				evaluator, rules, err := client.FleetEvaluator(ctx)
				if err != nil {
					return err
				}
				c.tell("by the rules that %s loaded at %s", plain.Line(rules.Worker), terminal.Text(rules.LoadedAt))
				return c.evaluate(ctx, evaluator, files, f)
			})
		},
	}))
	f.register(plan)
	return plan
}

func (c *cli) backtestCommand() *cobra.Command {
	var from, against string
	cmd := c.withOutput(c.withServer(&cobra.Command{
		Use:   "backtest -c FILE --since AGE",
		Short: "Show which stored events a changed configuration would decide differently",
		Long: `Judge the events that the stream still keeps twice: by the running fleet's rules (or those of a file,
with --against), and by the changed configuration of -c. Only the decisions that differ are shown:
"-" is before, "+" is after. No job is made. Events that held secrets are erased once their jobs
are stored, and cannot be judged again.`,
		Example: "  worker policy backtest -c changed.yaml --since 30d\n  worker policy backtest -c changed.yaml --against worker.yaml --since 24h -o json",
		Args:    want(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.configName() == "" {
				return usagef("no configuration is given: -c FILE or $%s", envConfig)
			}
			begin, err := since(from)
			if err != nil {
				return usage(err)
			}
			return c.backtest(cmd.Context(), begin, against)
		},
	}))
	cmd.Flags().StringVar(&from, "since", "30d", "only events since then: a `TIME` (RFC 3339) or an age like 24h or 30d")
	cmd.Flags().StringVar(&against, "against", "", "configuration `FILE` to compare with (default: the running fleet's rules)")
	return cmd
}

// backtested is what `policy backtest -o json` shows.
type backtested struct {
	Events  int             `json:"events"`
	Changed []fleet.Changed `json:"changed"`
}

func (c *cli) backtest(ctx context.Context, begin moment, against string) error {
	after, err := c.evaluatorOf(c.configName())
	if err != nil {
		return err
	}
	ctx, client, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	var before *wire.Evaluator
	if against != "" {
		before, err = c.evaluatorOf(against)
	} else {
		before, _, err = client.FleetEvaluator(ctx)
	}
	if err != nil {
		return err
	}
	result := backtested{Changed: []fleet.Changed{}}
	result.Events, err = client.Backtest(ctx, begin(c.now()), before, after, func(one fleet.Changed) { result.Changed = append(result.Changed, one) })
	if err != nil {
		return err
	}
	return c.print(result, func(t *terminal.Table) {
		for _, one := range result.Changed {
			t.Line("event %d of %s on %s:", one.Seq, terminal.Text(one.At), plain.Line(one.Subject))
			for _, line := range terminal.Difference(shownLines(one.Before), shownLines(one.After)) {
				t.Line("%s", "  "+line)
			}
		}
		t.Line("%s, %d decided differently", terminal.Plural(result.Events, "event"), len(result.Changed))
	})
}

// evaluatorOf is the Evaluator of a configuration file.
func (c *cli) evaluatorOf(file string) (*wire.Evaluator, error) {
	cfg, err := config.Load(file)
	if err != nil {
		return nil, err
	}
	return wire.NewEvaluator(cfg)
}

// shownLines are the decisions about one event, one to a line.
func shownLines(j wire.Evaluation) []string {
	lines := []string{string(j.Result)}
	for _, p := range j.Policies {
		lines = append(lines, "policy "+p.Policy+" matches")
	}
	for _, job := range j.Jobs {
		line := fmt.Sprintf("%s of %s with account %s in lane %s", job.Kind, job.Target, job.Account, job.Lane)
		if job.DryRun {
			line += ", dry run"
		}
		if job.Reason != "" {
			line += ": " + job.Reason
		}
		lines = append(lines, plain.Line(line))
	}
	for _, problem := range j.Problems {
		lines = append(lines, "dead letter: "+plain.Line(problem))
	}
	return lines
}

// evaluate shows what becomes of the events in files.
func (c *cli) evaluate(ctx context.Context, evaluator *wire.Evaluator, files []string, f sampleFlags) error {
	at := time.Now().UTC()
	if f.at != "" {
		var err error
		if at, err = time.Parse(time.RFC3339, f.at); err != nil {
			return usagef("--at must be a time like 2026-11-24T03:00:00Z")
		}
	}
	given := map[string]string{}
	if err := eachHeader(f.headers, func(name, value string) { given[name] = value }); err != nil {
		return err
	}
	judgements := []wire.Evaluation{}
	for _, file := range files {
		data, err := c.read(file)
		if err != nil {
			return err
		}
		judgements = append(judgements, evaluator.Sample(ctx, wire.Sample{Name: filepath.Base(file), Class: f.class, Data: data, Headers: given, At: at}))
	}
	if f.expect != "" {
		return c.compare(judgements, f.expect)
	}
	if err := c.print(judgements, func(t *terminal.Table) {
		for _, j := range judgements {
			tableOf(t, j)
		}
	}); err != nil {
		return err
	}
	for _, j := range judgements {
		if len(j.Problems) > 0 {
			return errReported
		}
	}
	return nil
}

// tableOf shows what becomes of one event.
func tableOf(t *terminal.Table, j wire.Evaluation) {
	t.Line("%s: %s, %s", plain.Line(j.Event), j.Result, terminal.Plural(len(j.Jobs), "job"))
	if len(j.Policies) > 0 {
		t.Head("  POLICY", "MATCHES", "WHY")
	}
	var costs []string
	for _, p := range j.Policies {
		matches := "no"
		if p.Matches {
			matches = "yes"
		}
		t.Wrapped("  "+p.Policy, matches, p.Why)
		if p.Cost > 0 {
			costs = append(costs, fmt.Sprintf("%s %d", p.Policy, p.Cost))
		}
	}
	if len(costs) > 0 {
		t.Line("  cost in steps, of %d for each policy: %s", policy.Budget, strings.Join(costs, ", "))
	}
	if len(j.Jobs) > 0 {
		t.Head("  KIND", "TARGET", "ACCOUNT", terminal.Optional("LANE"), terminal.Optional("POLICY"), "PARAMS", "REASON")
	}
	for _, job := range j.Jobs {
		kind := string(job.Kind)
		if job.DryRun {
			kind += " (dry run)"
		}
		t.Row("  "+kind, show.ShortTarget(job.Target), job.Account, job.Lane, job.Policy, pairs(job.Params), job.Reason)
	}
	for _, problem := range j.Problems {
		t.Line("  dead letter: %s", strings.ReplaceAll(terminal.Lines(problem), "\n", "; "))
	}
}

// pairs shows parameters on one line.
func pairs(params map[string]string) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(params)) {
		list = append(list, name+"="+params[name])
	}
	return strings.Join(list, " ")
}

// compare shows the lines in which what becomes of events differs from what is expected.
func (c *cli) compare(judgements []wire.Evaluation, file string) error {
	data, err := c.read(file)
	if err != nil {
		return err
	}
	var expected []wire.Evaluation
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&expected); err != nil {
		return fmt.Errorf("%s is not the output of 'worker policy test -o json': %w", file, err)
	}
	differ := false
	for i := range max(len(expected), len(judgements)) {
		want, err := linesAt(expected, i)
		if err != nil {
			return err
		}
		got, err := linesAt(judgements, i)
		if err != nil {
			return err
		}
		if slices.Equal(want, got) {
			continue
		}
		differ = true
		_, _ = fmt.Fprintln(c.stdout, strings.Join(terminal.Difference(want, got), "\n"))
	}
	if differ {
		return errReported
	}
	_, _ = fmt.Fprintf(c.stdout, "%s: as expected\n", terminal.Plural(len(judgements), "event"))
	return nil
}

// linesAt is one judgement as lines of JSON, or none where there is none.
func linesAt(list []wire.Evaluation, i int) ([]string, error) {
	if i >= len(list) {
		return nil, nil
	}
	return linesOf(list[i].Decided())
}

// linesOf is a value as lines of JSON.
func linesOf(value any) ([]string, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n"), nil
}
