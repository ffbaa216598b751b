package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/user"
	"strings"
	"time"

	"github.com/nats-io/nuid"
	"github.com/spf13/cobra"

	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/plain"
	"rekey/internal/terminal"
)

// submitFlags are the fields of a request that are no parameters.
type submitFlags struct {
	account, lane, reason, requestedBy, id string
	expiresIn, timeout                     time.Duration
	wait                                   fleet.Until
	separate, dryRun, yes                  bool
}

func (c *cli) submitCommand() *cobra.Command {
	var f submitFlags
	cmd := c.withIDs(c.withOutput(c.withServer(&cobra.Command{
		Use:   "submit KIND name=value…",
		Short: "Ask for a job",
		Long: `Ask for a job: the request is published as an event, and the worker does the rest. A value
can be read from a file with name=@FILE or from standard input with name=@-, so that a token
does not stand in the shell's history. What no worker would accept, such as an account that is not
configured, is refused at once. Without --wait, 'worker job wait ID' waits later.

With --dry-run the job does everything, reads included, but the call that changes something; its detail
says which call that is. The request itself can have the same --id: it is no duplicate of its dry run.

At a terminal, ` + askedKinds() + ` are asked about before the request goes out, with what the
API says of the target where the configuration has the account. --yes, and an input or output that is no terminal, ask nothing.

` + waitCodes + `

The kinds and their parameters:
` + kinds.Help(),
		Example:           submitExamples(),
		Args:              wantFirst("KIND"),
		ValidArgsFunction: completeRequest,
		RunE: func(cmd *cobra.Command, list []string) error {
			request, err := c.request(list[0], list[1:], &f)
			if err != nil {
				return err
			}
			return c.submit(cmd.Context(), request, &f)
		},
	})))
	f.register(cmd)
	// The flag exists: it was added in the line above.
	_ = cmd.RegisterFlagCompletionFunc("account", c.completeAccounts())
	return cmd
}

func (f *submitFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.account, "account", "", "`NAME` of the account (default: the only one)")
	flags.StringVar(&f.lane, "lane", "", "`LANE`: urgent, normal (default) or bulk")
	flags.StringVar(&f.reason, "reason", "", "free `TEXT`, shown in the result")
	flags.StringVar(&f.requestedBy, "requested-by", "", "who asks, a free `TEXT` (default: the user's name)")
	flags.StringVar(&f.id, "id", "", "`ID` of the request; the same one twice is one job (default: a new one)")
	flags.DurationVar(&f.expiresIn, "expires-in", 0, "`DURATION` after which the job is not attempted any more")
	flags.BoolVar(&f.separate, "separate", false, "make a job of its own even if an unfinished one has the same target")
	flags.BoolVar(&f.dryRun, "dry-run", false, "do everything but the call that changes something; with --wait, show what would have been done to what")
	flags.BoolVar(&f.yes, "yes", false, "do not ask at a terminal whether a far-reaching kind is meant")
	waitFlag(cmd, &f.wait)
	flags.DurationVar(&f.timeout, "timeout", 0, "`DURATION` to --wait at most; 0 is without an end")
	complete(cmd, "lane", jobs.Names(jobs.Lanes()))
}

// askedKinds lists the kinds that are asked about at a terminal.
func askedKinds() string {
	var names []string
	for _, k := range kinds.All() {
		if len(k.Preview) > 0 {
			names = append(names, string(k.Name))
		}
	}
	return strings.Join(names, ", ")
}

