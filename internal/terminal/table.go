package terminal

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Table lays out rows in columns.
type Table struct {
	out *tabwriter.Writer
}

// NewTable returns a table that Flush writes to out.
func NewTable(out io.Writer) *Table { return &Table{tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)} }

// Flush writes what is left.
func (t *Table) Flush() error { return t.out.Flush() }

// Row writes one line of a table.
func (t *Table) Row(cells ...any) {
	texts := make([]string, len(cells))
	for i, cell := range cells {
		texts[i] = Text(cell)
	}
	t.Line("%s", strings.Join(texts, "\t"))
}

// Field writes one named value, and nothing when there is no value.
func (t *Table) Field(name string, value any) {
	if Text(value) != None {
		t.Row(name, value)
	}
}

// Line writes a line that is no row.
func (t *Table) Line(format string, values ...any) {
	// Errors come up when the writer is flushed.
	_, _ = fmt.Fprintf(t.out, format+"\n", values...)
}
