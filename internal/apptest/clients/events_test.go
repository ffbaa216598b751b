package clients_test

import (
	"strings"
	"testing"

	"rekey/internal/apptest"
	"rekey/internal/jobs"
)

// TestEvents: what a client publishes is an event like any other, with its secrets sealed.
func TestEvents(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Policies.List = append(rig.Cfg.Policies.List, apptest.LeakPolicy(), apptest.DisablePolicy())
	w := withAPI(t, rig).Start(t)
	secrets := apptest.Canaries{"opaque token": "tok/" + apptest.Canary(), "token of a direct request": apptest.Canary(), "token of a CloudEvent": apptest.Canary()}
	send := func(class string, body any, header ...string) answer {
		t.Helper()
		return as(w, soar).do("POST", "/v1/events/"+class, body, header...).must(t, class, 202)
	}
	if a := send("siem", apptest.Leak(secrets["opaque token"]), "Idempotency-Key", "alert-1"); a.get("event_id") != "alert-1" || a.get("job_id") != "" {
		t.Errorf("an alert: %s", a.text)
	}
	send("siem", apptest.Leak(secrets["opaque token"]), "Idempotency-Key", "alert-1")
	apptest.Eventually(t, "the revocation", func() bool { return atlas.Revoked(secrets["opaque token"]) > 0 })
	direct := send("siem.incident", apptest.TokenRevoke(secrets["token of a direct request"]).With("requested_by", "alice"), "Idempotency-Key", "1")
	if want := jobs.ID("rekey/client/soar", "1"); direct.get("job_id") != want {
		t.Errorf("a direct request: %s, want the job %s", direct.text, want)
	}
	if done := as(w, soar).outcome(direct.get("job_id")); done.get("requested_by") != "soar" || done.get("on_behalf_of") != "alice" || done.get("lane") != "urgent" || done.get("outcome") != "revoked" {
		t.Errorf("a direct request: %s", done.text)
	}
	structured := send("incident", apptest.TokenRevoke(secrets["token of a CloudEvent"]).CloudEvent("/siem", "a1"), "Content-Type", "application/cloudevents+json; charset=utf-8")
	if want := jobs.ID("/siem", "a1"); structured.get("job_id") != want || structured.get("event_id") != "a1" {
		t.Errorf("a CloudEvent: %s, want the job %s", structured.text, want)
	}
	as(w, soar).outcome(structured.get("job_id"))
	send("incident", apptest.Projects(apptest.HexID(7)), "Ce-Specversion", "1.0", "Ce-Id", "b1", "Ce-Source", "/siem", "Ce-Type", "com.example.alert")
	if done := w.ResultOf(apptest.HexID(7)); done.Policy != "disable" || done.Events[0].Source != "/siem" || done.Events[0].ID != "b1" || done.Lane != jobs.LaneUrgent {
		t.Errorf("a CloudEvent in binary mode: %+v", done)
	}
	w.Settled()
	for name, token := range secrets {
		if n := atlas.Revoked(token); n != 1 {
			t.Errorf("the %s was revoked %d times", name, n)
		}
	}
	secrets.SearchEverything(t, w)
	for _, msg := range w.Messages("REKEY_EVENTS") {
		if msg.Header.Get("Nats-Msg-Id") != "" || !strings.Contains(string(msg.Data), "specversion") {
			t.Errorf("an event as it is stored: %s %s", msg.Subject, msg.Data)
		}
	}
}

func TestEventMistakes(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	w := withAPI(t, rig).Start(t)
	token := apptest.Canary()
	for _, tt := range []struct {
		name, client, class string
		body                any
		header              []string
		want                int
		field               string
	}{
		{name: "no permission", client: viewer, class: "incident", body: "{}", want: 403},
		{name: "another class", client: limited, class: "siem", body: "{}", want: 403},
		{name: "the class of commands", client: soar, class: "operator", body: "{}", want: 403},
		{name: "the class of schedules", client: soar, class: "schedule", body: "{}", want: 403},
		{name: "no class", client: soar, class: "a..b", body: "{}", want: 400, field: "class"},
		{name: "a wildcard", client: soar, class: "*", body: "{}", want: 400, field: "class"},
		{name: "another kind in a direct request", client: limited, class: "incident", body: apptest.TokenRevoke(token), want: 403, field: "kind"},
		{name: "the same as a CloudEvent", client: limited, class: "incident", body: apptest.TokenRevoke(token).CloudEvent("/siem", "1"), want: 403, field: "kind"},
		{
			name: "the same in binary mode", client: limited, class: "incident", body: apptest.TokenRevoke(token), want: 403, field: "kind",
			header: []string{"Ce-Specversion", "1.0", "Ce-Id", "1", "Ce-Source", "/siem", "Ce-Type", "rekey.job.requested.v1"},
		},
		{name: "a mistyped direct request", client: soar, class: "incident", body: apptest.TokenRevoke(token).With("lane", "fast"), want: 422, field: "lane"},
		{name: "a source of Rekey's own", client: soar, class: "incident", body: apptest.X509Disable(apptest.HexID(1)).CloudEvent("rekey/door/github", "1"), want: 422, field: "source"},
		{name: "no id", client: soar, class: "incident", body: `{"specversion":"1.0","source":"/siem","type":"x"}`, want: 422, field: "id"},
		{name: "another key", client: soar, class: "incident", body: `{"specversion":"1.0","source":"/siem","type":"x","id":"1"}`, header: []string{"Idempotency-Key", "2"}, want: 422, field: "Idempotency-Key"},
		{name: "a credential as a name", client: soar, class: "incident", body: `{"specversion":"1.0","source":"/siem","type":"x","id":"mdb_sa_sk_` + strings.Repeat("a1B2", 10) + `"}`, want: 422, field: "id"},
		{name: "a batch", client: soar, class: "incident", body: "[]", header: []string{"Content-Type", "application/cloudevents-batch+json"}, want: 415},
		{name: "two content types", client: soar, class: "incident", body: "{}", header: []string{"Content-Type", "application/json", "Content-Type", "text/plain"}, want: 415},
		{
			name: "two ids in binary mode", client: soar, class: "incident", body: "{}", want: 400, field: "ce-id",
			header: []string{"Ce-Specversion", "1.0", "Ce-Source", "/siem", "Ce-Type", "x", "Ce-Id", "1", "Ce-Id", "2"},
		},
		{name: "XML", client: soar, class: "incident", body: "<a/>", header: []string{"Content-Type", "application/xml"}, want: 415},
		{name: "no JSON", client: soar, class: "incident", body: "{", want: 400},
	} {
		a := as(w, tt.client).do("POST", "/v1/events/"+tt.class, tt.body, tt.header...)
		if a.status != tt.want || a.get("field") != tt.field || strings.Contains(a.text, token) {
			t.Errorf("%s: %d %s, want %d of the field %q", tt.name, a.status, a.text, tt.want, tt.field)
		}
	}
	if n := w.Count("REKEY_EVENTS"); n != 0 {
		t.Errorf("%d events are stored", n)
	}
}
