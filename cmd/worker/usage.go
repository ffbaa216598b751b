package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"rekey/internal/config"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// usageError is a mistake in how a command was called: exit code 2. Its text says what to
// do and repeats no value of a parameter, which may be a secret.
type usageError struct{ err error }

// Error returns the text of the mistake alone.
func (e *usageError) Error() string { return e.err.Error() }

// Unwrap returns the mistake.
func (e *usageError) Unwrap() error { return e.err }

func usage(err error) error { return &usageError{err} }

func usagef(format string, values ...any) error { return usage(fmt.Errorf(format, values...)) }

// want checks that a command has exactly the named arguments.
func want(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, list []string) error {
		if len(list) > len(names) {
			return usagef("too many arguments; the form is: %s", cmd.UseLine())
		}
		return wantFirst(names...)(cmd, list)
	}
}

// wantFirst checks that a command has the named arguments; more may follow. None may be empty.
func wantFirst(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, list []string) error {
		if len(list) < len(names) {
			return usagef("missing: %s; the form is: %s", strings.Join(names[len(list):], " and "), cmd.UseLine())
		}
		if i := slices.Index(list, ""); i >= 0 { // A variable of a script that is not set.
			return usagef("%s is empty; the form is: %s", names[min(i, len(names)-1)], cmd.UseLine())
		}
		return nil
	}
}

// noun is a command that only has verbs below it. Its help has the first example of each.
func noun(use, short string, verbs ...*cobra.Command) *cobra.Command {
	examples := make([]string, 0, len(verbs))
	for _, verb := range verbs {
		for line := range strings.SplitSeq(verb.Example, "\n") {
			examples = append(examples, line)
			if !strings.HasSuffix(line, "|") && !strings.HasSuffix(line, `\`) { // Else the next line belongs to it.
				break
			}
		}
	}
	cmd := asGroup(&cobra.Command{Use: use, Short: short, Example: strings.Join(examples, "\n")})
	cmd.AddCommand(verbs...)
	return cmd
}

// asGroup makes a command without a verb show its help, which is a usage error all the same.
func asGroup(cmd *cobra.Command) *cobra.Command {
	cmd.Args = wantVerb
	cmd.SuggestionsMinimumDistance = 2 // Letters that may differ.
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cmd.SetOut(cmd.ErrOrStderr())
		if err := cmd.Help(); err != nil {
			return err
		}
		return usagef("a command is missing")
	}
	return cmd
}

// wantVerb rejects a word that is no verb of a noun, and suggests what may have been meant.
func wantVerb(cmd *cobra.Command, list []string) error {
	if len(list) == 0 {
		return nil
	}
	hint := ""
	if near := cmd.SuggestionsFor(list[0]); len(near) > 0 {
		hint = "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return usagef("unknown command %q for %s%s", list[0], cmd.CommandPath(), hint)
}

// withCompletion adds cobra's command for shell completion, with examples and with errors
// like those of the other commands.
func withCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() != "completion" {
			continue
		}
		asGroup(cmd).Example = "  source <(worker completion bash)\n  worker completion fish > ~/.config/fish/completions/worker.fish"
		for _, shell := range cmd.Commands() {
			shell.Args = want()
			shell.Example = "  worker completion " + shell.Name()
		}
	}
}

// flagError is a mistake in a flag, or in the verb before it, to which the flag may belong. An unknown flag is a usage error with the one that
// may have been meant; its value, which may be a secret, is not repeated.
func flagError(cmd *cobra.Command, err error) error {
	if words := cmd.Flags().Args(); cmd.HasSubCommands() && len(words) > 0 {
		return wantVerb(cmd, words)
	}
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok || unknown.GetSpecifiedShortnames() != "" {
		return usage(err)
	}
	best, distance := "", mistypedBy+1
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		name := unknown.GetSpecifiedName()
		if d := config.EditDistance(name, f.Name); !f.Hidden && (d < distance || d <= distance && strings.HasPrefix(f.Name, name)) {
			best, distance = f.Name, d
		}
	})
	if best == "" {
		return usage(err)
	}
	return usagef("%w; did you mean --%s?", err, best)
}
