package demo

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"rekey/internal/atlas/sandbox"
	"rekey/internal/bus"
	"rekey/internal/jobs"
)

func TestPauseBetween(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	call := func(operation string, after time.Duration, status int) sandbox.Request {
		return sandbox.Request{Operation: operation, At: at.Add(after), Status: status}
	}
	tests := []struct {
		name     string
		requests []sandbox.Request
		want     time.Duration
	}{
		{"no call", nil, 0},
		{"one call", []sandbox.Request{call("jwks.revoke", 0, 429)}, 0},
		{
			"two calls among others",
			[]sandbox.Request{
				call("idp.delete", 0, 204), call("jwks.revoke", time.Second, 429), call("idp.delete", 2*time.Second, 204),
				call("jwks.revoke", 3*time.Second, 204), call("jwks.revoke", 9*time.Second, 204),
			},
			2 * time.Second,
		},
		{
			"the question of a digest is no call",
			[]sandbox.Request{
				call("jwks.revoke", 0, http.StatusUnauthorized), call("jwks.revoke", time.Second, 429),
				call("jwks.revoke", 4*time.Second, 204),
			},
			3 * time.Second,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := pauseBetween(tt.requests, "jwks.revoke"); got != tt.want {
				t.Errorf("pauseBetween = %s, want %s", got, tt.want)
			}
		})
	}
}

func TestShown(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		line string
		want bool
	}{
		{"counted", `rekey_jobs_finished_total{kind="idp.delete",outcome="revoked"} 1`, true},
		{"ten", `rekey_dead_letters 10`, true},
		{"not counted", `rekey_jobs_finished_total{kind="idp.delete",outcome="refused"} 0`, false},
		{"another metric", `rekey_nats_connected 1`, false},
		{"help", `# HELP rekey_dead_letters Dead letters.`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := shown(tt.line); got != tt.want {
				t.Errorf("shown(%q) = %t, want %t", tt.line, got, tt.want)
			}
		})
	}
}

func TestAllDone(t *testing.T) {
	t.Parallel()
	everyKind := func(change func(*jobs.PublicRecord)) []jobs.PublicRecord {
		var list []jobs.PublicRecord
		for _, kind := range jobs.Kinds()[:kindsShown] {
			list = append(list, jobs.PublicRecord{Kind: kind, State: jobs.StateDone, Outcome: jobs.OutcomeRevoked})
		}
		change(&list[0])
		return list
	}
	tests := []struct {
		name     string
		list     []jobs.PublicRecord
		wantDone bool
		wantDead bool
	}{
		{"nothing", nil, false, false},
		{"a kind is missing", everyKind(func(*jobs.PublicRecord) {})[1:], false, false},
		{"all", everyKind(func(*jobs.PublicRecord) {}), true, true},
		{"one waits", everyKind(func(r *jobs.PublicRecord) { r.State, r.Outcome = jobs.StateWaiting, "" }), false, false},
		{"one has no verdict yet", everyKind(func(r *jobs.PublicRecord) { r.Proof = &jobs.Proof{Verdict: jobs.VerdictPending} }), false, true},
		{"one is refused", everyKind(func(r *jobs.PublicRecord) { r.Outcome = jobs.OutcomeRefused }), true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := allDone(tt.list); got != tt.wantDone {
				t.Errorf("allDone = %t, want %t", got, tt.wantDone)
			}
			if got := allDead(tt.list); got != tt.wantDead {
				t.Errorf("allDead = %t, want %t", got, tt.wantDead)
			}
		})
	}
}

// TestDemoFailsWhenPromisesBreak lets the demo judge a run in which nothing happened.
func TestDemoFailsWhenPromisesBreak(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	d := &demo{Config: Config{Out: &out, Width: 80}}
	box, _, err := NewSandbox(sandbox.Config{}, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	d.box, d.token = box, box.MintToken(sandbox.ClientID)
	if err := d.checks(nil, []bus.DeadLetter{{Number: 1, Reason: "expired"}}); err == nil {
		t.Error("the demo is content")
	}
	if got := strings.Count(out.String(), "✗"); got != 10 {
		t.Errorf("%d of 10 checks failed:\n%s", got, out.String())
	}
	for line := range strings.Lines(out.String()) {
		if n := len([]rune(line)) - 1; n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}