// submitExamples are a command for each kind.
func submitExamples() string {
	var lines []string
	for _, k := range kinds.All() {
		for _, example := range k.Examples {
			line := "  worker job submit " + string(k.Name) + " " + example
			if strings.Contains(example, "=@-") {
				line += " --account security --reason IR-4711 --wait < secret.txt"
			}
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

func completeRequest(_ *cobra.Command, have []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(have) == 0 {
		return jobs.Names(jobs.Kinds()), cobra.ShellCompDirectiveNoFileComp
	}
	kind, err := jobs.ParseKind(have[0])
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, name := range kinds.Of(kind).ParamNames() {
		names = append(names, name+"=")
	}
	return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// request makes the request object of a command line, and validates it as the worker will.
func (c *cli) request(kind string, pairs []string, f *submitFlags) (map[string]any, error) {
	if err := f.validate(); err != nil {
		return nil, usage(err)
	}
	params, err := c.params(pairs)
	if err != nil {
		return nil, err
	}
	request := map[string]any{"kind": kind, "params": params}
	f.fields(request)
	if _, err := jobs.ParseRequest(jobs.Document{Fields: request}); err != nil {
		return nil, usage(err)
	}
	return request, nil
}

// fields adds the fields of a request that are no parameters.
func (f *submitFlags) fields(request map[string]any) {
	for name, value := range map[string]string{
		"account": f.account, "lane": f.lane, "reason": f.reason, "requested_by": cmp.Or(f.requestedBy, userName()),
	} {
		if value != "" {
			request[name] = value
		}
	}
	if f.separate {
		request["coalesce"] = false
	}
	if f.dryRun {
		request["dry_run"] = true
	}
}

func (f *submitFlags) validate() error {
	if _, err := member("--wait", string(f.wait), fleet.Untils()); err != nil {
		return err
	}
	switch {
	case f.expiresIn < 0:
		return errors.New("--expires-in must not be negative")
	case f.timeout < 0:
		return errors.New("--timeout must not be negative")
	case f.timeout > 0 && f.wait == "":
		return errors.New("--timeout needs --wait")
	}
	return nil
}

// params reads the parameters of a command line. Its errors repeat no value.
func (c *cli) params(pairs []string) (map[string]any, error) {
	params := map[string]any{}
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, usagef("parameters must look like name=value")
		}
		if _, ok := params[name]; ok {
			return nil, usagef("a parameter is given twice")
		}
		if file, ok := strings.CutPrefix(value, "@"); ok {
			found, err := c.readSecret(file)
			if err != nil {
				return nil, err
			}
			value = found.Reveal()
		}
		params[name] = value
	}
	return params, nil
}

// userName is who runs the command, as far as the system knows.
func userName() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}

// submitted is what `job submit -o json` shows without --wait.
type submitted struct {
	JobID   string `json:"job_id,omitempty"`
	EventID string `json:"event_id"`
	// Duplicate says that a request with the same id has made the job before.
	Duplicate bool `json:"duplicate,omitempty"`
}

// duplicateOf tells what it means that a request is a duplicate.
const duplicateOf = "a request with the id %s was made before: this one is a duplicate of it and makes no second job"

// operatorSource is the CloudEvents source of requests from the command line.
const operatorSource = "rekey/operator"

func (c *cli) submit(ctx context.Context, request map[string]any, f *submitFlags) error {
	id := cmp.Or(f.id, nuid.Next())
	ctx, client, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.CheckRequest(ctx, request); err != nil {
		return usage(err)
	}
	if err := c.confirm(ctx, client, request, f); err != nil {
		return err
	}
	if f.expiresIn != 0 {
		request["expires_at"] = c.now().Add(f.expiresIn).UTC().Format(time.RFC3339Nano)
	}
	w := fleet.Wait{Stored: true, Proof: f.wait == fleet.UntilProof}
	if f.wait != "" {
		if w.After, err = client.LastLetter(ctx); err != nil {
			return err
		}
	}
	done, err := client.Submit(ctx, operatorSource, id, request)
	if _, mistaken := errors.AsType[*jobs.Malformed](err); mistaken || errors.Is(err, fleet.ErrOtherRequest) {
		return usage(err)
	}
	if err != nil {
		return err
	}
	if f.wait == "" {
		return c.printSubmitted(submitted{JobID: done.JobID, EventID: id, Duplicate: done.Duplicate})
	}
	w.JobID, w.Meant = done.JobID, done.Meant
	if done.Duplicate {
		c.say(duplicateOf, id)
	}
	c.say(submittedLine, done.JobID)
	return c.await(ctx, client, w, f.timeout)
}

func (c *cli) printSubmitted(s submitted) error {
	return c.print(s, func(t *terminal.Table) {
		t.Field("job", s.JobID)
		t.Field("event", s.EventID)
		if s.Duplicate {
			t.Field("duplicate", fmt.Sprintf(duplicateOf, plain.Line(s.EventID)))
		}
	})
}

// confirm shows a person what a request of a far-reaching kind would hit, and asks whether it is meant. Nothing is asked with --yes,
// of a dry run, and where standard input or standard error is no terminal.
func (c *cli) confirm(ctx context.Context, client *fleet.Client, request map[string]any, f *submitFlags) error {
	name, _ := request["kind"].(string) //nolint:errcheck // The request is valid.
	kind := kinds.Of(kinds.Name(name))
	if len(kind.Preview) == 0 || f.yes || f.dryRun || !terminal.IsTerminal(c.stdin) || !terminal.IsTerminal(c.stderr) {
		return nil
	}
	does := kind.Does
	if kind.Reach != "" {
		does += ": " + kind.Reach
	}
	c.tell("%s %s.", name, strings.ReplaceAll(does, "**", ""))
	facts, err := client.Preview(ctx, request, c.lookupEnv)
	if err != nil {
		facts = []kinds.Fact{{Name: "target", Text: "not known: " + err.Error()}}
	}
	t := c.table(c.stderr)
	for _, fact := range facts {
		t.Row("  "+fact.Name, fact.Text)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprint(c.stderr, "Is this meant? yes or no: ")
	return terminal.Confirm(ctx, c.stdin)
}
