package intake_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"rekey/internal/apptest"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/policy"
)

func TestAPolicyTurnsAnAlertIntoJobs(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Policies.List = []policy.Rule{apptest.LeakPolicy(), apptest.DisablePolicy()}
	w := rig.Start(t)
	w.Publish("siem", apptest.Leak("first-canary-token", "second-canary-token"))
	w.Publish("siem", apptest.Encoded(map[string]any{"alert": "noise"}))
	w.Publish("siem", apptest.Encoded(map[string]any{"alert": "leak", "found": []any{map[string]any{"owner": apptest.ClientID}}}))
	w.Publish("siem", apptest.Projects(apptest.HexID(1)), "ce-specversion", "1.0", "ce-id", "a", "ce-source", "/siem", "ce-type", "com.example.alert")
	for _, r := range w.Results(3) {
		want := jobs.PublicRecord{Policy: "leak", Reason: "alert 4711", Lane: jobs.LaneUrgent, Account: apptest.Security}
		if r.Record.Kind == kinds.X509Disable {
			want = jobs.PublicRecord{Policy: "disable", Lane: jobs.LaneNormal, Account: apptest.Security}
		}
		got := r.Record
		if got.Policy != want.Policy || got.Reason != want.Reason || got.Lane != want.Lane || got.Account != want.Account ||
			got.Outcome != jobs.OutcomeRevoked || got.Origin != jobs.OriginEvent {
			t.Errorf("the result is %+v, want %+v", got, want)
		}
	}
	if calls := atlas.Await(t, apptest.RevokePath, 2); !strings.Contains(calls[0].Body+calls[1].Body, "second-canary-token") {
		t.Error("the second token is not revoked")
	}
	letter := w.Letters(1)[0]
	apptest.CheckHeaders(t, letter, map[string]string{
		"Rekey-Code": "policy", "Rekey-Policy": "leak", "Rekey-Event-Seq": "3",
		"Rekey-Reason": "policy leak: jobs[0].params.token: item.token: no such key: token (element 0)",
	})
	w.AwaitMetrics(map[string]float64{
		`rekey_events_received_total{result="accepted"}`:                        2,
		`rekey_events_received_total{result="unmatched"}`:                       1,
		`rekey_events_received_total{result="policy_error"}`:                    1,
		`rekey_policy_decisions_total{decision="matched",policy="leak"}`:        1,
		`rekey_policy_decisions_total{decision="not_matched",policy="leak"}`:    2,
		`rekey_policy_decisions_total{decision="error",policy="leak"}`:          1,
		`rekey_policy_decisions_total{decision="limited",policy="leak"}`:        0,
		`rekey_policy_decisions_total{decision="matched",policy="disable"}`:     1,
		`rekey_policy_decisions_total{decision="not_matched",policy="disable"}`: 3,
	})
}

func TestAnEventThatMatchesNothingIsADeadLetterByChoice(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	rig.Cfg.Policies.List = []policy.Rule{apptest.LeakPolicy()}
	rig.Cfg.Intake.Unmatched = config.UnmatchedDeadLetter
	w := rig.Start(t)
	w.Publish("siem", apptest.Encoded(map[string]any{"alert": "noise"}))
	apptest.CheckHeaders(t, w.Letters(1)[0], map[string]string{"Rekey-Code": "unmatched", "Rekey-Reason": "no policy asks for a job, and it is no direct request"})
}

