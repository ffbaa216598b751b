package app_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/policy"
)

// leakPolicy revokes the tokens of an alert.
func leakPolicy() policy.Rule {
	return policy.Rule{
		Name: "leak", On: policy.On{Subjects: []string{"rekey.v1.event.siem"}}, When: `event.data.?alert.orValue("") == "leak"`,
		Jobs: []policy.Job{{
			Kind: jobs.TokenRevoke, ForEach: "event.data.found", Params: map[string]policy.Expr{"token": "item.token"},
			Account: "accounts.by_client_id(item.owner)", Lane: `"urgent"`, Reason: `"alert " + string(event.data.id)`,
		}},
	}
}

// disablePolicy disables X.509 in the projects of an alert.
func disablePolicy() policy.Rule {
	return policy.Rule{
		Name: "disable", When: "has(event.data.projects)",
		Jobs: []policy.Job{{
			Kind: jobs.X509Disable, ForEach: "event.data.projects", Params: map[string]policy.Expr{"project_id": "item"},
			Account: `"security"`,
		}},
	}
}

// leak is an alert about these tokens.
func leak(tokens ...string) string {
	found := make([]map[string]string, len(tokens))
	for i, token := range tokens {
		found[i] = map[string]string{"token": token, "owner": clientID}
	}
	return encoded(map[string]any{"alert": "leak", "id": 4711, "found": found})
}

func projects(ids ...string) string { return encoded(map[string]any{"projects": ids}) }

func TestAPolicyTurnsAnAlertIntoJobs(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Policies.List = []policy.Rule{leakPolicy(), disablePolicy()}
	w := rig.start(t)
	w.publish("siem", leak("first-canary-token", "second-canary-token"))
	w.publish("siem", encoded(map[string]any{"alert": "noise"}))
	w.publish("siem", encoded(map[string]any{"alert": "leak", "found": []any{map[string]any{"owner": clientID}}}))
	w.publish("siem", projects(hexID(1)), "ce-specversion", "1.0", "ce-id", "a", "ce-source", "/siem", "ce-type", "com.example.alert")
	for _, r := range w.results(3) {
		want := jobs.Record{Policy: "leak", Reason: "alert 4711", Lane: jobs.LaneUrgent, Account: security}
		if r.record.Kind == jobs.X509Disable {
			want = jobs.Record{Policy: "disable", Lane: jobs.LaneNormal, Account: security}
		}
		got := r.record
		if got.Policy != want.Policy || got.Reason != want.Reason || got.Lane != want.Lane || got.Account != want.Account ||
			got.Outcome != jobs.OutcomeRevoked || got.Origin != jobs.OriginEvent {
			t.Errorf("the result is %+v, want %+v", got, want)
		}
	}
	if calls := atlas.await(t, revokePath, 2); !strings.Contains(calls[0].body+calls[1].body, "second-canary-token") {
		t.Error("the second token is not revoked")
	}
	letter := w.letters(1)[0]
	checkHeaders(t, letter, map[string]string{
		"Rekey-Code": "policy", "Rekey-Policy": "leak", "Rekey-Event-Seq": "3",
		"Rekey-Reason": "policy leak: jobs[0].params.token: item.token: no such key: token (element 0)",
	})
	eventually(t, "all events are counted", func() bool {
		samples := w.metrics()
		return samples[`rekey_events_received_total{result="accepted"}`] == 2 && samples[`rekey_events_received_total{result="unmatched"}`] == 1 &&
			samples[`rekey_events_received_total{result="policy_error"}`] == 1
	})
	samples := w.metrics()
	for series, want := range map[string]float64{
		`rekey_policy_decisions_total{decision="matched",policy="leak"}`:        1,
		`rekey_policy_decisions_total{decision="not_matched",policy="leak"}`:    2,
		`rekey_policy_decisions_total{decision="error",policy="leak"}`:          1,
		`rekey_policy_decisions_total{decision="limited",policy="leak"}`:        0,
		`rekey_policy_decisions_total{decision="matched",policy="disable"}`:     1,
		`rekey_policy_decisions_total{decision="not_matched",policy="disable"}`: 3,
	} {
		if samples[series] != want {
			t.Errorf("%s is %v, want %v", series, samples[series], want)
		}
	}
}

