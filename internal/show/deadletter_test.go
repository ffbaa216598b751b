package show

import (
	"strings"
	"testing"

	"rekey/internal/bus"
	"rekey/internal/terminal"
)

// TestLongDeadLetter: no more of a message is shown than is asked for, no part of a character, and how much is left out.
func TestLongDeadLetter(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		payload string
		most    int
		want    string
	}{
		{name: "all", payload: "aaaaaaaa", want: "aaaaaaaa\n"},
		{name: "as long as that", payload: "aaaa", most: 4, want: "aaaa\n"},
		{name: "longer", payload: "aaaaa", most: 4, want: "aaaa\nThe message has 5 bytes; left out here are 1. -o json shows all.\n"},
		{name: "within a character", payload: "aa€€", most: 4, want: "aa\nThe message has 8 bytes; left out here are 6. -o json shows all.\n"},
		{name: "no UTF-8", payload: "\x80\x80\x80\x80\x80\x80\x80", most: 5, want: terminal.Lines("\x80\x80\x80\x80\x80") + "\nThe message has 7 bytes; left out here are 2. -o json shows all.\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			table := terminal.NewTable(&out, terminal.Style{})
			DeadLetter(table, &bus.DeadLetter{Number: 1, Payload: tt.payload}, tt.most)
			if err := table.Flush(); err != nil {
				t.Fatal(err)
			}
			if _, got, _ := strings.Cut(out.String(), "\n\n"); got != tt.want {
				t.Errorf("shown is %q, want %q", got, tt.want)
			}
		})
	}
}
