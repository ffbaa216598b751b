package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/user"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rekey/internal/bus"
	"rekey/internal/config"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/redact"
	"rekey/internal/terminal"
	"rekey/internal/wire"
)

// The exit codes.
const (
	exitDone     = 0
	exitFailed   = 1
	exitUsage    = 2
	exitNotFound = 3
	exitPartly   = 4
	exitUnknown  = 5 // Of what waits for a job: it is not known yet.
	exitRefused  = 6 // The same: the job was refused, or its request was not accepted.
	exitAlive    = 7 // Of what waits for a proof: the target is alive.
)

// askTimeout bounds the connection to NATS, and then a question to the fleet up to its last answer.
const askTimeout = 10 * time.Second

// envConfig names the configuration file where -c does not.
const envConfig = "REKEY_CONFIG"

// errReported is an error that the command has shown already.
var errReported = errors.New("reported")

// cli is the command line with all that it touches of the outside world.
type cli struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	lookupEnv      func(string) (string, bool)

	configFile string
	server     string
	context    string
	output     terminal.Form
	utc, ids   bool

	guarded   context.Context  //nolint:containedctx // Of the connection: it tells why NATS has ended a command.
	serverNow func() time.Time // The time of the NATS server, once there is a connection to it.
}

// now is the time of the NATS server, which the moments in records are of, and without a connection that of this machine.
func (c *cli) now() time.Time {
	if c.serverNow == nil {
		return time.Now()
	}
	return c.serverNow()
}

// execute runs one command line and returns the exit code.
func (c *cli) execute(ctx context.Context, args []string) int {
	root := c.root() //nolint:contextcheck // The commands get their context from ExecuteContextC.
	root.SetArgs(args)
	called, err := root.ExecuteContextC(ctx)
	err = c.forbidden(err)
	if err == nil {
		return exitDone
	}
	code := exitCode(err)
	if !errors.Is(err, errReported) {
		// All mistakes of one configuration are one error with many lines. Some repeat what came from outside.
		text := terminal.Lines(err.Error())
		if _, ok := errors.AsType[*usageError](err); ok {
			text += fmt.Sprintf(" (see '%s --help')", called.CommandPath())
		}
		c.tell("worker: %s", strings.ReplaceAll(text, "\n", "\n  "))
	}
	return code
}

// exitCode is that of an error. Several failures have theirs where they agree, and else that of a failure.
func exitCode(err error) int {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		all := several.Unwrap()
		for _, one := range all {
			if exitCode(one) != exitCode(all[0]) {
				return exitFailed
			}
		}
		return exitCode(all[0])
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[*fleet.AmbiguousError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[*partlyError](err); ok {
		return exitPartly
	}
	if coded, ok := errors.AsType[*codeError](err); ok {
		return coded.code
	}
	if errors.Is(err, jobs.ErrNotFound) {
		return exitNotFound
	}
	return exitFailed
}

// codeError is an error with an exit code of its own.
type codeError struct {
	code int
	err  error
}

// Error is what happened.
func (e *codeError) Error() string { return e.err.Error() }

// Unwrap is what happened.
func (e *codeError) Unwrap() error { return e.err }

// forbidden puts what NATS does not allow in the place of what came of it, which is a question without an answer: NATS
// refuses beside all answers.
func (c *cli) forbidden(err error) error {
	forbidden, ok := errors.AsType[*bus.ForbiddenError](err)
	if !ok && c.guarded != nil {
		forbidden = fleet.Forbidden(c.guarded)
	}
	if forbidden == nil {
		return err
	}
	if coded, ok := errors.AsType[*codeError](err); ok && !errors.Is(err, errReported) { // A wait that had begun.
		return &codeError{coded.code, fmt.Errorf("%w: %w", err, forbidden)}
	}
	advice := "'worker doctor' and docs/security.md say what each role needs"
	if forbidden.Subscribe {
		advice = "nats.inbox_prefix names the inboxes that the server gives this user"
	}
	return &codeError{exitUsage, fmt.Errorf("the permissions of this NATS user do not allow it: %w; %s", forbidden, advice)}
}

func (c *cli) root() *cobra.Command {
	root := asGroup(&cobra.Command{
		Use:   "worker",
		Short: "Rekey takes credentials away, fast and provably",
		Long: `Rekey learns of incidents and rotations on NATS JetStream, over HTTP, and from cron schedules; then it
revokes, disables, deletes or rotates credentials in MongoDB Atlas ('worker job submit --help' lists the
kinds), looks whether they are dead, and says what it did in results, proofs and metrics.

Exit codes: 0 done, 1 failed, 2 usage, or NATS permissions refuse it, 3 not found, 4 partly.
Where nothing of several is done, that of all, or 1 where they differ. Of what waits for a job also: 5 not known yet, 6 the job was
refused, or its request was not accepted, 7 its target is still alive, or is back.`,
		Example:       "  worker demo\n  worker run -c configs/worker.yaml",
		SilenceErrors: true, SilenceUsage: true,
	})
	root.SetIn(c.stdin)
	root.SetOut(c.stdout) // Before the command for completion is made, which keeps what is set then.
	root.SetErr(c.stderr)
	root.SetFlagErrorFunc(flagError)
	release, revision := buildVersion()
	root.Version = fmt.Sprintf("%s (revision %s, %s)", release, revision, runtime.Version())
	root.SetVersionTemplate("rekey {{.Version}}\n")
	root.AddCommand(
		c.runCommand(), c.demoCommand(), c.configCommand(), c.eventCommand(), c.jobCommand(), c.leakCommand(), c.proofCommand(),
		c.dlqCommand(), c.statusCommand(), c.contextCommand(), c.policyCommand(), c.planCommand(), c.doorCommand(), c.scheduleCommand(), c.rotationCommand(), c.receiverCommand(), c.auditCommand(), c.paceCommand(), c.sandboxCommand(), c.versionCommand(),
		c.keygenCommand(), c.sealCommand(), c.doctorCommand(),
	)
	withCompletion(root)
	c.foldHelp(root)
	return root
}

// withConfig adds the flag for the configuration file.
func (c *cli) withConfig(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVarP(&c.configFile, "config", "c", "", "configuration `FILE` (default: $"+envConfig+")")
	return cmd
}

// withServer adds the flags of a command that talks to NATS.
func (c *cli) withServer(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&c.server, "server", "", "NATS `URL` (default: as the configuration says, else nats://127.0.0.1:4222)")
	cmd.Flags().StringVar(&c.context, "context", "", "`NAME` of a context that says how the fleet is reached ('worker context ls')")
	// The flag exists: it was added in the line above.
	_ = cmd.RegisterFlagCompletionFunc("context", c.completeContexts)
	return c.withConfig(cmd)
}

