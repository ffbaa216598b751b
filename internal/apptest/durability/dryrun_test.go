package durability_test

import (
	"net/http"
	"strings"
	"testing"

	"rekey/internal/apptest"
	"rekey/internal/jobs"
)

// TestDryRunOfOneRequest: it is repeated after a kill, changes nothing, leaks nothing, and is no duplicate of the request itself.
func TestDryRunOfOneRequest(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Atlas.Timeout = apptest.CrashTimeout
	canary := apptest.Canary()
	atlas.Script(apptest.HexID(1), apptest.Holding(make(chan struct{})))
	process, url := rig.StartToKill(t)
	victim := apptest.DialNATS(t, url)
	publish := func(s *apptest.Stranger, dry bool) {
		s.Publish("incident", apptest.X509Disable(apptest.HexID(1)).With("dry_run", dry).CloudEvent("urn:soar", "IR-1"))
		s.Publish("incident", apptest.TokenRevoke(canary).With("dry_run", dry).CloudEvent("urn:soar", "IR-2"))
	}
	publish(victim, true)
	atlas.Await(t, apptest.HexID(1), 1)
	apptest.Eventually(t, "the event with the token to be erased", func() bool { return victim.Count("REKEY_EVENTS") == 1 })
	process.Kill()
	victim.Nc.Close()
	w := rig.Beside("worker-2").Start(t)
	for _, r := range w.Results(2) {
		if r.Record.Outcome != jobs.OutcomeCancelled || !r.Record.Rehearsed() || !r.Record.DryRun || r.Record.AttemptsMaybeEffective != 0 ||
			!strings.HasPrefix(r.Record.Detail, "dry run: ") || !strings.Contains(r.Record.Detail, " /api/") {
			t.Errorf("the dry run is %s", apptest.Encoded(r.Record))
		}
	}
	if r := w.ResultOf(apptest.HexID(1)); r.AttemptCount != 2 || r.Attempts[0].Reason != jobs.ReasonInterrupted {
		t.Errorf("the dry run whose worker was killed is %s", apptest.Encoded(r))
	}
	for _, call := range atlas.Requests("") {
		if call.Method != http.MethodGet && call.URI != apptest.TokenPath {
			t.Errorf("a dry run made the call %s %s", call.Method, call.URI)
		}
	}
	apptest.Canaries{"token": canary}.SearchEverything(t, w)
	publish(w.Stranger, false)
	for _, r := range w.Results(4)[2:] {
		if r.Record.Outcome != jobs.OutcomeRevoked || r.Record.DryRun {
			t.Errorf("the request itself is %s", apptest.Encoded(r.Record))
		}
	}
	w.Settled()
	if got := len(w.Results(4)); got != 4 {
		t.Errorf("there are %d results, want 4", got)
	}
}