func TestAnEventThatMatchesNothingIsADeadLetterByChoice(t *testing.T) {
	t.Parallel()
	rig, _ := standInRig(t)
	rig.cfg.Policies.List = []policy.Rule{leakPolicy()}
	rig.cfg.Intake.Unmatched = config.UnmatchedDeadLetter
	w := rig.start(t)
	w.publish("siem", encoded(map[string]any{"alert": "noise"}))
	checkHeaders(t, w.letters(1)[0], map[string]string{"Rekey-Code": "unmatched", "Rekey-Reason": "no policy asks for a job, and it is no direct request"})
}

// TestALimitHoldsWhatExceedsItUntilItIsReplayed: the rest is done, and after the cause is
// mended a replay adds what was missing, and nothing twice.
func TestALimitHoldsWhatExceedsItUntilItIsReplayed(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rule := disablePolicy()
	rule.Limits.Deny.Projects = []string{hexID(2)}
	rig.cfg.Policies.List = []policy.Rule{rule}
	w := rig.start(t)
	w.publish("siem", projects(hexID(1), hexID(2), hexID(3)))
	w.results(2)
	checkHeaders(t, w.letters(1)[0], map[string]string{
		"Rekey-Code": "limit", "Rekey-Policy": "disable",
		"Rekey-Reason": "policy disable: limits: x509.disable of project/" + hexID(2) + ": deny.projects has " + hexID(2),
	})
	w.stop()
	rig.cfg.Policies.List = []policy.Rule{disablePolicy()}
	w = rig.start(t)
	client := w.operator()
	defer client.Close()
	if _, err := client.Replay(t.Context(), 1, jobs.Operation{By: "jo", Action: jobs.ActionReplay}); err != nil {
		t.Fatal(err)
	}
	w.results(3)
	for n, want := range map[int]int{1: 1, 2: 1, 3: 1} {
		if got := atlas.authenticated(hexID(n)); len(got) != want {
			t.Errorf("project %d got %d calls, want %d", n, len(got), want)
		}
	}
}

// TestTheLimitByTheHourSurvivesARestart: what one worker has let through counts for the next.
func TestTheLimitByTheHourSurvivesARestart(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Policies.List = []policy.Rule{disablePolicy()}
	rig.cfg.Intake.Limits.MaxJobsPerHour = 2
	w := rig.start(t)
	w.publish("siem", projects(hexID(1)))
	w.publish("incident", x509Disable(hexID(2)).String()) // Direct requests count, too.
	w.results(2)
	w.stop()
	w = rig.start(t)
	w.publish("siem", projects(hexID(3)))
	checkHeaders(t, w.letters(1)[0], map[string]string{
		"Rekey-Code": "limit", "Rekey-Reason": "intake.limits.max_jobs_per_hour: 1 of the event's jobs exceed the limit of 2 in an hour",
	})
	if got := atlas.requests(hexID(3)); len(got) > 0 {
		t.Errorf("%d calls for a job beyond the limit", len(got))
	}
}