// config loads the configuration file that the flags or the environment name, or the
// defaults when they name none.
func (c *cli) config() (*config.Config, error) {
	file := c.configName()
	if file == "" {
		return config.Default(), nil
	}
	cfg, err := loadConfig(file)
	if invalid, ok := errors.AsType[*config.Invalid](err); ok {
		return nil, fmt.Errorf("%s in the configuration:\n%w", terminal.Plural(len(invalid.Problems), "mistake"), err)
	}
	return cfg, err
}

// loadConfig loads a configuration file, and says what to do where there is none.
func loadConfig(file string) (*config.Config, error) {
	cfg, err := config.Load(file)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; name the file with -c FILE or $%s, or start from configs/worker.yaml (docs/install.md)", err, envConfig)
	}
	return cfg, err
}

// configName is the configuration file that the flags or the environment name, or "".
func (c *cli) configName() string {
	if c.configFile != "" {
		return c.configFile
	}
	file, _ := c.lookupEnv(envConfig)
	return file
}

// dial connects to NATS as the flags and the configuration say. The context that it returns ends when NATS does not allow
// what is asked on the connection.
func (c *cli) dial(ctx context.Context) (context.Context, *fleet.Client, error) {
	cfg, err := c.config()
	if err != nil {
		return ctx, nil, err
	}
	if cfg, err = c.inContext(cfg); err != nil {
		return ctx, nil, err
	}
	limited, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	client, err := fleet.Dial(limited, cfg, c.server, c.lookupEnv)
	if _, ok := errors.AsType[*fleet.UnreachableError](err); ok {
		what := "a NATS server"
		if c.server == "" && cfg.NATS.IsEmbedded() {
			what = "the worker, whose server it is,"
		}
		err = fmt.Errorf("%w; is %s running there? --server URL, -c FILE or --context NAME names another server", err, what)
	}
	if err != nil {
		return ctx, nil, unanswered(ctx, limited, err)
	}
	client.OnReading = func(error) {
		c.tell("No worker answers the search: the streams are read instead, which takes longer.")
	}
	ctx = client.Guard(ctx)
	c.guarded, c.serverNow = ctx, client.Now
	return ctx, client, nil
}

// ask runs one question to the fleet on a connection of its own.
func (c *cli) ask(ctx context.Context, question func(context.Context, *fleet.Client) error) error {
	return c.askWithin(ctx, askTimeout, question)
}

// searchTimeout bounds a search that reads the streams themselves, where there are millions of records.
const searchTimeout = 5 * time.Minute

// search runs a question to the fleet that takes long where no worker answers it, which it says.
func (c *cli) search(ctx context.Context, question func(context.Context, *fleet.Client) error) error {
	return c.askWithin(ctx, searchTimeout, question)
}

func (c *cli) askWithin(ctx context.Context, most time.Duration, question func(context.Context, *fleet.Client) error) error {
	ctx, client, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	limited, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	return unanswered(ctx, limited, client.Explain(question(limited, client)))
}

// unanswered tells an interruption and a server that does not answer from other errors.
func unanswered(ctx, limited context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted: %w", context.Cause(ctx))
	case limited.Err() != nil:
		return fmt.Errorf("NATS did not answer within %s: %w", askTimeout, err)
	}
	return err
}

// operateFlags say who does something and why. Both stand in the ledger.
type operateFlags struct {
	by, reason string
}

func (f *operateFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.reason, "reason", "", "why, a free `TEXT` that is recorded")
	cmd.Flags().StringVar(&f.by, "by", "", "who, a free `TEXT` that is recorded (default: the user's name)")
}

// discreet is a text that is recorded, without the secrets of the configuration and what looks like one.
func (c *cli) discreet(text string) string {
	var known *redact.Known
	if cfg, err := c.config(); err == nil { // Else no secret is known here.
		known = wire.KnownSecrets(cfg, c.lookupEnv)
	}
	return redact.Scrub(text, known.Set())
}

func (c *cli) operation(action jobs.Action, f *operateFlags) jobs.Operation {
	by := f.by
	if by == "" {
		by = "unknown"
		if u, err := user.Current(); err == nil {
			by = u.Username
		}
	}
	return jobs.Operation{Action: action, By: by, Reason: c.discreet(f.reason)}
}

// partlyError says that some of what was asked for is done: exit code 4.
type partlyError struct{ err error }

// Error returns what was not done.
func (e *partlyError) Error() string { return e.err.Error() }

// Unwrap returns what was not done.
func (e *partlyError) Unwrap() error { return e.err }
