package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/leaks"
	"rekey/internal/seal"
	"rekey/internal/secret"
	"rekey/internal/terminal"
	"rekey/internal/wire"
)

// leakFlags are what is asked for each value of a list.
type leakFlags struct {
	submitFlags
	hints      map[string]*string // By parameter.
	key, idKey string
	noWait     bool
}

func (c *cli) leakCommand() *cobra.Command {
	kind := kinds.Containing()
	f := leakFlags{hints: map[string]*string{}}
	cmd := c.withOutput(c.withServer(&cobra.Command{
		Use:   "contain FILE|-",
		Short: "Have each value of a list of leaked credentials taken away",
		Long: `Have each value of a list taken away: one leaked value a line, or what gitleaks (betterleaks) or TruffleHog
writes as JSON. Each value is a ` + string(kind.Name) + ` request of its own, and becomes the job that fits what it is; the
flags say where to look. The values are sealed before they leave this command, and never shown.

It shows progress on standard error, and at the end a table. It can be interrupted and repeated with the same
flags: what was handed over is not handed over again, and what is done is not done twice. A value whose job failed
is not asked for again by a repeat: 'worker job retry ID' attempts it again, and other hints are another request.
A client secret that is the only one of its account is refused: add another one to the account and retry, or set
allow_self for the account that calls.

The ids of the requests are keyed hashes of the values. The key is the one of the configuration that seals; where the
configuration has none, --key names the public key of the workers to seal to, and --id-key a file of yours with at
least ` + fmt.Sprint(shortestIDKey) + ` characters, the same at each repeat.

Exit codes: 0 each credential is dead, 1 none is, or the command failed, 2 usage, such as a line that is no value; nothing is submitted then,
4 some are not, 5 interrupted; with --wait=proof also 7 a credential is still alive, or is back.`,
		Example: "  worker leak contain leaked.txt --org-id 5ec0000000000000000000b1 --reason IR-4711\n" +
			"  gitleaks dir . -f json -r - | worker leak contain - --project-id 5ec0000000000000000000f1 --dry-run\n" +
			"  trufflehog git file://. --json | worker leak contain - --org-id 5ec0000000000000000000b1",
		Args: want("FILE"),
		RunE: func(cmd *cobra.Command, list []string) error { return c.containLeaks(cmd.Context(), list[0], &f) },
	}))
	f.register(cmd, kind.Params)
	return noun("leak", "Work with leaked credentials", cmd)
}

// register adds the flags to a command. params are those of the requests, of which each that is no secret is a hint.
func (f *leakFlags) register(cmd *cobra.Command, params []kinds.Param) {
	flags := cmd.Flags()
	for _, p := range params {
		if !p.Secret {
			f.hints[p.Name] = flags.String(strings.ReplaceAll(p.Name, "_", "-"), "", "hint for all values: `"+strings.ToUpper(p.Name)+"`")
		}
	}
	flags.StringVar(&f.account, "account", "", "`NAME` of the account (default: the only one)")
	flags.StringVar(&f.lane, "lane", "", "`LANE`: urgent, normal (default) or bulk")
	flags.StringVar(&f.reason, "reason", "", "free `TEXT`, shown in the results")
	flags.StringVar(&f.requestedBy, "requested-by", "", "who asks, a free `TEXT` (default: the user's name)")
	flags.StringVar(&f.key, "key", "", "public `KEY` to seal to (default: that of the configuration)")
	flags.StringVar(&f.idKey, "id-key", "", "`FILE` with the key of the requests' ids; goes with --key")
	flags.BoolVar(&f.dryRun, "dry-run", false, "do everything but the calls that change something, and show what they would have been")
	waitFlag(cmd, &f.wait)
	flags.BoolVar(&f.noWait, "no-wait", false, "end when all values are handed over")
	complete(cmd, "lane", jobs.Names(jobs.Lanes()))
}

// shortestIDKey is how many characters a key of ids has at least.
const shortestIDKey = 16

func (c *cli) containLeaks(ctx context.Context, file string, f *leakFlags) error {
	kind := kinds.Containing()
	if _, err := member("--wait", string(f.wait), fleet.Untils()); err != nil {
		return usage(err)
	}
	if f.noWait && f.wait != "" {
		return usagef("--no-wait cannot go with --wait")
	}
	hints, err := f.given(kind)
	if err != nil {
		return err
	}
	data, err := c.read(file)
	if err != nil {
		return err
	}
	list, err := leaks.Read(data)
	if err != nil {
		return usagef("%s: %w", inputName(file), err)
	}
	cfg := leaks.Config{
		Source: operatorSource, Kind: kind, Hints: hints, Account: f.account, Fields: map[string]any{}, DryRun: f.dryRun, NoWait: f.noWait, Proof: f.wait == fleet.UntilProof, Progress: c.leakProgress(),
	}
	f.fields(cfg.Fields)
	if cfg.Seal, cfg.Sums, err = c.leakKeys(f); err != nil {
		return err
	}
	ctx, client, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	cfg.Client = client
	rows, err := leaks.Run(ctx, cfg, list)
	return c.leaksDone(ctx, rows, err, f)
}