func TestEventsFromAnotherTimeAreHeld(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Intake.MaxEventAge = time.Hour
	w := rig.start(t)
	at := func(id string, at time.Time) {
		w.publish("incident", x509Disable(hexID(1)).String(), "ce-specversion", "1.0", "ce-id", id, "ce-source", "/soar",
			"ce-type", "rekey.job.requested.v1", "ce-time", at.UTC().Format(time.RFC3339))
	}
	at("old", time.Now().Add(-2*time.Hour))
	at("future", time.Now().Add(24*time.Hour))
	for _, letter := range w.letters(2) {
		want := map[string]string{"old": "ago; intake.max_event_age is 1h0m0s", "future": "in the future; intake.max_clock_skew is 10m0s"}
		if part := want[letter.Header.Get("Rekey-Event-Id")]; letter.Header.Get("Rekey-Code") != "limit" || !strings.HasSuffix(letter.Header.Get("Rekey-Reason"), part) {
			t.Errorf("the dead letter says %s, want %q", letter.Header.Get("Rekey-Reason"), part)
		}
	}
	at("now", time.Now())
	w.results(1)
	if got := atlas.authenticated(hexID(1)); len(got) != 1 {
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
			rig, atlas := standInRig(t)
			rule := disablePolicy()
			rule.DryRun = !whole
			rig.cfg.Policies.List, rig.cfg.Worker.DryRun = []policy.Rule{rule}, whole
			w := rig.start(t)
			w.publish("siem", projects(hexID(1)), "Nats-Msg-Id", "alert-1")
			r := w.results(1)[0]
			if r.record.Outcome != jobs.OutcomeCancelled || r.record.Known != jobs.KnownDryRun || !r.record.DryRun ||
				!strings.HasPrefix(r.record.Detail, "dry run: DELETE ") || r.subject != "rekey.v1.result.x509-disable.cancelled" {
				t.Errorf("the result on %s is %+v", r.subject, r.record)
			}
			for _, call := range atlas.requests("") {
				if call.method != http.MethodGet && call.uri != tokenPath {
					t.Errorf("a dry run made the call %s %s", call.method, call.uri)
				}
			}
			if got := w.metrics()[`rekey_jobs_finished_total{kind="x509.disable",outcome="revoked"}`]; got != 0 {
				t.Errorf("%v jobs are counted as revoked", got)
			}
			w.stop()
			rig.cfg.Policies.List, rig.cfg.Worker.DryRun = []policy.Rule{disablePolicy()}, false
			w = rig.start(t)
			w.publish("operator", projects(hexID(1)), "Rekey-Replay-Source", "nats:REKEY_EVENTS", "Rekey-Replay-Id", "id:alert-1",
				"Rekey-Replay-Subject", "rekey.v1.event.siem")
			if r := w.results(2)[1].record; r.Outcome != jobs.OutcomeRevoked || r.DryRun {
				t.Errorf("what was meant is %+v", r)
			}
			if got := atlas.requests("customerX509"); len(got) != 1 || got[0].method != http.MethodDelete {
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
	rig, atlas := standInRig(t)
	rule := leakPolicy()
	rule.When, rule.Jobs[0].Params = "has(event.data.found)", map[string]policy.Expr{"token": "item.seen"}
	rig.cfg.Policies.List = []policy.Rule{rule}
	w := rig.start(t)
	found := func(seen ...string) string {
		var list []any
		for _, one := range seen {
			list = append(list, map[string]string{"seen": one, "owner": clientID})
		}
		return encoded(map[string]any{"id": 1, "found": list})
	}
	w.publish("siem", found(canary))
	w.publish("siem", found(canary+"-2", "no token at all"))
	kept := encoded(map[string]any{"token_count": 7, "secretary": "jo"})
	w.publish("siem", kept)
	w.results(1)
	letter := w.letters(1)[0]
	checkHeaders(t, letter, map[string]string{"Rekey-Code": "policy", "Rekey-Redacted": "true"})
	eventually(t, "only what asks for nothing is left", func() bool { return w.count("REKEY_EVENTS") == 1 && w.taken() })
	if got := string(w.messages("REKEY_EVENTS")[0].Data); got != kept {
		t.Errorf("what is left is %s", got)
	}
	if text := string(letter.Data) + encoded(letter.Header); strings.Contains(text, canary) {
		t.Errorf("the dead letter shows the secret: %s", text)
	}
	if body := atlas.await(t, revokePath, 1)[0].body; !strings.Contains(body, canary) {
		t.Errorf("revoked %s", body)
	}
	// The dead letter still holds the event, sealed: with a policy that copes, its replay does the rest.
	w.stop()
	rule.Jobs[0].ForEach = `event.data.found.filter(f, !f.seen.contains(" "))`
	rig.cfg.Policies.List = []policy.Rule{rule}
	w = rig.start(t)
	client := w.operator()
	defer client.Close()
	if _, err := client.Replay(t.Context(), 1, jobs.Operation{By: "jo", Action: jobs.ActionReplay}); err != nil {
		t.Fatal(err)
	}
	w.results(2)
	if calls := atlas.await(t, revokePath, 2); !strings.Contains(calls[1].body, canary+"-2") {
		t.Errorf("revoked %s", calls[1].body)
	}
}