// TestALimitHoldsWhatExceedsItUntilItIsReplayed: the rest is done, and after the cause is
// mended a replay adds what was missing, and nothing twice.
func TestALimitHoldsWhatExceedsItUntilItIsReplayed(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rule := apptest.DisablePolicy()
	rule.Limits.Deny.Projects = []string{apptest.HexID(2)}
	rig.Cfg.Policies.List = []policy.Rule{rule}
	w := rig.Start(t)
	w.Publish("siem", apptest.Projects(apptest.HexID(1), apptest.HexID(2), apptest.HexID(3)))
	w.Results(2)
	apptest.CheckHeaders(t, w.Letters(1)[0], map[string]string{
		"Rekey-Code": "limit", "Rekey-Policy": "disable",
		"Rekey-Reason": "policy disable: limits: x509.disable of project/" + apptest.HexID(2) + ": deny.projects has " + apptest.HexID(2),
	})
	w.Stop()
	rig.Cfg.Policies.List = []policy.Rule{apptest.DisablePolicy()}
	w = rig.Start(t)
	client := w.Operator()
	defer client.Close()
	if _, err := client.Replay(t.Context(), 1, jobs.Operation{By: "jo", Action: jobs.ActionReplay}); err != nil {
		t.Fatal(err)
	}
	w.Results(3)
	for n, want := range map[int]int{1: 1, 2: 1, 3: 1} {
		if got := atlas.Authenticated(apptest.HexID(n)); len(got) != want {
			t.Errorf("project %d got %d calls, want %d", n, len(got), want)
		}
	}
}

// TestTheLimitByTheHourSurvivesARestart: what one worker has let through counts for the next.
func TestTheLimitByTheHourSurvivesARestart(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Policies.List = []policy.Rule{apptest.DisablePolicy()}
	rig.Cfg.Intake.Limits.MaxJobsPerHour = 2
	w := rig.Start(t)
	w.Publish("siem", apptest.Projects(apptest.HexID(1)))
	w.Publish("incident", apptest.X509Disable(apptest.HexID(2)).String()) // Direct requests count, too.
	w.Results(2)
	w.Stop()
	w = rig.Start(t)
	w.Publish("siem", apptest.Projects(apptest.HexID(3)))
	apptest.CheckHeaders(t, w.Letters(1)[0], map[string]string{
		"Rekey-Code": "limit", "Rekey-Reason": "intake.limits.max_jobs_per_hour: 1 of the event's jobs exceed the limit of 2 in an hour",
	})
	if got := atlas.Requests(apptest.HexID(3)); len(got) > 0 {
		t.Errorf("%d calls for a job beyond the limit", len(got))
	}
}

func TestEventsFromAnotherTimeAreHeld(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Intake.MaxEventAge = time.Hour
	w := rig.Start(t)
	at := func(id string, at time.Time) {
		w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String(), "ce-specversion", "1.0", "ce-id", id, "ce-source", "/soar",
			"ce-type", "rekey.job.requested.v1", "ce-time", at.UTC().Format(time.RFC3339))
	}
	at("old", time.Now().Add(-2*time.Hour))
	at("future", time.Now().Add(24*time.Hour))
	for _, letter := range w.Letters(2) {
		want := map[string]string{"old": "ago; intake.max_event_age is 1h0m0s", "future": "in the future; intake.max_clock_skew is 10m0s"}
		if part := want[letter.Header.Get("Rekey-Event-Id")]; letter.Header.Get("Rekey-Code") != "limit" || !strings.HasSuffix(letter.Header.Get("Rekey-Reason"), part) {
			t.Errorf("the dead letter says %s, want %q", letter.Header.Get("Rekey-Reason"), part)
		}
	}
	at("now", time.Now())
	w.Results(1)
	if got := atlas.Authenticated(apptest.HexID(1)); len(got) != 1 {
		t.Errorf("%d calls, want 1", len(got))
	}
}

