package terminal

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFold: lines fit, and what goes on is indented.
func TestFold(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{
			"messages",
			"worker: configuration worker.yaml: line 3: a mistake that is shown at length\n  and another one that is no shorter than the first one",
			"worker: configuration worker.yaml: line\n  3: a mistake that is shown at length\n  and another one that is no shorter\n    than the first one",
		},
		{"a name and what is said of it", "  -o, --output   form of the output, which is a table", "  -o, --output   form of the output, which\n                 is a table"},
		{"a name that is too long", "  a_long_name_of_something  what is said of it", "  a_long_name_of_something  what is said\n    of it"},
		{"a word that is wider", "worker: see 3f9k2c8w5m3f9k2c8w5m3f9k2c8w5m3f9k2c8w5m for more", "worker: see\n  3f9k2c8w5m3f9k2c8w5m3f9k2c8w5m3f9k2c8w5m\n  for more"},
		{"a command", "  worker job show --reason 'one  two three' 3f9k2c8w5m", "  worker job show --reason \\\n      'one  two three' 3f9k2c8w5m"},
		{"a command with a word that is wider", "  worker job show 3f9k2c8w5m3f9k2c8w5m3f9k2c8w5m3f9k2c8w5m", "  worker job show 3f9k2c8w5m3f9k2c8w5m3f9k2c8w5m3f9k2c8w5m"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, Fold(tt.text, 42)); diff != "" {
				t.Errorf("folded (-want +got):\n%s", diff)
			}
			if got := Fold(tt.text, 0); got != tt.text {
				t.Errorf("without a limit: %q", got)
			}
		})
	}
}

// TestHelp: paragraphs are filled, and what fits is left as it is.
func TestHelp(t *testing.T) {
	t.Parallel()
	const text = "Show something that takes more than a line of it.\nThen more.\n\nShort\nones.\n\nThe kinds of which there are many:\n  one  a kind\n\n" +
		"Examples:\n  cat a.json b.json | worker event publish incident -\n\nFlags:\n  -h  worker"
	want := "Show something that takes more than a line\nof it. Then more.\n\nShort\nones.\n\nThe kinds of which there are many:\n  one  a kind\n\n" +
		"Examples:\n  cat a.json b.json | worker event \\\n      publish incident -\n\nFlags:\n  -h  worker"
	if diff := cmp.Diff(want, Help(text, 42)); diff != "" {
		t.Errorf("folded (-want +got):\n%s", diff)
	}
	if got := Help(text, 0); got != text {
		t.Errorf("without a limit: %q", got)
	}
}

// TestLinesFit: lines of a table that are no rows are folded, but for those that will be copied.
func TestLinesFit(t *testing.T) {
	t.Parallel()
	const text = "worker.yaml: line 3, column 5: nats.urls: is empty"
	var out strings.Builder
	table := NewTable(&out, Style{Width: 42})
	table.Line("%s", text)
	table.Verbatim(text)
	want := "worker.yaml: line 3, column 5:\n  nats.urls: is empty\n" + text + "\n"
	if diff := cmp.Diff(want, out.String()); diff != "" || table.Flush() != nil {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}
