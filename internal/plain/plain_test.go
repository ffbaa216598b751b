package plain_test

import (
	"testing"

	"rekey/internal/plain"
)

func TestLine(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, want string }{
		{"", ""},
		{"é 😀 = 1", "é 😀 = 1"},
		{"a\tb\r\nc\u2028d\u00a0e", "a b  c d e"},
		{"\x1b[2J\u009b31m\u202e\x00", "\ufffd[2J\ufffd31m\ufffd\ufffd"},
		{"cut \xff", "cut \ufffd"},
	} {
		if got := plain.Line(tt.text); got != tt.want {
			t.Errorf("Line(%q) is %q, want %q", tt.text, got, tt.want)
		}
	}
}
