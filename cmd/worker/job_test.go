package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/ledger"
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
	want := ledger.Filter{
		State: jobs.StateDone, Kind: kinds.JWKSRevoke, Outcome: jobs.OutcomeRefused, Target: "00d2", Event: "e1",
		Since: now.Add(-time.Hour), Limit: 7,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("filter (-want +got):\n%s", diff)
	}
}

func TestStateText(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 3, 0, 0, 0, time.Local)
	tests := []struct {
		name   string
		record jobs.PublicRecord
		want   string
	}{
		{"queued", jobs.PublicRecord{State: jobs.StateQueued}, "queued"},
		{"running", jobs.PublicRecord{State: jobs.StateRunning}, "running"},
		{"waiting", jobs.PublicRecord{State: jobs.StateWaiting, RetryAt: now.Add(time.Minute)}, "waiting until 03:01:00"},
		{"done", jobs.PublicRecord{State: jobs.StateDone, Outcome: jobs.OutcomeExhausted}, "exhausted"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := stateText(tt.record, now); got != tt.want {
				t.Errorf("stateText = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAttemptLine(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 3, 0, 0, 250e6, time.Local)
	end := at.Add(12 * time.Millisecond)
	tests := []struct {
		name    string
		attempt jobs.Attempt
		want    string
	}{
		{
			"under way",
			jobs.Attempt{Worker: "w1", StartedAt: at},
			"2026-11-24 03:00:00.250 under way on w1",
		},
		{
			"worked",
			jobs.Attempt{StartedAt: at, FinishedAt: end, Reason: jobs.ReasonNone, Status: 204, MaybeEffective: true},
			"2026-11-24 03:00:00.250 worked after 12ms, HTTP 204",
		},
		{
			"told to wait",
			jobs.Attempt{
				StartedAt: at, FinishedAt: end, Reason: jobs.ReasonRateLimited, Status: 429, ErrorCode: "RATE_LIMITED",
				RetryAt: at.Add(2 * time.Second), RequestID: "r1", Error: "HTTP 429 RATE_LIMITED: Slow down.",
			},
			"2026-11-24 03:00:00.250 rate_limited after 12ms, HTTP 429 RATE_LIMITED, next not before 03:00:02.250, request r1: Slow down.",
		},
		{
			"told to wait too long",
			jobs.Attempt{
				StartedAt: at, FinishedAt: end, Reason: jobs.ReasonUnavailable, Status: 503,
				RetryAt: at.Add(time.Hour), RetryAfterCapped: true,
			},
			"2026-11-24 03:00:00.250 unavailable after 12ms, HTTP 503, next not before 04:00:00.250 (the API said later)",
		},
		{
			"answer lost",
			jobs.Attempt{StartedAt: at, FinishedAt: end, Reason: jobs.ReasonUnavailable, Error: "EOF", MaybeEffective: true},
			"2026-11-24 03:00:00.250 unavailable after 12ms, may have taken effect: EOF",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := attemptLine(tt.attempt); got != tt.want {
				t.Errorf("attemptLine:\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestEventLine: each event on a job's record is shown with what it says for itself.
func TestEventLine(t *testing.T) {
	t.Parallel()
	e := jobs.RecordedEvent{EventRef: jobs.EventRef{Source: "urn:siem", ID: "7"}, Reason: "seen again", RequestedBy: "night shift"}
	failed := e
	failed.Duplicate = true
	for _, tt := range []struct {
		event jobs.RecordedEvent
		later bool
		want  string
	}{
		{e, false, "urn:siem 7"},
		{e, true, "urn:siem 7, requested by night shift, reason: seen again"},
		{jobs.RecordedEvent{EventRef: e.EventRef}, true, "urn:siem 7"},
		{failed, true, "urn:siem 7, requested by night shift, reason: seen again (duplicate: the job had failed, and nothing was done for this event)"},
	} {
		if got := eventLine(tt.event, tt.later); got != tt.want {
			t.Errorf("shown as %q, want %q", got, tt.want)
		}
	}
}
