package show

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/bus"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/search"
	"rekey/internal/terminal"
)

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
			if got := State(tt.record, now).Cell; terminal.Text(got) != tt.want {
				t.Errorf("stateText = %q, want %q", got, tt.want)
			}
		})
	}
}

// TestStateInList: moments are ages there.
func TestStateInList(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 3, 0, 0, 0, time.Local)
	for want, r := range map[string]jobs.PublicRecord{
		"waiting (in 1m)":      {State: jobs.StateWaiting, RetryAt: now.Add(time.Minute)},
		"waiting (turn in 2m)": {State: jobs.StateWaiting, RetryAt: now.Add(2 * time.Minute), Paced: true},
		"waiting (due)":        {State: jobs.StateWaiting, RetryAt: now.Add(-time.Minute)},
		"queued":               {State: jobs.StateQueued},
	} {
		var out strings.Builder
		table := terminal.NewTable(&out, terminal.Style{Now: now})
		table.Row(stateInList(r, now))
		if err := table.Flush(); err != nil || out.String() != want+"\n" {
			t.Errorf("the state is shown as %q, want %q (%v)", out.String(), want, err)
		}
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
			if got := Attempt(tt.attempt); got != tt.want {
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
		{jobs.RecordedEvent{EventRef: e.EventRef, Contained: "jwt"}, true, "urn:siem 7, which held: jwt"},
		{failed, true, "urn:siem 7, requested by night shift, reason: seen again (duplicate: the job had failed, and nothing was done for this event)"},
	} {
		if got := Event(tt.event, tt.later); got != tt.want {
			t.Errorf("shown as %q, want %q", got, tt.want)
		}
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 3, 0, 0, 0, time.Local)
	limited := []jobs.Attempt{{Attempt: 3, Reason: jobs.ReasonRateLimited}}
	tests := []struct {
		name   string
		record jobs.PublicRecord
		want   string
	}{
		{"queued", jobs.PublicRecord{State: jobs.StateQueued, Lane: jobs.LaneUrgent}, "queued in lane urgent"},
		{"running", jobs.PublicRecord{State: jobs.StateRunning, AttemptCount: 2}, "attempt 2 is under way"},
		{
			"waiting",
			jobs.PublicRecord{State: jobs.StateWaiting, RetryAt: now.Add(2 * time.Second), Attempts: limited},
			"waiting until 03:00:02 after attempt 3: rate_limited",
		},
		{
			"paused before its first attempt",
			jobs.PublicRecord{State: jobs.StateWaiting, RetryAt: now.Add(2 * time.Second)},
			"waiting until 03:00:02",
		},
		{"done", jobs.PublicRecord{State: jobs.StateDone, Outcome: jobs.OutcomeAlreadyGone}, "done: already_gone"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := Progress(tt.record, now); got != tt.want {
				t.Errorf("progress = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestShortTarget(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		target string
		want   string
	}{
		{"project", "project/5ec0000000000000000000f1", "project/5ec0…00f1"},
		{"two ids", "federation/5ec0000000000000000000c1/idp/5ec0000000000000000000d2", "federation/5ec0…00c1/idp/5ec0…00d2"},
		{
			"three ids",
			"federation/5ec0000000000000000000c1/org/5ec0000000000000000000b1/role_mapping/5ec0000000000000000000e1",
			"federation/5ec0…00c1/org/5ec0…00b1/role_mapping/5ec0…00e1",
		},
		{"fingerprint", "sha256:58f9f1b3bdf6", "sha256:58f9f1b3bdf6"},
		{"long path", "file:/run/secrets/a-name-that-is-so-long-that-it-does-not-fit-in-here", "file:/run/secrets/a-name-that-is-so-long-that-it-does-not-f…"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := ShortTarget(tt.target); got != tt.want {
				t.Errorf("ShortTarget(%q) = %q, want %q", tt.target, got, tt.want)
			}
		})
	}
}

// TestLongTextsAreNotCut: on a narrow terminal, what a look showed, what a rotation waits for, and what ends, are read to their ends.
func TestLongTextsAreNotCut(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	waits := jobs.PublicRecord{JobID: "3f9k2c8w5m1x7q0z4r6t8v2y9a", Kind: jobs.RotatingKinds()[0], State: jobs.StateQueued, AcceptedAt: at, Detail: "job 7q0z4r6t8v2y9a3f9k2c8w5m1x, which is being taken back"}
	alive := jobs.PublicRecord{JobID: "3f9k2c8w5m1x7q0z4r6t8v2y9a", Kind: "service_account_secret.delete", Target: "org/5ec0000000000000000000b1/client/mdb_sa_id_0123456789abcdef01234567", Proof: &jobs.Proof{
		Verdict: jobs.VerdictStillAlive, Checks: 3, CheckedAt: at, NextCheckAt: at.Add(time.Minute), Evidence: []jobs.Evidence{{Check: "a", Says: "200: the secret is there, and was used an hour ago"}},
	}}
	for want, show := range map[string]func(*terminal.Table){
		alive.Proof.Why(): func(t *terminal.Table) { Proofs(t, []jobs.PublicRecord{alive}) },
		"taken back":      func(t *terminal.Table) { Rotations(t, []ConfiguredRotation{NewRotation("ci", &waits)}) },
		waits.Detail:      func(t *terminal.Table) { Job(t, &waits) },
		"the last secret of MCP configuration reports: ": func(t *terminal.Table) {
			Status(t, &fleet.Status{At: at, Ends: []fleet.Ending{{Of: "mcp_secret", Name: "reports", At: at.Add(time.Hour)}}})
		},
	} {
		var out strings.Builder
		table := terminal.NewTable(&out, terminal.Style{Width: 80, Now: at})
		show(table)
		if err := table.Flush(); err != nil {
			t.Fatal(err)
		}
		for word := range strings.FieldsSeq(want) {
			if !strings.Contains(out.String(), word) {
				t.Errorf("%q of %q is not in\n%s", word, want, out.String())
			}
		}
	}
}

// TestProofShown: a job's story ends with what is known of its target, by what, and when it is looked at next.
func TestProofShown(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 3, 0, 0, 0, time.Local)
	seen := jobs.Evidence{At: at, Check: "idp", Status: 200, Says: "200: it is there\x1b[0m"}
	pending := jobs.PublicRecord{State: jobs.StateDone, Outcome: jobs.OutcomeRevoked, AcceptedAt: at, Proof: &jobs.Proof{
		Verdict: jobs.VerdictPending, CheckedAt: at, Checks: 2, NextCheckAt: at.Add(5 * time.Second), Evidence: []jobs.Evidence{seen},
	}}
	accepted := pending
	accepted.Proof = &jobs.Proof{Verdict: jobs.VerdictAccepted, CheckedAt: at, Checks: 2, Evidence: []jobs.Evidence{seen}}
	watched := pending
	watched.Proof = &jobs.Proof{
		Verdict: jobs.VerdictRecorded, CheckedAt: at, Checks: 3, VerifiedAt: at.Add(5 * time.Second), NextCheckAt: at.Add(15 * time.Minute),
		Evidence: []jobs.Evidence{{At: at, Check: "events", Says: "IDP_DELETED", EventID: "e1"}},
	}
	for _, tt := range []struct {
		name           string
		record         jobs.PublicRecord
		progress, want string
	}{
		{
			"pending", pending, "proof pending after 2 looks, the next one at 03:00:05: 200: it is there\ufffd[0m",
			"shown by   2 looks\n  idp      2026-11-24 03:00:00.000 200: it is there\ufffd[0m\nnext look  " + terminal.Text(at.Add(5*time.Second)) + "\n",
		},
		{
			"accepted", accepted, "proof accepted after 2 looks: 200: it is there\ufffd[0m",
			"looked at  2 times\n  idp      2026-11-24 03:00:00.000 200: it is there\ufffd[0m\n",
		},
		{
			"watched", watched, "proof recorded after 3 looks: IDP_DELETED",
			"proven by           3 looks, dead 5s after it was asked for\n  events            2026-11-24 03:00:00.000 IDP_DELETED, event e1\n" +
				"watched, next look  " + terminal.Text(at.Add(15*time.Minute)) + "\n",
		},
	} {
		if got := ProofProgress(tt.record, at); got != tt.progress {
			t.Errorf("%s: progress is %q, want %q", tt.name, got, tt.progress)
		}
		var out strings.Builder
		table := terminal.NewTable(&out, terminal.Style{})
		proofFields(table, &tt.record)
		if err := table.Flush(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, out.String()); diff != "" {
			t.Errorf("%s is shown as (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestWhatIsSaidInstead: a job to be cancelled is not said to go on, and a letter of a notification not to be one of its job.
func TestWhatIsSaidInstead(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	shown := func(show func(*terminal.Table)) string {
		var out strings.Builder
		table := terminal.NewTable(&out, terminal.Style{Width: 120, Now: at})
		show(table)
		if err := table.Flush(); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	cancelled := jobs.PublicRecord{JobID: "3f9k", State: jobs.StateWaiting, AcceptedAt: at, RetryAt: at.Add(time.Minute), CancelAsked: true}
	if got := shown(func(t *terminal.Table) { Job(t, &cancelled) }); !strings.Contains(got, "before its next attempt") || strings.Contains(got, "retry at") {
		t.Error(got)
	}
	letters := []bus.DeadLetter{{Number: 1, At: at, Code: "refused", Receiver: "siem", Reason: "HTTP 404"}}
	for _, show := range []func(*terminal.Table){
		func(t *terminal.Table) { DeadLetters(t, letters) },
		func(t *terminal.Table) { Causes(t, fleet.Causes(letters)) },
	} {
		if got := shown(show); !strings.Contains(got, "not sent to siem: HTTP 404") {
			t.Error(got)
		}
	}
}

// TestStatusWarns: where a credential is seen to work while its proof is pending, that is said first, and not that nothing is to be done.
func TestStatusWarns(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	table := terminal.NewTable(&out, terminal.Style{})
	Status(table, &fleet.Status{Warn: []fleet.Action{{Who: "responder", What: "seen: 2", Do: "look"}}, Freshness: &search.Freshness{}, Today: &search.Today{Alive: search.Alive{Seen: search.Some{Jobs: 2, Job: "j1"}}}})
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.HasPrefix(got, "WARN ") || strings.Contains(got, "nothing is to be done") {
		t.Errorf("the status begins without the warning, or calls all well:\n%s", got)
	}
	for _, want := range []string{"responder: seen: 2 → look", "2 seen to work, proof pending;"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the status has no %q:\n%s", want, out.String())
		}
	}
}

// TestChangeWithoutACause: no text ends with a colon that has nothing behind it.
func TestChangeWithoutACause(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	attempt := func(reason jobs.Reason) []jobs.Attempt {
		return []jobs.Attempt{{Attempt: 1, StartedAt: at, FinishedAt: at, Reason: reason}}
	}
	for want, r := range map[string]jobs.PublicRecord{
		"asked for by ops":       {AcceptedAt: at, RequestedBy: "ops"},
		"attempt 1 worked":       {AcceptedAt: at, Attempts: attempt(jobs.ReasonNone)},
		"attempt 1: interrupted": {AcceptedAt: at, Attempts: attempt(jobs.ReasonInterrupted)},
		"cancel by ops":          {AcceptedAt: at, Operations: []jobs.Operation{{At: at.Add(1), Action: jobs.ActionCancel, By: "ops"}}},
		"proof pending":          {AcceptedAt: at, Proof: &jobs.Proof{Verdict: jobs.VerdictPending, Checks: 1, CheckedAt: at.Add(1)}},
	} {
		if _, got := Change(&r); got != want {
			t.Errorf("the change is shown as %q, want %q", got, want)
		}
	}
}