// given are the hints that are given.
func (f *leakFlags) given(kind kinds.Kind) (map[string]string, error) {
	given := map[string]string{}
	for name, hint := range f.hints {
		if *hint == "" {
			continue
		}
		p, _, _ := kind.Param(name)
		if detail := p.Shape.Check(*hint); detail != "" {
			return nil, usagef("--%s %s", strings.ReplaceAll(name, "_", "-"), detail)
		}
		given[name] = *hint
	}
	return given, nil
}

// leakKeys are what seals the values, and what makes the ids of their requests.
func (c *cli) leakKeys(f *leakFlags) (seals func(secret.Value) (string, error), sums func(string) ([]string, error), err error) {
	const purpose = "leaks"
	if (f.key == "") != (f.idKey == "") {
		return nil, nil, usagef("--key and --id-key go together")
	}
	if f.key != "" {
		if err := seal.CheckPublic(f.key); err != nil {
			return nil, nil, usagef("--key %w", err)
		}
		key, err := secret.Ref{File: f.idKey}.Read(c.lookupEnv)
		if err == nil && len(key.Reveal()) < shortestIDKey {
			err = fmt.Errorf("it has fewer than %d characters", shortestIDKey)
		}
		if err != nil {
			return nil, nil, usagef("--id-key: %w", err)
		}
		seals = func(v secret.Value) (string, error) { return seal.Seal(f.key, v) }
		return seals, func(text string) ([]string, error) {
			sum, err := seal.Sum(key, purpose, text)
			return []string{sum}, err
		}, nil
	}
	cfg, err := c.config()
	if err != nil {
		return nil, nil, err
	}
	keys := wire.KnownKeys(cfg, c.server, c.lookupEnv)
	if keys == nil {
		return nil, nil, errors.New("the key to seal the values with is not known here: -c names the workers' configuration, or --key and --id-key do without it")
	}
	return keys.Seal, func(text string) ([]string, error) { return keys.Sums(purpose, text) }, nil
}

// leakProgressEvery is how often progress is shown at most.
const leakProgressEvery = time.Second

// leakProgress shows progress when it has changed, and not too often.
func (c *cli) leakProgress() func(leaks.Progress) {
	var last string
	var at time.Time
	return func(p leaks.Progress) {
		line := fmt.Sprintf("%d of %s handed over, %d done, %d failed", p.Submitted, terminal.Plural(p.Values, "value"), p.Done, p.Failed)
		if !p.Until.IsZero() {
			line += ", others wait for the rate limit until " + terminal.Clock(p.Until, c.now())
		}
		over := p.Done+p.Failed == p.Values
		if line != last && (over || time.Since(at) >= leakProgressEvery) {
			c.say("%s", line)
			last, at = line, time.Now()
		}
	}
}

// leaksDone shows what became of a list, and is the error that says so.
func (c *cli) leaksDone(ctx context.Context, rows []leaks.Row, err error, f *leakFlags) error {
	submitted, done, failed := 0, 0, 0
	for i := range rows {
		switch {
		case rows[i].Well():
			done++
		case rows[i].Over():
			failed++
		}
		if rows[i].Submitted {
			submitted++
		}
	}
	if submitted == 0 && err != nil {
		_, malformed := errors.AsType[*jobs.Malformed](err)
		if _, rejected := errors.AsType[*jobs.Rejection](err); malformed || rejected {
			return usage(err)
		}
		return err
	}
	if printErr := c.printLeaks(rows, f.wait == fleet.UntilProof); err == nil {
		err = printErr
	}
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, context.Canceled) {
		return &codeError{exitUnknown, fmt.Errorf("interrupted: %d of %s were handed over, %d are done; the workers go on with what was handed over. "+
			"The same command with the same list goes on, and does nothing twice", submitted, terminal.Plural(len(rows), "value"), done)}
	}
	if err == nil && failed > 0 {
		err = fmt.Errorf("%d of %s failed, each for what its detail says; when that is mended, 'worker job retry ID' attempts one again", failed, terminal.Plural(len(rows), "value"))
		if f.wait == fleet.UntilProof && slices.ContainsFunc(rows, func(r leaks.Row) bool { return r.Verdict.Alive() }) {
			return &codeError{exitAlive, err}
		}
		if failed < len(rows) && !f.noWait {
			return &partlyError{err}
		}
	}
	return err
}

// printLeaks shows what became of each value, with proof also what is known of its target.
func (c *cli) printLeaks(rows []leaks.Row, proof bool) error {
	return c.print(rows, func(t *terminal.Table) {
		head := "OUTCOME"
		if proof {
			head = "PROOF"
		}
		t.Row("LINE", "VALUE", "WAS", "KIND", head, "JOB", "DETAIL")
		for i := range rows {
			r := &rows[i]
			outcome := string(cmp.Or(r.Outcome, jobs.Outcome(r.State)))
			if r.Rejected {
				outcome = "not accepted"
			}
			if proof {
				outcome = cmp.Or(string(r.Verdict), outcome)
			}
			t.Row(lineList(r.Lines), r.Fingerprint, r.Was, r.Kind, outcome, r.JobID, r.Detail)
		}
	})
}

// lineList shows the first lines of a value, and how many more there are.
func lineList(lines []int) string {
	if len(lines) == 1 {
		return fmt.Sprint(lines[0])
	}
	return fmt.Sprintf("%d (+%d)", lines[0], len(lines)-1)
}
