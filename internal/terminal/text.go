package terminal

import (
	"fmt"
	"strings"
	"time"

	"rekey/internal/plain"
)

// TimeLayout is how a moment is shown, always with its zone: the reader may sit in
// another one than the worker.
const TimeLayout = "2006-01-02 15:04:05 MST"

// None is shown in a table where there is no value.
const None = "-"

// Text is how a value is shown in a table.
func Text(cell any) string {
	switch v := cell.(type) {
	case time.Time:
		if v.IsZero() {
			return None
		}
		return v.Local().Format(TimeLayout)
	case time.Duration:
		return Took(v)
	case Meant:
		return Text(v.Cell)
	case Raw:
		return plain.Line(string(v))
	}
	s := strings.TrimRight(plain.Line(fmt.Sprint(cell)), " ")
	if s == "" {
		return None
	}
	return s
}

// Lines makes harmless lines of a text from outside that has several.
func Lines(s string) string {
	lines := strings.Split(strings.ReplaceAll(s, "\t", "    "), "\n")
	for i, line := range lines {
		lines[i] = plain.Line(strings.TrimSuffix(line, "\r"))
	}
	return strings.Join(lines, "\n")
}

// Took cuts a duration to what a person reads. As ages and the milliseconds of the search are cut, too, one duration reads the same everywhere,
// however often it was cut; rounded twice, it would not.
func Took(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Truncate(time.Millisecond).String()
	case d < time.Minute:
		return d.Truncate(10 * time.Millisecond).String()
	}
	return d.Truncate(time.Second).String()
}

// Clock is a moment near now as a time of day, and any other one with its date.
func Clock(at, now time.Time) string {
	at, now = at.Local(), now.Local()
	if at.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return at.Format(time.TimeOnly)
	}
	return at.Format(TimeLayout)
}

// Short cuts a text for a table.
func Short(s string, most int) string {
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return string(runes[:most-1]) + "…"
}

// Plural counts things.
func Plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
