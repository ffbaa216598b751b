package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// The forms of output.
const (
	outputTable = "table"
	outputJSON  = "json"
)

// timeLayout is how a moment is shown, always with its zone: the reader may sit in
// another one than the worker.
const timeLayout = "2006-01-02 15:04:05 MST"

// print writes value as JSON, or calls table, as --output says.
func (c *cli) print(value any, table func(t *tabwriter.Writer)) error {
	if c.output == outputJSON {
		encoder := json.NewEncoder(c.stdout)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(value)
	}
	t := c.table()
	table(t)
	return t.Flush()
}

func (c *cli) table() *tabwriter.Writer { return tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0) }

// row writes one line of a table.
func row(t *tabwriter.Writer, cells ...any) {
	texts := make([]string, len(cells))
	for i, cell := range cells {
		texts[i] = text(cell)
	}
	// Errors come up when the writer is flushed.
	_, _ = fmt.Fprintln(t, strings.Join(texts, "\t"))
}

// field writes one named value, and nothing when there is no value.
func field(t *tabwriter.Writer, name string, value any) {
	if text(value) != none {
		row(t, name, value)
	}
}

// none is shown in a table where there is no value.
const none = "-"

// text is how a value is shown in a table.
func text(cell any) string {
	switch v := cell.(type) {
	case time.Time:
		if v.IsZero() {
			return none
		}
		return v.Local().Format(timeLayout)
	case time.Duration:
		return took(v)
	}
	s := strings.TrimRight(printable(fmt.Sprint(cell)), " ")
	if s == "" {
		return none
	}
	return s
}

// printable makes one harmless line of a text that came from outside: it can neither break
// a table nor steer the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// printableLines is printable for a text of several lines.
func printableLines(s string) string {
	lines := strings.Split(strings.ReplaceAll(s, "\t", "    "), "\n")
	for i, line := range lines {
		lines[i] = printable(strings.TrimSuffix(line, "\r"))
	}
	return strings.Join(lines, "\n")
}

// took rounds a duration to what a person reads.
func took(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// clock is a moment near now as a time of day, and any other one with its date.
func clock(at, now time.Time) string {
	at, now = at.Local(), now.Local()
	if at.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return at.Format(time.TimeOnly)
	}
	return at.Format(timeLayout)
}

// short cuts a text for a table.
func short(s string, most int) string {
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return string(runes[:most-1]) + "…"
}

// atlasID is an id as Atlas writes it.
var atlasID = regexp.MustCompile(`[0-9a-f]{24}`)

// shortTarget shortens a target for a table. Its ids keep their ends, in which they differ.
func shortTarget(target string) string {
	const most = 60 // Fits a role mapping.
	return short(atlasID.ReplaceAllStringFunc(target, func(id string) string { return id[:4] + "…" + id[20:] }), most)
}
