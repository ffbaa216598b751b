package terminal

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var testNow = time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)

// jobsLike fills a table as a list of jobs does, with texts that are wide, long or empty.
func jobsLike(t *Table) {
	t.Head("JOB", "KIND", "TARGET", Optional("LANE"), Whole("STATE"), Optional("ATTEMPTS"), "ACCEPTED")
	t.Row(ID("3f9k2c8w5m1x7q0z4r6t8v2y9a"), "service_account_secret.delete", "org/5ec0…00b1/client/mdb_sa_id_0123456789abcdef01234567", "urgent",
		Meant{"waiting until 03:04:05", Worth}, 12, testNow.Add(-3*time.Minute))
	t.Row(ID("7"), "x509.disable", "日本語の長い名前日本語の長い名前日本語の長い名前日本語の長い名前", "", Meant{"revoked", Good}, 1, testNow.AddDate(0, 0, -9))
}

// TestNoLineIsWiderThanTheTerminal: whatever the width is, and also where lines are wrapped, coloured and aligned.
func TestNoLineIsWiderThanTheTerminal(t *testing.T) {
	t.Parallel()
	for width := 1; width <= 200; width++ {
		var out strings.Builder
		table := NewTable(&out, Style{Width: width, Now: testNow})
		jobsLike(table)
		table.Line("")
		table.Field("reason", "seen in a public repository, and what was seen there is 日本語日本語日本語 a_word_that_is_longer_than_any_line_of_a_terminal_can_be_and_goes_on_and_on")
		table.Wrapped("✗", "atlas", "roles of account security", "→ give it the role Organization Owner, or take the account out of the configuration")
		table.Head("NAME", Whole("STATE"), "SAYS")
		table.Wrapped(ID("3f9k2c8w5m1x7q0z4r6t8v2y9a"), "waiting until 2026-11-24 03:04:05 CET", strings.Repeat("日本語 and a_long_word_of_many_letters ", 9))
		table.Aligned = true
		table.Line("")
		table.Row("a", strings.Repeat("b", 300), "c")
		if err := table.Flush(); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			line = strings.TrimSuffix(line, "\n")
			// Two columns are the least that a wide letter takes; four of them have three gaps.
			if got := measure.StringWidth(line); got > max(width, 15) {
				t.Errorf("at %d columns, a line has %d: %q", width, got, line)
			}
			if strings.HasSuffix(line, " ") {
				t.Errorf("at %d columns, a line ends with a blank: %q", width, line)
			}
		}
	}
}

func TestFit(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		style Style
		want  string
	}{
		{"a pipe: nothing is cut", Style{Now: testNow}, `
JOB                         KIND                           TARGET                                                            LANE    STATE                   ATTEMPTS  ACCEPTED
3f9k2c8w5m1x7q0z4r6t8v2y9a  service_account_secret.delete  org/5ec0…00b1/client/mdb_sa_id_0123456789abcdef01234567           urgent  waiting until 03:04:05  12        3m ago
7                           x509.disable                   日本語の長い名前日本語の長い名前日本語の長い名前日本語の長い名前  -       revoked                 1         9d ago
`},
		{"80 columns: ids keep their beginning, optional columns go, a state is whole", Style{Width: 80, Now: testNow}, `
JOB           KIND             TARGET           STATE                   ACCEPTED
3f9k2c8w5m1x  service_accoun…  org/5ec0…00b1/…  waiting until 03:04:05  3m ago
7             x509.disable     日本語の長い名…  revoked                 9d ago
`},
		{"ids alone", Style{Width: 80, IDs: true}, `
3f9k2c8w5m1x7q0z4r6t8v2y9a
7
`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			table := NewTable(&out, tt.style)
			jobsLike(table)
			if err := table.Flush(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimPrefix(tt.want, "\n"), out.String()); diff != "" {
				t.Errorf("table (-want +got):\n%s", diff)
			}
		})
	}
}

// TestALongLastCellIsBelowItsRow: as a column it would be many short lines.
func TestALongLastCellIsBelowItsRow(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	table := NewTable(&out, Style{Width: 60, Now: testNow})
	table.Head("JOB", "KIND", "TARGET", "SAYS")
	table.Wrapped(ID("3f9k2c8w5m1x7q0z4r6t8v2y9a"), "idp.delete", "federation/5ec0…00c1/idp/5ec0…00d1",
		"404: the identity provider is gone; 200: none of 2 means the same; the event log has no event of it")
	table.Wrapped(ID("7"), "jwks.revoke", "federation/5ec0…00c1", "")
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	want := `
JOB           KIND         TARGET
    SAYS
3f9k2c8w5m1x  idp.delete   federation/5ec0…00c1/idp/5ec0…00…
    404: the identity provider is gone; 200: none of 2 means
    the same; the event log has no event of it
7             jwks.revoke  federation/5ec0…00c1
`
	if diff := cmp.Diff(want[1:], out.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

// TestColours: they mean something, and padding has none.
func TestColours(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	table := NewTable(&out, Style{Colour: true})
	table.Head("STATE", "N")
	table.Row(Meant{"ok", Good}, 1)
	table.Row(Meant{"refused", Bad}, 2)
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	want := "\x1b[2mSTATE\x1b[0m    \x1b[2mN\x1b[0m\n\x1b[32mok\x1b[0m       1\n\x1b[31mrefused\x1b[0m  2\n"
	if got := out.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAge(t *testing.T) {
	t.Parallel()
	for want, ago := range map[string]time.Duration{
		"now": 900 * time.Millisecond, "1s ago": time.Second, "59s ago": 59 * time.Second, "1m ago": 119 * time.Second, "47h ago": 47 * time.Hour,
		"2d ago": 48 * time.Hour, "in 5m": -5*time.Minute - time.Second, "in 400d": -400 * 24 * time.Hour,
	} {
		if got := Age(testNow.Add(-ago), testNow); got != want {
			t.Errorf("%s before now is shown as %q, want %q", ago, got, want)
		}
	}
}

// TestFieldsAreWrapped: a value goes on below where it began.
func TestFieldsAreWrapped(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	table := NewTable(&out, Style{Width: 24, Now: testNow})
	table.Field("accepted", testNow.Add(-time.Hour))
	table.Field("reason", "one two three four")
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	want := "accepted  " + strings.ReplaceAll(strings.Join(wrap(Text(testNow.Add(-time.Hour))+" (1h ago)", 14), "\n"), "\n", "\n          ") +
		"\nreason    one two three\n          four\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

// TestWrapKeepsUnits: a number and its unit are on one line.
func TestWrapKeepsUnits(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"worst 3ms; 1 job in 24 h":     {"worst 3ms; 1 job in", "24 h"},
		"worst 3ms; 1 job in 24 jobs":  {"worst 3ms; 1 job in 24", "jobs"},
		"waits for more than 7 ms, so": {"waits for more than", "7 ms, so"},
		"1234567890123456789012 h":     {"1234567890123456789012", "h"},
	} {
		if diff := cmp.Diff(want, wrap(text, 22)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}
