package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rekey/internal/app"
	"rekey/internal/config"
	"rekey/internal/jobs"
)

// The exit codes.
const (
	exitDone     = 0
	exitFailed   = 1
	exitUsage    = 2
	exitNotFound = 3
)

// dialTimeout bounds a command's connection to NATS and each of its questions.
const dialTimeout = 10 * time.Second

// errUsage marks errors in how a command was called.
var errUsage = errors.New("usage")

// errReported is an error that the command has shown already.
var errReported = errors.New("reported")

// cli is the command line with all that it touches of the outside world.
type cli struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	lookupEnv      func(string) (string, bool)

	configFile string
	server     string
	output     string
}

// execute runs one command line and returns the exit code.
func (c *cli) execute(ctx context.Context, args []string) int {
	root := c.root()
	root.SetArgs(args)
	root.SetIn(c.stdin)
	root.SetOut(c.stdout)
	root.SetErr(c.stderr)
	called, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	if !errors.Is(err, errReported) {
		fmt.Fprintln(c.stderr, "worker: "+err.Error())
	}
	switch {
	case errors.Is(err, errUsage) || isCobraUsage(err):
		fmt.Fprintf(c.stderr, "See '%s --help'.\n", called.CommandPath())
		return exitUsage
	case errors.Is(err, jobs.ErrNotFound):
		return exitNotFound
	}
	return exitFailed
}

// isCobraUsage recognises the errors that cobra makes itself, for which it has no type.
func isCobraUsage(err error) bool {
	text := err.Error()
	return strings.HasPrefix(text, "unknown command") || strings.HasPrefix(text, "required flag")
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "worker",
		Short: "Rekey takes credentials away, fast and provably",
		Long: `Rekey hears of incidents and rotations on NATS JetStream and wakes on cron schedules;
then it revokes tokens and JWKS, disables X.509 and deletes identity providers and role
mappings in MongoDB Atlas, and says what it did in results and metrics.`,
		Example:       "  worker demo\n  worker run -c configs/worker.yaml",
		SilenceErrors: true, SilenceUsage: true,
		RunE: group, Args: groupArgs,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	root.AddCommand(
		c.runCommand(), c.demoCommand(), c.configCommand(), c.eventCommand(), c.jobCommand(),
		c.dlqCommand(), c.scheduleCommand(), c.sandboxCommand(), c.versionCommand(),
	)
	return root
}

// noun is a command that only has verbs below it.
func noun(use, short string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, RunE: group, Args: groupArgs, Example: verbs[0].Example}
	cmd.AddCommand(verbs...)
	return cmd
}

// group shows the help of a command that only has verbs below it.
func group(cmd *cobra.Command, _ []string) error {
	if err := cmd.Help(); err != nil {
		return err
	}
	return fmt.Errorf("%w: a command is missing", errUsage)
}

func groupArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return fmt.Errorf("%w: unknown command %q for %s%s", errUsage, args[0], cmd.CommandPath(), hint)
}

// args wraps a check of arguments so that its errors are usage errors.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, list []string) error {
		if err := check(cmd, list); err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		return nil
	}
}

// withConfig adds the flag for the configuration file.
func (c *cli) withConfig(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVarP(&c.configFile, "config", "c", "", "configuration `FILE` (default: $REKEY_CONFIG)")
	return cmd
}

// withServer adds the flags of a command that talks to NATS.
func (c *cli) withServer(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&c.server, "server", "", "NATS `URL` (default: as the configuration says, else nats://127.0.0.1:4222)")
	return c.withConfig(cmd)
}

// withOutput adds the flag for the form of the output.
func (c *cli) withOutput(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVarP(&c.output, "output", "o", outputTable, "`FORM` of the output: table or json")
	// The flag exists: it was added in the line above.
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{outputTable, outputJSON}, cobra.ShellCompDirectiveNoFileComp))
	inner := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, list []string) error {
		if c.output != outputTable && c.output != outputJSON {
			return fmt.Errorf("%w: --output must be table or json", errUsage)
		}
		return inner(cmd, list)
	}
	return cmd
}

// config loads the configuration file that the flags or the environment name, or the
// defaults when they name none.
func (c *cli) config() (*config.Config, error) {
	file := c.configFile
	if file == "" {
		file, _ = c.lookupEnv("REKEY_CONFIG")
	}
	if file == "" {
		return config.Default(), nil
	}
	return config.Load(file)
}

// dial connects to NATS as the flags and the configuration say.
func (c *cli) dial(ctx context.Context) (*app.Client, error) {
	cfg, err := c.config()
	if err != nil {
		return nil, err
	}
	return app.Dial(ctx, cfg, c.server, c.lookupEnv)
}

// ask runs one question to the fleet on a connection of its own.
func (c *cli) ask(ctx context.Context, question func(context.Context, *app.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	client, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	return question(ctx, client)
}
