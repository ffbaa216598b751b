package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// The forms of output.
const (
	outputTable = "table"
	outputJSON  = "json"
)

// print writes value as JSON, or calls table, as --output says.
func (c *cli) print(value any, table func(t *tabwriter.Writer)) error {
	if c.output == outputJSON {
		encoder := json.NewEncoder(c.stdout)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(value)
	}
	t := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	table(t)
	return t.Flush()
}

// row writes one line of a table.
func row(t *tabwriter.Writer, cells ...any) {
	texts := make([]string, len(cells))
	for i, cell := range cells {
		texts[i] = text(cell)
	}
	// Errors come up when the writer is flushed.
	_, _ = fmt.Fprintln(t, strings.Join(texts, "\t"))
}

// text is how a value stands in a table.
func text(cell any) string {
	switch v := cell.(type) {
	case time.Time:
		if v.IsZero() {
			return "-"
		}
		return v.Local().Format("2006-01-02 15:04:05")
	case time.Duration:
		return took(v)
	}
	s := strings.TrimSpace(fmt.Sprint(cell))
	if s == "" {
		return "-"
	}
	return s
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

// short cuts a text for a table.
func short(s string, most int) string {
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return string(runes[:most-1]) + "…"
}
