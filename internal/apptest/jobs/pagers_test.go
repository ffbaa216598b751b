package jobs_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"rekey/internal/apptest"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/notify"
	"rekey/internal/secret"
)

// pagerDuty is a receiver of type pagerduty whose key is a canary.
func pagerDuty(rig *apptest.Rig, name string, h *apptest.Hook, key string) config.Receiver {
	r := rig.Receiver(name, h)
	r.Type, r.URL, r.Endpoint = notify.TypePagerDuty, secret.Ref{}, h.URL+"/v2/enqueue"
	r.Key = secret.Ref{Env: "KEY_" + strings.ToUpper(name)}
	r.Verdicts, r.Timeout = []jobs.Verdict{jobs.VerdictStillAlive, jobs.VerdictReverted}, time.Second
	rig.Env[r.Key.Env] = key
	return r
}

// requests are those that reached a pager, which have no webhook-id, once there are n.
func requests(t *testing.T, h *apptest.Hook, n int) []apptest.Told {
	t.Helper()
	apptest.Eventually(t, "requests to the pager", func() bool { return len(h.Requests()) >= n })
	return h.Requests()
}

// event is what a request to PagerDuty says.
func event(t *testing.T, told apptest.Told) (action, incident, key string) {
	t.Helper()
	var e struct {
		RoutingKey string `json:"routing_key"`
		Action     string `json:"event_action"`
		Key        string `json:"dedup_key"`
	}
	if err := json.Unmarshal([]byte(told.Body), &e); err != nil {
		t.Fatal(err)
	}
	return e.Action, e.Key, e.RoutingKey
}

// TestAPageIsResolvedByALaterSuccess: a refused job opens an incident; its retry closes it; a success of another target sends nothing.
func TestAPageIsResolvedByALaterSuccess(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	hook, down := apptest.NewHook(t, nil), apptest.NewHook(t, nil)
	down.SwitchTo(http.StatusInternalServerError)
	keys := apptest.Canaries{"key": apptest.Canary(), "key of what is down": apptest.Canary()}
	rig.Cfg.Receivers = []config.Receiver{pagerDuty(rig, "pager", hook, keys["key"]), pagerDuty(rig, "down", down, keys["key of what is down"])}
	rig.Cfg.API.PublicURL = "https://rekey.example.com"
	atlas.Script(apptest.HexID(1), apptest.Problem(http.StatusForbidden, "STAND_IN"))
	w := rig.Start(t)
	w.Publish("incident", apptest.X509Disable(apptest.HexID(2)).With("proof", false).String())
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).With("proof", false).String())
	first := requests(t, hook, 1)[0]
	action, incident, key := event(t, first)
	if action != "trigger" || key != keys["key"] || !strings.Contains(first.Body, "https://rekey.example.com/jobs/") {
		t.Errorf("the first request is %s", first.Body)
	}
	client := w.Operator()
	defer client.Close()
	job := ""
	for _, r := range w.Records("") {
		if r.Outcome == jobs.OutcomeRefused {
			job = r.JobID
		}
	}
	if _, err := client.Retry(t.Context(), job, jobs.Operation{At: time.Now(), Action: jobs.ActionRetry, By: "test", Reason: "role granted"}); err != nil {
		t.Fatal(err)
	}
	last := requests(t, hook, 2)
	if action, same, _ := event(t, last[1]); action != "resolve" || same != incident || len(last) != 2 {
		t.Errorf("%d requests; the last one is %s, the incident was %s", len(last), last[1].Body, incident)
	}
	apptest.Eventually(t, "the other one to fail", func() bool {
		return w.Metrics()[`rekey_notifications_total{receiver="down",result="failed"}`] > 0
	})
	keys.SearchEverything(t, w)
}
