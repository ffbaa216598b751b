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

// scheduleProblems parses a file with two accounts and one schedule, given as the inside of a
// flow mapping, and returns what is wrong.
func scheduleProblems(t *testing.T, schedule string) string {
	t.Helper()
	_, got := parse(t, `atlas:
  accounts:
    - {name: a, public_key: k, private_key_env: K}
    - {name: b, public_key: k, private_key_env: K}
schedules:
  - {`+schedule+"}\n")
	return got
}

func TestScheduleProblems(t *testing.T) {
	const job = "job: {kind: token.revoke, account: a, params: {token_file: /t}}"
	const fields = "must be a time zone that this machine knows by its IANA name, such as Europe/Berlin or UTC"
	tests := []struct{ name, schedule, want string }{
		{name: "no name", schedule: "cron: '@daily', " + job, want: "name: is required"},
		{name: "bad name", schedule: "name: a.b, cron: '@daily', " + job, want: "name: must be 1 to 64 lower-case letters, digits, - and _"},
		{name: "no cron", schedule: "name: s, " + job, want: `cron: is required: five fields such as "0 3 * * 0", a word such as @daily, or @every 6h`},
		{name: "bad cron", schedule: "name: s, cron: '0 3 * *', " + job, want: "cron: the expression has 4 of 5 fields: minute, hour, day of month, month, day of week"},
		{name: "bad time zone", schedule: "name: s, cron: '@daily', time_zone: Mars/Base, " + job, want: "time_zone: " + fields},
		{name: "local time zone", schedule: "name: s, cron: '@daily', time_zone: Local, " + job, want: "time_zone: " + fields},
		{name: "negative jitter", schedule: "name: s, cron: '@daily', jitter: -1s, " + job, want: "jitter: must be from 0s to 24h, not -1s"},
		{name: "bad missed", schedule: "name: s, cron: '@daily', missed: twice, " + job, want: "missed: must be one of skip, once, all"},
		{name: "no lateness", schedule: "name: s, cron: '@daily', max_late: 0, " + job, want: "max_late: must be from 1s to 8760h, not 0s"},
		{name: "no job", schedule: "name: s, cron: '@daily'", want: "job: is required"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, want := scheduleProblems(t, tt.schedule), "6: schedules[0]."+tt.want; got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestScheduleNamesAndExpressions(t *testing.T) {
	got := scheduleProblems(t, "name: s, cron: '61 * *', time_zone: Mars/Base, job: {kind: token.revoke, account: a, params: {token_file: /t}}}\n"+
		"  - {name: s, cron: '61 25 * * *', job: {kind: token.revoke, account: b, params: {token_file: /t}}")
	lines := strings.Split(got, "\n")
	want := []string{
		"6: schedules[0].cron: the expression has 3 of 5 fields",
		"6: schedules[0].time_zone: must be a time zone",
		"7: schedules[1].name: is taken: the same name is on line 6",
		"7: schedules[1].cron: minute (field 1): ",
	}
	if len(lines) != len(want) {
		t.Fatalf("got %d problems, want %d:\n%s", len(lines), len(want), got)
	}
	for i := range want {
		if !strings.HasPrefix(lines[i], want[i]) {
			t.Errorf("got %q, want it to begin with %q", lines[i], want[i])
		}
	}
}

func TestScheduledJobProblems(t *testing.T) {
	const x509 = "kind: x509.disable, account: a, params: {project_id: 0123456789abcdef01234567}"
	kinds := kindList()
	tests := []struct{ name, job, want string }{
		{name: "no kind", job: "account: a", want: "kind: is required; the kinds are " + kinds},
		{name: "bad kind", job: "kind: token.delete, account: a", want: "kind: unknown kind; the kinds are " + kinds},
		{name: "kind of another type", job: "kind: 5, account: a", want: "kind: must be a string, not a number: put it in quotes"},
		{name: "no account", job: "kind: token.revoke, params: {token_file: /t}", want: "account: is required, as there are several accounts: a and b"},
		{name: "unknown account", job: "kind: token.revoke, account: c, params: {token_file: /t}", want: "account: is not the name of an account; there is a and b"},
		{name: "lane", job: x509 + ", lane: fast", want: "lane: unknown lane; the lanes are urgent, normal, bulk"},
		{name: "long reason", job: x509 + ", reason: " + strings.Repeat("a", 1025), want: "reason: has 1025 bytes; the limit is 1024"},
		{name: "long requester", job: x509 + ", requested_by: " + strings.Repeat("a", 1025), want: "requested_by: has 1025 bytes; the limit is 1024"},
		{name: "no params", job: "kind: x509.disable, account: a", want: "params.project_id: required by x509.disable"},
		{name: "params of another type", job: "kind: x509.disable, account: a, params: [x]", want: "params: must be a mapping (key: value), not a list"},
		{name: "number as param", job: "kind: x509.disable, account: a, params: {project_id: 5}", want: "params.project_id: must be a string, not a number: put it in quotes"},
		{name: "null as param", job: "kind: x509.disable, account: a, params: {project_id: }", want: "params.project_id: must be a string, not nothing"},
		{name: "bad id", job: "kind: x509.disable, account: a, params: {project_id: " + canary + "}", want: "params.project_id: must be 24 lower-case hexadecimal digits"},
		{name: "misspelt param", job: "kind: x509.disable, account: a, params: {project: 0123456789abcdef01234567}", want: "params.project: unknown parameter; did you mean project_id?"},
		{name: "misspelt token file", job: "kind: token.revoke, account: a, params: {tokenfile: /t}", want: "params.tokenfile: unknown parameter; did you mean token_file?"},
		{name: "other param", job: "kind: x509.disable, account: a, params: {project_id: 0123456789abcdef01234567, zzz: x}", want: "params.zzz: unknown parameter; x509.disable takes project_id"},
		{name: "inline token", job: "kind: token.revoke, account: a, params: {token: " + canary + "}", want: "params.token: secrets are never written here: use token_file"},
		{name: "no token", job: "kind: token.revoke, account: a, params: {}", want: "params: token.revoke needs exactly one of token, token_file, token_sealed, token_ref"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := scheduleProblems(t, "name: s, cron: '@daily', job: {"+tt.job+"}")
			if want := "6: schedules[0].job." + tt.want; got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if strings.Contains(got, canary) {
				t.Error("the error shows a secret")
			}
		})
	}
}

func TestScheduleWithoutAccounts(t *testing.T) {
	_, got := parse(t, "schedules: [{name: s, cron: '@daily', job: {kind: token.revoke, params: {token_file: /t}}}]\n")
	if want := "1: schedules[0].job.account: there are no accounts under atlas.accounts"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
