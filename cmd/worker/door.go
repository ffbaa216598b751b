package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"rekey/internal/door"
	"rekey/internal/plain"
	"rekey/internal/terminal"
	"rekey/internal/wire"
)

func (c *cli) doorCommand() *cobra.Command {
	var headers []string
	test := c.withOutput(c.withConfig(&cobra.Command{
		Use:   "test -c FILE NAME SAMPLE|-",
		Short: "Show what a door makes of a sample",
		Long: `Sign a sample as the sender of a door would, hand it to that door, and show the answer, the events
and what becomes of them, as 'worker policy test' does. Nothing is published, and the worker need not run.
The sample is the body as the sender posts it: JSON, for a door of the type slack a form, for one of the
type caep the claims of a token, which is signed with a key of its own. Secrets are shown as fingerprints.
Exit 1 says that the door refuses the sample, or that an event has a problem; exit 3 that there is no such door.`,
		Example: "  worker door test -c worker.yaml github alert.json\n" +
			"  worker door test -c worker.yaml atlas alert.json --header 'X-MMS-Event: alert.close' -o json",
		Args: want("NAME", "SAMPLE"),
		RunE: func(cmd *cobra.Command, list []string) error {
			return c.tryDoor(cmd.Context(), list[0], list[1], headers)
		},
	}))
	test.Flags().StringArrayVar(&headers, "header", nil, "`'NAME: VALUE'` of the request; may be given several times")
	return noun("door", "Work with doors, where senders post over HTTP", test)
}

// eachHeader hands over the names and values of --header.
func eachHeader(lines []string, use func(name, value string)) error {
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return usagef("--header must look like 'Name: value'")
		}
		use(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return nil
}

func (c *cli) tryDoor(ctx context.Context, name, file string, headers []string) error {
	if c.configName() == "" {
		return usagef("no configuration is given: -c FILE or $%s", envConfig)
	}
	given := http.Header{}
	if err := eachHeader(headers, given.Set); err != nil {
		return err
	}
	cfg, err := c.config()
	if err != nil {
		return err
	}
	body, err := c.read(file)
	if err != nil {
		return err
	}
	trial, err := wire.NewDoorTrial(cfg, c.lookupEnv, wire.KnownSecrets(cfg, c.lookupEnv))
	if err != nil {
		return err
	}
	tried, err := trial.Try(ctx, name, body, given)
	if errors.Is(err, door.ErrNoDoor) {
		return &codeError{code: exitNotFound, err: fmt.Errorf("%w; %s", err, c.configured(wire.DoorNames(cfg)))}
	}
	if err != nil {
		return err
	}
	if err := c.print(tried, func(t *terminal.Table) { doorTable(t, tried) }); err != nil {
		return err
	}
	bad := tried.Status >= http.StatusMultipleChoices
	for _, one := range tried.Events {
		bad = bad || len(one.Problems) > 0
	}
	if bad {
		return errReported
	}
	return nil
}

// doorTable shows what a door makes of a sample.
func doorTable(t *terminal.Table, tried wire.TriedDoor) {
	t.Line("door %s: %d %s, %s", tried.Door, tried.Status, tried.Result, terminal.Plural(len(tried.Events), "event"))
	if answer := strings.TrimSpace(tried.Answer); answer != "" {
		t.Line("  answer: %s", plain.Line(answer))
	}
	for _, one := range tried.Events {
		tableOf(t, one)
	}
}
