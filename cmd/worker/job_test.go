package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

func TestSince(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	tests := []struct {
		name    string
		text    string
		want    time.Time
		wantErr bool
	}{
		{"nothing", "", time.Time{}, false},
		{"age", "24h", now.Add(-24 * time.Hour), false},
		{"days", "30d", now.AddDate(0, 0, -30), false},
		{"days in the future", "-3d", time.Time{}, true},
		{"time", "2026-11-23T12:00:00Z", time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), false},
		{"time in a zone", "2026-11-23T12:00:00+01:00", time.Date(2026, 11, 23, 11, 0, 0, 0, time.UTC), false},
		{"the future", "-1h", time.Time{}, true},
		{"no unit", "24", time.Time{}, true},
		{"a word", "yesterday", time.Time{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := since(tt.text)
			if (err != nil) != tt.wantErr || err == nil && !got(now).Equal(tt.want) {
				t.Errorf("since(%q): error %v, want one %t, and of no error %s", tt.text, err, tt.wantErr, tt.want)
			}
		})
	}
}

func TestMember(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		value   string
		want    jobs.State
		wantErr string
	}{
		{"nothing", "", "", ""},
		{"a member", "waiting", jobs.StateWaiting, ""},
		{"another word", "dead", "", "--state must be one of queued, running, waiting, done"},
		{"capitals", "Waiting", "", "--state must be one of queued, running, waiting, done"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := member("--state", tt.value, jobs.States())
			if got != tt.want || errorText(err) != tt.wantErr {
				t.Errorf("member(%q) = %q, %v; want %q, %q", tt.value, got, err, tt.want, tt.wantErr)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestListFlagsFilter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	flags := listFlags{
		state: "done", kind: "jwks.revoke", outcome: "refused", target: "00d2", event: "e1", since: "1h", limit: 7,
	}
	got, begin, err := flags.filter()
	if err != nil {
		t.Fatal(err)
	}
	got.Since = begin(now)
	want := fleet.Query{
		State: jobs.StateDone, Kind: kinds.JWKSRevoke, Outcome: jobs.OutcomeRefused, Target: "00d2", Event: "e1",
		Since: now.Add(-time.Hour), Limit: 7,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("filter (-want +got):\n%s", diff)
	}
}
