package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"rekey/internal/jobs"
)

func TestExitCode(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		err      error
		want     int
		wantHint bool
	}{
		{"failed", errors.New("broken"), exitFailed, false},
		{"shown already", errReported, exitFailed, false},
		{"usage", usagef("N is no number"), exitUsage, true},
		{"usage, wrapped", fmt.Errorf("reading: %w", usage(errors.New("no"))), exitUsage, true},
		{"not found", fmt.Errorf("job x: %w", jobs.ErrNotFound), exitNotFound, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var stderr bytes.Buffer
			got := (&cli{stderr: &stderr}).exitCode(&cobra.Command{Use: "worker"}, tt.err)
			if got != tt.want {
				t.Errorf("the exit code is %d, want %d", got, tt.want)
			}
			if hint := strings.Contains(stderr.String(), "See 'worker --help'."); hint != tt.wantHint {
				t.Errorf("standard error is %q, hint wanted: %t", stderr.String(), tt.wantHint)
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
