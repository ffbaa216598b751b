package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rekey/internal/jobs"
	"rekey/internal/terminal"
)

// withOutput adds the flags for the form of the output.
func (c *cli) withOutput(cmd *cobra.Command) *cobra.Command {
	forms := jobs.Names(terminal.Forms())
	cmd.Flags().StringVarP((*string)(&c.output), "output", "o", string(terminal.FormTable),
		"`FORM` of the output: table, wide (nothing cut, moments in full), json, jsonl (a line for each) or yaml")
	cmd.Flags().BoolVar(&c.utc, "utc", false, "show moments in UTC, not in local time")
	complete(cmd, "output", forms)
	inner := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, list []string) error {
		if _, err := member("--output", string(c.output), terminal.Forms()); err != nil {
			return usage(err)
		}
		if c.ids && c.output != terminal.FormTable {
			return usagef("-q shows ids only; it cannot go with --output")
		}
		if c.utc {
			time.Local = time.UTC //nolint:gosmopolitan,reassign // As with TZ=UTC: this process shows moments to one reader.
		}
		return inner(cmd, list)
	}
	return cmd
}

// withIDs adds the flag for ids alone.
func (c *cli) withIDs(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVarP(&c.ids, "quiet", "q", false, "show ids only, one to a line")
	return cmd
}

// print writes value in a form for programs, or calls table, as the flags say.
func (c *cli) print(value any, table func(t *terminal.Table)) error {
	if !c.output.IsTable() {
		return terminal.Encode(c.stdout, c.output, value)
	}
	t := c.table(c.stdout)
	table(t)
	return t.Flush()
}

// printList is print for a list. None is what people read on standard error where it is empty.
func printList[T any](c *cli, list []T, none string, table func(t *terminal.Table)) error {
	if list == nil {
		list = []T{}
	}
	if len(list) == 0 && c.output.IsTable() {
		if !c.ids {
			c.tell("%s", none)
		}
		return nil
	}
	return c.print(list, table)
}

// tell writes a line on standard error, in as many lines as its width asks for.
func (c *cli) tell(format string, values ...any) {
	fmt.Fprintln(c.stderr, terminal.Fold(fmt.Sprintf(format, values...), c.width(c.stderr)))
}

// width is how many columns a stream has; 0 has no limit.
func (c *cli) width(out any) int { return terminal.Screen(out, c.lookupEnv).Width }

// foldHelp makes the help of all commands as wide as what it is written to.
func (c *cli) foldHelp(root *cobra.Command) {
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, list []string) {
		out := cmd.OutOrStdout()
		var text strings.Builder
		cmd.SetOut(&text)
		defer cmd.SetOut(out)
		help(cmd, list)
		fmt.Fprint(out, terminal.Help(text.String(), c.width(out)))
	})
}

// table begins a table for a stream.
func (c *cli) table(out io.Writer) *terminal.Table {
	style := terminal.Screen(out, c.lookupEnv)
	style.Wide, style.IDs, style.Now = c.output == terminal.FormWide, c.ids && out == c.stdout, c.now()
	return terminal.NewTable(out, style)
}
