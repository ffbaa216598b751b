package intake_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"rekey/internal/apptest"
	"rekey/internal/audit"
	"rekey/internal/config"
	"rekey/internal/door"
	"rekey/internal/refused"
	"rekey/internal/secret"
)

// refusals are all that are in the audit trail, and the messages that have them.
func refusals(t *testing.T, w *apptest.Worker) (list []refused.Refusals, raw string) {
	t.Helper()
	_, err := w.Operator().EachResult(t.Context(), time.Time{}, func(r audit.Result) error {
		if !r.Refusals {
			return nil
		}
		report, err := audit.DecodeRefusals(r)
		list, raw = append(list, report.Refusals...), raw+string(r.Payload)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list, raw
}

// TestRefusalsAreInTheAuditTrail: who was refused where is stored, of the request nothing, and what is taken out is missed.
func TestRefusalsAreInTheAuditTrail(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	rig.Cfg.API.Clients = []config.APIClient{{Name: "viewer", Token: secret.Ref{File: apptest.InFile(t, "v1ewer-token-of-the-test")}, May: []config.Permission{config.MayRead}}}
	rig.Env["HUB"] = "k3y-of-the-test"
	withDoors(t, rig, config.Door{Name: "github", Type: door.TypeGitHub, Secret: secret.Ref{Env: "HUB"}})
	w := rig.Start(t)
	canary := apptest.Canary()
	ask := func(path, token string) {
		t.Helper()
		q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+w.API+path, strings.NewReader(`{"kind":"`+canary+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Authorization", "Bearer "+token)
		q.Header.Set("User-Agent", canary)
		resp, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != 401 && resp.StatusCode != 403 {
			t.Errorf("%s: %d %v", path, resp.StatusCode, err)
		}
	}
	ask("/v1/jobs", canary)
	ask("/v1/jobs?q="+canary, canary)
	ask("/v1/jobs", "v1ewer-token-of-the-test")
	ask("/in/github?x="+canary, canary)
	apptest.Eventually(t, "the report", func() bool { list, _ := refusals(t, w); return len(list) > 0 })
	ask("/v1/events/"+canary[:20], canary) // It is written when the worker stops.
	w.Stop()
	w = rig.Start(t)
	got, raw := refusals(t, w)
	network := func(n uint64) []refused.Network { return []refused.Network{{Network: "127.0.0.0/24", Count: n}} }
	want := []refused.Refusals{
		{Key: refused.Key{Route: "POST /v1/jobs", Status: 401, Code: "unauthorized"}, Count: refused.Count{Count: 2}, Networks: network(2)},
		{Key: refused.Key{Client: "viewer", Route: "POST /v1/jobs", Status: 403, Code: "forbidden"}, Count: refused.Count{Count: 1}, Networks: network(1)},
		{Key: refused.Key{Door: "github", Route: "/in/{door}", Status: 401, Code: "unauthorized"}, Count: refused.Count{Count: 1}, Networks: network(1)},
		{Key: refused.Key{Route: "POST /v1/events/{class}", Status: 401, Code: "unauthorized"}, Count: refused.Count{Count: 1}, Networks: network(1)},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(refused.Count{}, "First", "Last")); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
	if strings.Contains(raw, canary) || strings.Contains(raw, canary[:20]) {
		t.Errorf("a part of a request is in the trail: %s", raw)
	}
	if report := w.Verify(); report.Refusals != 2 || report.Results != 0 || report.Chains != 1 || len(report.Problems) != 0 {
		t.Errorf("%+v", report)
	}
	stream, err := w.Js.Stream(t.Context(), "REKEY_RESULTS")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if report := w.Verify(); len(report.Problems) != 1 || report.Problems[0].Code != "cut" {
		t.Errorf("without the latest report: %+v", report)
	}
}