// TestADryRunStopsBeforeTheCall: by policy or for the whole worker, and a replay after it
// was switched off does what was meant.
func TestADryRunStopsBeforeTheCall(t *testing.T) {
	t.Parallel()
	for _, whole := range []bool{false, true} {
		t.Run(map[bool]string{false: "policy", true: "worker"}[whole], func(t *testing.T) {
			t.Parallel()
			rig, atlas := apptest.StandInRig(t)
			rule := apptest.DisablePolicy()
			rule.DryRun = !whole
			rig.Cfg.Policies.List, rig.Cfg.Worker.DryRun = []policy.Rule{rule}, whole
			w := rig.Start(t)
			w.Publish("siem", apptest.Projects(apptest.HexID(1)), "Nats-Msg-Id", "alert-1")
			r := w.Results(1)[0]
			if r.Record.Outcome != jobs.OutcomeCancelled || !r.Record.Rehearsed() || !r.Record.DryRun ||
				!strings.HasPrefix(r.Record.Detail, "dry run: DELETE ") || r.Subject != "rekey.v1.result.x509-disable.cancelled" {
				t.Errorf("the result on %s is %+v", r.Subject, r.Record)
			}
			for _, call := range atlas.Requests("") {
				if call.Method != http.MethodGet && call.URI != apptest.TokenPath {
					t.Errorf("a dry run made the call %s %s", call.Method, call.URI)
				}
			}
			if got := w.Metrics()[`rekey_jobs_finished_total{kind="x509.disable",outcome="revoked"}`]; got != 0 {
				t.Errorf("%v jobs are counted as revoked", got)
			}
			w.Stop()
			rig.Cfg.Policies.List, rig.Cfg.Worker.DryRun = []policy.Rule{apptest.DisablePolicy()}, false
			w = rig.Start(t)
			w.Publish("operator", apptest.Projects(apptest.HexID(1)), "Rekey-Replay-Source", "nats:REKEY_EVENTS", "Rekey-Replay-Id", "id:alert-1",
				"Rekey-Replay-Subject", "rekey.v1.event.siem")
			if r := w.Results(2)[1].Record; r.Outcome != jobs.OutcomeRevoked || r.DryRun {
				t.Errorf("what was meant is %+v", r)
			}
			if got := atlas.Requests("customerX509"); len(got) != 1 || got[0].Method != http.MethodDelete {
				t.Errorf("%d calls, want one", len(got))
			}
		})
	}
}

// TestWhatAPolicyTakesForASecretStaysInNoStream: under whatever name it came, also when the
// policy erred on the event; what no policy takes an interest in stays as it is.
func TestWhatAPolicyTakesForASecretStaysInNoStream(t *testing.T) {
	t.Parallel()
	const canary = "canary-of-an-odd-name"
	rig, atlas := apptest.StandInRig(t)
	rule := apptest.LeakPolicy()
	rule.When, rule.Jobs[0].Params = "has(event.data.found)", map[string]policy.Expr{"token": "item.seen"}
	rig.Cfg.Policies.List = []policy.Rule{rule}
	w := rig.Start(t)
	found := func(seen ...string) string {
		var list []any
		for _, one := range seen {
			list = append(list, map[string]string{"seen": one, "owner": apptest.ClientID})
		}
		return apptest.Encoded(map[string]any{"id": 1, "found": list})
	}
	w.Publish("siem", found(canary))
	w.Publish("siem", found(canary+"-2", "no token at all"))
	kept := apptest.Encoded(map[string]any{"token_count": 7, "secretary": "jo"})
	w.Publish("siem", kept)
	w.Results(1)
	letter := w.Letters(1)[0]
	apptest.CheckHeaders(t, letter, map[string]string{"Rekey-Code": "policy", "Rekey-Redacted": "true"})
	apptest.Eventually(t, "only what asks for nothing is left", func() bool { return w.Count("REKEY_EVENTS") == 1 && w.Taken() })
	if got := string(w.Messages("REKEY_EVENTS")[0].Data); got != kept {
		t.Errorf("what is left is %s", got)
	}
	if text := string(letter.Data) + apptest.Encoded(letter.Header); strings.Contains(text, canary) {
		t.Errorf("the dead letter shows the secret: %s", text)
	}
	if body := atlas.Await(t, apptest.RevokePath, 1)[0].Body; !strings.Contains(body, canary) {
		t.Errorf("revoked %s", body)
	}
	// The dead letter still holds the event, sealed: with a policy that copes, its replay does the rest.
	w.Stop()
	rule.Jobs[0].ForEach = `event.data.found.filter(f, !f.seen.contains(" "))`
	rig.Cfg.Policies.List = []policy.Rule{rule}
	w = rig.Start(t)
	client := w.Operator()
	defer client.Close()
	if _, err := client.Replay(t.Context(), 1, jobs.Operation{By: "jo", Action: jobs.ActionReplay}); err != nil {
		t.Fatal(err)
	}
	w.Results(2)
	if calls := atlas.Await(t, apptest.RevokePath, 2); !strings.Contains(calls[1].Body, canary+"-2") {
		t.Errorf("revoked %s", calls[1].Body)
	}
}
