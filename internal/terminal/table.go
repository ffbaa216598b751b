package terminal

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Style is how a table is laid out.
type Style struct {
	Width  int       // Columns of the terminal; 0 has no limit.
	Colour bool      // Meanings are shown in colours, too.
	Wide   bool      // Nothing is cut or left out, and moments are shown in full.
	IDs    bool      // Only the first column of rows, and the first field, one to a line.
	Now    time.Time // What ages are relative to; zero shows moments in full.
}

// Table lays out rows in columns that fit the width. A line that is no row ends a block of columns.
type Table struct {
	// Aligned keeps each column at least as wide as in the block before, for rows that are flushed one by one.
	Aligned bool

	out    io.Writer
	style  Style
	head   []any
	rows   []row
	last   *block // The block before.
	fields int
	err    error
}

// row is a row of a block.
type row struct {
	cells []any
	wrap  bool // Its last cell goes on in further lines.
}

// NewTable returns a table that Flush writes to out.
func NewTable(out io.Writer, s Style) *Table {
	if s.Wide || s.IDs {
		s.Width = 0
	}
	return &Table{out: out, style: s}
}

// Head begins a block of rows with the names of its columns. An Optional one is left out where the table does not fit.
func (t *Table) Head(names ...any) {
	t.end()
	t.head = names
}

// Row adds a row. What does not fit is cut.
func (t *Table) Row(cells ...any) { t.add(row{cells: cells}) }

// Wrapped adds a row whose last cell goes on in further lines where it does not fit.
func (t *Table) Wrapped(cells ...any) { t.add(row{cells: cells, wrap: true}) }

func (t *Table) add(r row) {
	if t.style.IDs {
		t.write(Text(r.cells[0]) + "\n")
		return
	}
	t.rows = append(t.rows, r)
}

// Field adds one named value, and nothing when there is no value.
func (t *Table) Field(name string, value any) {
	if Text(value) == None {
		return
	}
	if t.fields++; t.style.IDs {
		if t.fields == 1 {
			t.write(Text(value) + "\n")
		}
		return
	}
	if at, ok := value.(time.Time); ok {
		value = t.moment(at)
	}
	t.add(row{cells: []any{name, value}, wrap: true})
}

// moment is a moment in full and, in brackets, how long ago it was or how soon it is.
func (t *Table) moment(at time.Time) string {
	if t.style.Now.IsZero() || t.style.Wide {
		return Text(at)
	}
	return Text(at) + " (" + Age(at, t.style.Now) + ")"
}

// Line writes a line that is no row, in as many lines as the width asks for.
func (t *Table) Line(format string, values ...any) {
	t.Verbatim(Fold(fmt.Sprintf(format, values...), t.style.Width))
}

// Verbatim writes lines as they are, however wide: such as will be copied.
func (t *Table) Verbatim(lines string) {
	t.end()
	if !t.style.IDs {
		t.write(lines + "\n")
	}
}

// Flush writes what is left.
func (t *Table) Flush() error {
	t.end()
	return t.err
}

func (t *Table) write(text string) {
	if t.err == nil {
		_, t.err = io.WriteString(t.out, text)
	}
}

// end writes the block.
func (t *Table) end() {
	if len(t.head) == 0 && len(t.rows) == 0 || t.style.IDs {
		t.head = nil
		return
	}
	b := newBlock(t.head, t.rows, &t.style)
	if t.Aligned {
		b.align(t.last)
	}
	b.fit(t.style.Width)
	t.last = b
	var out strings.Builder
	for i := range b.rows {
		b.write(&out, i, t.style.Colour)
	}
	t.write(out.String())
	t.head, t.rows = nil, nil
}
