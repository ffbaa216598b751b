package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/config"
)

// withWindow is a configuration with one schedule in Berlin that has one window.
func withWindow(window string) string {
	return `
atlas: {accounts: [{name: a, public_key: k, private_key_env: K}]}
schedules:
  - name: s
    cron: "@daily"
    time_zone: Europe/Berlin
    job: {kind: x509.disable, params: {project_id: "0123456789abcdef01234567"}}
    not_during:
      - ` + window + "\n"
}

// TestCronIsReadLeniently: blanks of all sorts part the fields, wherever an expression is.
func TestCronIsReadLeniently(t *testing.T) {
	for _, cron := range []string{
		"'0\t3 * * SUN'", "0\t 3  *\t* SUN", `"0\t3 * * SUN"`, "|\n      0 3 * * SUN", ">-\n      0 3\n      * * SUN", "' 0 3 * * SUN '",
	} {
		text := strings.Replace(withWindow("{cron: '0 8 * * FRI-SUN', for: 10h}"), `"@daily"`, cron, 1)
		cfg, problems := parse(t, text)
		if problems != "" {
			t.Errorf("%s: %s", cron, problems)
			continue
		}
		if got := cfg.Schedules[0].Cron; got != "0 3 * * SUN" {
			t.Errorf("%s: read as %q", cron, got)
		}
	}
}

func TestWindows(t *testing.T) {
	tests := []struct{ name, window, wantFrom, wantUntil string }{
		{"dates", "{from: 2026-12-18, until: 2027-01-04}", "2026-12-17T23:00:00Z", "2027-01-03T23:00:00Z"},
		{"quoted dates", "{from: '2026-12-18', until: '2027-01-04'}", "2026-12-17T23:00:00Z", "2027-01-03T23:00:00Z"},
		{"with times", "{from: 2026-06-01 18:00, until: 2026-06-02T06:30}", "2026-06-01T16:00:00Z", "2026-06-02T04:30:00Z"},
		{"with seconds", "{from: 2026-06-01 18:00:05, until: 2026-06-02T06:30:06}", "2026-06-01T16:00:05Z", "2026-06-02T04:30:06Z"},
		{"with zones", "{from: 2026-06-01T18:00:00Z, until: 2026-06-02T06:30:00-05:00}", "2026-06-01T18:00:00Z", "2026-06-02T11:30:00Z"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, problems := parse(t, withWindow(tt.window))
			if problems != "" {
				t.Fatal(problems)
			}
			spec, err := cfg.Schedules[0].Spec()
			if err != nil {
				t.Fatal(err)
			}
			w := spec.NotDuring[0]
			got := []string{w.From.Format(time.RFC3339), w.Until.Format(time.RFC3339)}
			if diff := cmp.Diff([]string{tt.wantFrom, tt.wantUntil}, got); diff != "" {
				t.Errorf("window (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRecurringWindow(t *testing.T) {
	cfg, problems := parse(t, withWindow("{cron: '0 8 * * 1-5', for: 10h, ticks: move, reason: office}"))
	if problems != "" {
		t.Fatal(problems)
	}
	spec, err := cfg.Schedules[0].Spec()
	if err != nil {
		t.Fatal(err)
	}
	w := spec.NotDuring[0]
	if w.Opens.String() != "0 8 * * 1-5" || w.Opens.Zone() != "Europe/Berlin" || w.For != 10*time.Hour || !w.Move || w.Reason != "office" {
		t.Errorf("the window is %+v", w)
	}
}

func TestWindowProblems(t *testing.T) {
	tests := []struct{ name, window, want string }{
		{"empty", "{}", "from: is required, unless the window has cron and for"},
		{"no end", "{from: 2026-12-18}", "until: is required"},
		{"backwards", "{from: 2026-12-18, until: 2026-12-18}", "until: the window's end is not after its beginning"},
		{"no date", "{from: tomorrow, until: 2026-12-18}", "from: must be a date such as 2026-12-18"},
		{"a number", "{from: 2026, until: 2026-12-18}", "from: must be a string, not a number: put it in quotes"},
		{"both kinds", "{from: 2026-12-18, until: 2027-12-18, cron: '@daily', for: 1h}", "takes either from and until, or cron and for"},
		{"no length", "{cron: '@daily'}", "for: a window must be open for 1m to 744h"},
		{"no expression", "{for: 1h}", "cron: is required beside for"},
		{"bad expression", "{cron: 'x', for: 1h}", "cron: the expression has 1 of 5 fields"},
		{"never closes", "{cron: '@daily', for: 24h}", "for: the window opens again before it is closed"},
		{"ticks", "{from: 2026-12-18, until: 2027-12-18, ticks: keep}", "ticks: must be one of skip, move"},
		{"unknown key", "{from: 2026-12-18, until: 2027-12-18, then: skip}", "then: unknown key"},
		{"long reason", "{from: 2026-12-18, until: 2027-12-18, reason: " + strings.Repeat("x", 1025) + "}", "reason: has 1025 bytes; the limit is 1024"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, got := parse(t, withWindow(tt.window))
			if want := "9: schedules[0].not_during[0]"; !strings.HasPrefix(got, want) || !strings.Contains(got, tt.want) || strings.Contains(got, "\n") {
				t.Errorf("got %q, want %q with %q", got, want, tt.want)
			}
		})
	}
}

func TestOverlapProblem(t *testing.T) {
	text := strings.Replace(withWindow("{from: 2026-12-18, until: 2027-12-18}"), "cron:", "overlap: forbid\n    cron:", 1)
	_, got := parse(t, text)
	if want := "5: schedules[0].overlap: must be one of allow, skip, queue"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestDefaultsOfASchedule has keys that are set to nothing.
func TestDefaultsOfASchedule(t *testing.T) {
	text := strings.Replace(withWindow("{from: 2026-12-18, until: 2027-12-18, ticks: ''}"), "cron:", "overlap: ''\n    cron:", 1)
	cfg, problems := parse(t, text)
	if problems != "" {
		t.Fatal(problems)
	}
	if s := cfg.Schedules[0]; s.Overlap != "allow" || s.NotDuring[0].Ticks != config.TicksSkip {
		t.Errorf("overlap is %q and ticks %q", s.Overlap, s.NotDuring[0].Ticks)
	}
}
