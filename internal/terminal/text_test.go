package terminal

import (
	"bytes"
	"testing"
	"time"
)

func TestTook(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		d    time.Duration
		want string
	}{
		{"nothing", 0, "0s"},
		{"below a millisecond", 400 * time.Microsecond, "0s"},
		{"milliseconds", 7*time.Millisecond + 600*time.Microsecond, "7ms"},
		{"nearly a second", 999*time.Millisecond + 999*time.Microsecond, "999ms"},
		{"seconds", 2*time.Second + 314*time.Millisecond, "2.31s"},
		{"seconds that round up", 2*time.Second + 319*time.Millisecond, "2.31s"},
		{"minutes", 3*time.Minute + 1999*time.Millisecond, "3m1s"},
		{"hours", 26 * time.Hour, "26h0m0s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := Took(tt.d); got != tt.want {
				t.Errorf("Took(%s) = %q, want %q", tt.d, got, tt.want)
			}
			// The search has whole milliseconds.
			if got := Took(tt.d.Truncate(time.Millisecond)); got != tt.want {
				t.Errorf("cut to milliseconds, Took(%s) = %q, want %q", tt.d, got, tt.want)
			}
		})
	}
}

func TestShort(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		text string
		most int
		want string
	}{
		{"empty", "", 3, ""},
		{"fits", "abc", 3, "abc"},
		{"too long", "abcd", 3, "ab…"},
		{"letters, not bytes", "äöüß", 4, "äöüß"},
		{"cut between letters", "äöüß", 3, "äö…"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := Short(tt.text, tt.most); got != tt.want {
				t.Errorf("Short(%q, %d) = %q, want %q", tt.text, tt.most, got, tt.want)
			}
		})
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 3, 4, 5, 0, time.Local)
	tests := []struct {
		name string
		cell any
		want string
	}{
		{"nothing", "", "-"},
		{"white space", " \t", "-"},
		{"number", 7, "7"},
		{"indentation stays", "  1", "  1"},
		{"duration", 1500 * time.Millisecond, "1.5s"},
		{"no time", time.Time{}, "-"},
		{"time", at, at.Format("2006-01-02 15:04:05 MST")},
		{"lines and tabs become one cell", "a\tb\r\nc", "a b  c"},
		{"the terminal is not steered", "a\x1b[2Jb\u202ec", "a�[2Jb�c"},
		{"no UTF-8", "a\xff", "a�"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := Text(tt.cell); got != tt.want {
				t.Errorf("Text(%q) = %q, want %q", tt.cell, got, tt.want)
			}
		})
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	const in = "{\r\n\t\"kind\": \"\x1b[31m\"\n}"
	const want = "{\n    \"kind\": \"�[31m\"\n}"
	if got := Lines(in); got != want {
		t.Errorf("Lines(%q) = %q, want %q", in, got, want)
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 23, 30, 0, 0, time.Local)
	tests := []struct {
		name string
		at   time.Time
		want string
	}{
		{"the same day", now.Add(90 * time.Second), "23:31:30"},
		{"after midnight", now.Add(time.Hour), now.Add(time.Hour).Format("2006-01-02 15:04:05 MST")},
		{"the same time of another day", now.AddDate(0, 0, -1), now.AddDate(0, 0, -1).Format("2006-01-02 15:04:05 MST")},
		{"another zone", now.Add(time.Second).UTC(), "23:30:01"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := Clock(tt.at, now); got != tt.want {
				t.Errorf("Clock(%s) = %q, want %q", tt.at, got, tt.want)
			}
		})
	}
}

func TestFieldLeavesOutWhatIsNotThere(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	table := NewTable(&out, Style{})
	table.Field("job", "j1")
	table.Field("reason", "")
	table.Field("retry at", time.Time{})
	table.Field("took", time.Second)
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "job   j1\ntook  1s\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
