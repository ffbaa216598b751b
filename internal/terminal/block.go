package terminal

import (
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
)

const (
	columnGap  = "  "
	idWidth    = 12 // What is left of an id where the table does not fit: it is unique among a million of them.
	leastWidth = 8  // What a column keeps as long as another one is wider.

	mostLines  = 3  // A last cell of more lines beside the other columns is written below them.
	belowWidth = 40 // The least width at which it is.
	indent     = "    "
)

// measure counts the columns that a text takes. An ellipsis takes one, whatever the locale.
var measure = &runewidth.Condition{}

// shown is a cell as it is written.
type shown struct {
	text    string
	meaning Meaning
	id      bool
}

// block is a part of a table whose rows share columns.
type block struct {
	rows     [][]shown
	wraps    []bool
	optional []bool
	whole    []bool
	widths   []int
	head     bool
	below    int // How wide the lines are in which last cells are written below their rows; 0 where they are not.
}

func newBlock(head []any, rows []row, s *Style) *block {
	b := &block{head: len(head) > 0}
	if b.head {
		cells := make([]shown, len(head))
		for i, name := range head {
			_, optional := name.(Optional)
			_, whole := name.(Whole)
			b.optional, b.whole = append(b.optional, optional), append(b.whole, whole)
			cells[i] = shown{text: Text(name), meaning: Faint}
		}
		b.rows, b.wraps = append(b.rows, cells), append(b.wraps, false)
	}
	for _, r := range rows {
		cells := make([]shown, len(r.cells))
		for i, cell := range r.cells {
			cells[i] = see(cell, s)
		}
		b.rows, b.wraps = append(b.rows, cells), append(b.wraps, r.wrap)
	}
	for _, cells := range b.rows {
		for i, cell := range cells {
			if i == len(b.widths) {
				b.widths = append(b.widths, 0)
			}
			b.widths[i] = max(b.widths[i], measure.StringWidth(cell.text))
		}
	}
	b.optional = append(b.optional, make([]bool, max(len(b.widths)-len(b.optional), 0))...)
	b.whole = append(b.whole, make([]bool, max(len(b.widths)-len(b.whole), 0))...)
	return b
}

// see is a cell as a style shows it.
func see(cell any, s *Style) shown {
	switch v := cell.(type) {
	case Meant:
		one := see(v.Cell, s)
		one.meaning = v.Meaning
		return one
	case ID:
		return shown{text: Text(cell), id: true}
	case Shortened:
		if s.Wide {
			return shown{text: Text(v.Full)}
		}
		return shown{text: Text(v.Short)}
	case time.Time:
		if !v.IsZero() && !s.Now.IsZero() && !s.Wide {
			return shown{text: Age(v, s.Now)}
		}
	}
	return shown{text: Text(cell)}
}

// align makes columns at least as wide as those of the block before, and leaves out those that it left out.
func (b *block) align(last *block) {
	if last == nil {
		return
	}
	for i := range min(len(last.widths), len(b.widths)) {
		b.optional[i] = last.optional[i]
		if last.widths[i] > 0 {
			b.widths[i] = max(b.widths[i], last.widths[i])
		} else {
			b.widths[i] = 0
		}
	}
}

// total is how wide the block is.
func (b *block) total() int {
	sum := 0
	for _, w := range b.widths {
		if w > 0 {
			sum += w + len(columnGap)
		}
	}
	return sum - len(columnGap)
}

// fit makes the block as narrow as width. Last cells that would be a column of many short lines are written below their rows.
func (b *block) fit(width int) {
	if width <= 0 {
		return
	}
	natural := slices.Clone(b.widths)
	b.narrow(width)
	if b.head && width >= belowWidth && b.lines() > mostLines {
		b.widths, b.below = natural, width-len(indent)
		b.widths[len(b.widths)-1] = 0
		b.narrow(width)
	}
}

// narrow makes the columns as narrow as width: the ends of ids go first, then optional columns, the last one before the
// others, then the ends of the widest columns, at last of those that are to be whole.
func (b *block) narrow(width int) {
	for i := range b.widths {
		if b.total() > width && b.holdsIDs(i) {
			b.widths[i] = min(b.widths[i], idWidth)
		}
	}
	for i := len(b.widths) - 1; i >= 0 && b.total() > width; i-- {
		if b.optional[i] {
			b.widths[i] = 0
		}
	}
	b.cutWidest(width, leastWidth, b.whole)
	none := make([]bool, len(b.widths))
	for _, least := range []int{leastWidth, 1} {
		b.cutWidest(width, least, none)
	}
}

// cutWidest cuts the widest columns, but for some, down to least.
func (b *block) cutWidest(width, least int, but []bool) {
	for b.total() > width {
		widest, most := 0, 0
		for i, w := range b.widths {
			if w > most && !but[i] {
				widest, most = i, w
			}
		}
		if most <= least {
			return
		}
		b.widths[widest]--
	}
}

// lines is how many lines the longest row takes.
func (b *block) lines() int {
	most := 0
	for i, cells := range b.rows {
		if last := len(cells) - 1; b.wraps[i] && last == len(b.widths)-1 {
			most = max(most, len(wrap(cells[last].text, b.widths[last])))
		}
	}
	return most
}

func (b *block) holdsIDs(column int) bool {
	for _, cells := range b.rows {
		if column < len(cells) && cells[column].id {
			return true
		}
	}
	return false
}

// write adds row n, which is more than one line where its last cell is wrapped.
func (b *block) write(out *strings.Builder, n int, colour bool) {
	cells := b.rows[n]
	last := len(cells) - 1
	if b.below > 0 && last == len(b.widths)-1 {
		b.line(out, cells[:last], colour)
		b.under(out, cells[last], colour)
		return
	}
	rest := []string{""}
	if b.wraps[n] {
		rest = wrap(cells[last].text, b.widths[last])
		cells[last].text = rest[0]
	}
	b.line(out, cells, colour)
	for _, more := range rest[1:] {
		further := make([]shown, len(cells))
		further[last] = shown{text: more, meaning: cells[last].meaning}
		b.line(out, further, colour)
	}
}

// under writes a cell below its row, and none without a value.
func (b *block) under(out *strings.Builder, cell shown, colour bool) {
	if cell.text == None {
		return
	}
	for _, text := range wrap(cell.text, b.below) {
		if colour {
			text = Paint(text, cell.meaning)
		}
		out.WriteString(indent + text + "\n")
	}
}

// line adds one line.
func (b *block) line(out *strings.Builder, cells []shown, colour bool) {
	gap := 0
	for i, cell := range cells {
		width := b.widths[i]
		if width == 0 {
			continue
		}
		text := cut(cell, width)
		if text != "" {
			out.WriteString(strings.Repeat(" ", gap))
			gap = 0
		}
		gap += width - measure.StringWidth(text) + len(columnGap)
		if colour {
			text = Paint(text, cell.meaning)
		}
		out.WriteString(text)
	}
	out.WriteByte('\n')
}

// cut makes a text as narrow as width. An id can do without a mark of that.
func cut(cell shown, width int) string {
	text, mark := cell.text, "…"
	if cell.id || width < 2 {
		mark = ""
	}
	if measure.StringWidth(text) > width {
		text = measure.Truncate(text, width, mark)
	}
	return strings.TrimRight(text, " ")
}
