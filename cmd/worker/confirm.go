package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"rekey/internal/fleet"
	"rekey/internal/kinds"
)

// errNotConfirmed says that a person did not say yes.
var errNotConfirmed = errors.New("not confirmed: nothing was asked for")

// confirm shows a person what a request of a far-reaching kind would hit, and asks whether it is meant. Nothing is asked with --yes,
// of a dry run, and where standard input or standard error is no terminal.
func (c *cli) confirm(ctx context.Context, client *fleet.Client, request map[string]any, f *submitFlags) error {
	name, _ := request["kind"].(string) //nolint:errcheck // The request is valid.
	kind := kinds.Of(kinds.Name(name))
	if len(kind.Preview) == 0 || f.yes || f.dryRun || !isTerminal(c.stdin) || !isTerminal(c.stderr) {
		return nil
	}
	does := kind.Does
	if kind.Reach != "" {
		does += ": " + kind.Reach
	}
	fmt.Fprintf(c.stderr, "%s %s.\n", name, strings.ReplaceAll(does, "**", ""))
	facts, err := client.Preview(ctx, request, c.lookupEnv)
	if err != nil {
		facts = []kinds.Fact{{Name: "target", Text: "not known: " + err.Error()}}
	}
	t := tabwriter.NewWriter(c.stderr, 0, 4, 2, ' ', 0)
	for _, fact := range facts {
		row(t, "  "+fact.Name, fact.Text)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprint(c.stderr, "Is this meant? yes or no: ")
	answer, err := c.readLine(ctx)
	if err != nil {
		return err
	}
	if answer := strings.ToLower(answer); answer != "yes" && answer != "y" {
		return errNotConfirmed
	}
	return nil
}

// readLine reads a line from standard input. A signal ends the wait for it.
func (c *cli) readLine(ctx context.Context) (string, error) {
	type line struct {
		text string
		err  error
	}
	got := make(chan line, 1)
	go func() {
		text, err := bufio.NewReader(c.stdin).ReadString('\n')
		got <- line{strings.TrimSpace(text), err}
	}()
	select {
	case l := <-got:
		if l.text == "" && l.err != nil { // The end of the input.
			return "", fmt.Errorf("%w (%w)", errNotConfirmed, l.err)
		}
		return l.text, nil
	case <-ctx.Done():
		return "", fmt.Errorf("%w (interrupted)", errNotConfirmed)
	}
}

// isTerminal reports whether a person may be at the other end: a character device, but for the one that has nothing.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}
