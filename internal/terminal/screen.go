package terminal

import (
	"os"
	"strconv"

	"golang.org/x/term"
)

// IsTerminal reports whether a person may be at the other end.
func IsTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Screen is the style of what is written to a stream: at a terminal as wide as it is, and in colours unless NO_COLOR is set or
// the terminal is a dumb one. COLUMNS is the width where it is set. Without either, nothing is cut.
func Screen(stream any, env func(string) (string, bool)) Style {
	var s Style
	if columns, ok := env("COLUMNS"); ok {
		if n, err := strconv.Atoi(columns); err == nil && n > 0 {
			s.Width = n
		}
	}
	if !IsTerminal(stream) {
		return s
	}
	noColour, _ := env("NO_COLOR") // https://no-color.org: any value but the empty one.
	kind, _ := env("TERM")
	s.Colour = noColour == "" && kind != "dumb"
	if width, _, err := term.GetSize(int(stream.(*os.File).Fd())); s.Width == 0 && err == nil { //nolint:errcheck,forcetypeassert // It is a terminal.
		s.Width = width
	}
	return s
}

// Clear empties the screen and begins at its top.
const Clear = "\x1b[H\x1b[2J"
