package terminal

import (
	"fmt"
	"time"
)

// ID is a cell that shows an id. Its beginning is enough where it does not fit: commands take it.
type ID string

// Shortened is a cell with a short form of a text, which is shown in full where nothing is cut.
type Shortened struct{ Full, Short string }

// Raw is a cell that is shown as it is, also where it is empty.
type Raw string

// Optional names a column that is left out where the table does not fit, the last one first.
type Optional string

// Whole names a column that is cut only where the others cannot be cut further.
type Whole string

// Meaning is what a colour says.
type Meaning int

// The meanings.
const (
	Plain Meaning = iota
	Good          // Done, in order.
	Worth         // Not done yet, or less well than it could be.
	Bad           // Failed, or a person must act.
	Faint         // Of less interest.
)

// Meant is a cell with a meaning.
type Meant struct {
	Cell    any
	Meaning Meaning
}

// codes are the colours of ECMA-48 ("Select Graphic Rendition").
var codes = map[Meaning]string{Good: "32", Worth: "33", Bad: "31", Faint: "2"}

// Paint shows a text in the colour of a meaning.
func Paint(text string, m Meaning) string {
	if codes[m] == "" || text == "" {
		return text
	}
	return "\x1b[" + codes[m] + "m" + text + "\x1b[0m"
}

// Age is how long before now a moment was, or how long after it is, in the largest unit that says enough.
func Age(at, now time.Time) string {
	d := now.Sub(at)
	switch {
	case d >= time.Second:
		return span(d) + " ago"
	case d > -time.Second:
		return "now"
	}
	return "in " + span(-d)
}

// span is a duration in one unit.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 2*day:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/day)
}
