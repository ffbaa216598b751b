package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"rekey/internal/jobs"
)

func TestExitCode(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		err  error
		want int
	}{
		{"failed", errors.New("broken"), exitFailed},
		{"shown already", errReported, exitFailed},
		{"usage", usagef("N is no number"), exitUsage},
		{"usage, wrapped", fmt.Errorf("reading: %w", usage(errors.New("no"))), exitUsage},
		{"not found", fmt.Errorf("job x: %w", jobs.ErrNotFound), exitNotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := exitCode(tt.err); got != tt.want {
				t.Errorf("the exit code is %d, want %d", got, tt.want)
			}
		})
	}
}

// TestErrorsDoNotSteerTheTerminal: an error can repeat a text of another sender.
func TestErrorsDoNotSteerTheTerminal(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	c := &cli{stderr: &stderr, stdout: &stderr, lookupEnv: func(string) (string, bool) { return "", false }}
	if got := c.execute(t.Context(), []string{"config", "check", "no\x1b[2Jfile"}); got != exitFailed {
		t.Errorf("the exit code is %d, want %d", got, exitFailed)
	}
	if got := stderr.String(); strings.Contains(got, "\x1b") || !strings.Contains(got, "[2Jfile") {
		t.Errorf("it says %q", got)
	}
}

// TestEveryCommandHasAnExample walks the whole tree, so that a new command is not forgotten.
func TestEveryCommandHasAnExample(t *testing.T) {
	t.Parallel()
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if !strings.Contains(cmd.Example, "worker") || cmd.Short == "" {
			t.Errorf("%s has no example or no description", cmd.CommandPath())
		}
		if cmd.Args == nil || cmd.RunE == nil && cmd.Run == nil {
			t.Errorf("%s does not check its arguments or does nothing", cmd.CommandPath())
		}
		for _, verb := range cmd.Commands() {
			walk(verb)
		}
	}
	walk((&cli{lookupEnv: func(string) (string, bool) { return "", false }}).root())
}

// TestHelpFits: help is as wide as the terminal; but for it, and for commands with a word that is wider, it is as it is written.
func TestHelpFits(t *testing.T) {
	t.Parallel()
	help := func(columns string, list ...string) string {
		var stdout bytes.Buffer
		c := &cli{stderr: &stdout, stdout: &stdout, lookupEnv: func(name string) (string, bool) { return columns, name == "COLUMNS" && columns != "" }}
		if got := c.execute(t.Context(), append(list, "--help")); got != exitDone {
			t.Errorf("%v: the exit code is %d", list, got)
		}
		return stdout.String()
	}
	var walk func(cmd *cobra.Command, list ...string)
	walk = func(cmd *cobra.Command, list ...string) {
		for line := range strings.Lines(help("80", list...)) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 80 && !strings.HasPrefix(line, `  echo '`) {
				t.Errorf("%s: %d columns: %s", cmd.CommandPath(), n, line)
			}
		}
		if got := help("", list...); !strings.Contains(got, strings.TrimSpace(cmd.Long)) || !strings.Contains(got, cmd.Example) {
			t.Errorf("%s: without a terminal it is\n%s", cmd.CommandPath(), got)
		}
		for _, verb := range cmd.Commands() {
			walk(verb, append(slices.Clip(list), verb.Name())...)
		}
	}
	walk((&cli{lookupEnv: func(string) (string, bool) { return "", false }}).root())
}
