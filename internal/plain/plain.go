// Package plain makes a text that came from outside one harmless line.
package plain

import (
	"strings"
	"unicode"
)

// Line is a text as one line that can neither break a table nor steer what shows it: white space is a blank, and what is not printable
// is U+FFFD.
func Line(s string) string {
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
