package policy

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

const (
	idA      = "0123456789abcdef01234567"
	idB      = "89abcdef0123456789abcdef"
	canary   = "canary-3f9d2c7b51e84a06"
	clientID = "mdb_sa_id_0123456789abcdef01234567"
)

var accounts = []Account{{Name: "security", ClientID: clientID}, {Name: "legacy"}}

// event is an event with this payload, as the bus hands it over.
func event(t testing.TB, payload string, change ...func(*jobs.Event)) jobs.Event {
	t.Helper()
	doc, err := jobs.ParseDocument([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	e := jobs.Event{Class: "incident"}
	e.Source, e.ID, e.Subject = "https://siem.example.com", "alert-7", "rekey.v1.event.incident"
	e.At = time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	e.Envelope = jobs.Envelope{
		Type: "com.example.alert", Topic: "host-1", Time: e.At.Add(-time.Minute), Data: doc.Fields,
		Headers: map[string]string{"x-tenant": "blue"}, Extensions: map[string]string{"severity": "high"},
	}
	for _, c := range change {
		c(&e)
	}
	return e
}

// disable is a job that needs nothing of the event.
func disable() []Job {
	return []Job{{Kind: kinds.X509Disable, Params: map[string]Expr{"project_id": `"` + idA + `"`}}}
}

func engine(t *testing.T, rules ...Rule) *Engine {
	t.Helper()
	e, err := New("", accounts, rules)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// decide is what one rule makes of an event.
func decide(t *testing.T, r Rule, e jobs.Event) decided {
	t.Helper()
	r.Name = "rule"
	return decideAll(t, engine(t, r), e)[0]
}

func TestWhen(t *testing.T) {
	const payload = `{"severity": "high", "id": 4711, "big": 18446744073709551615, "ratio": 0.5, "tags": ["a", "leak"], "at": "2026-11-24T02:59:00Z", "nested": {"deep": null}}`
	tests := []struct {
		name     string
		when     Expr
		wantWhy  string // Not matched, and why.
		wantHeld string // Erred, and the cause.
	}{
		{name: "nothing asked"},
		{name: "text", when: `event.data.severity in ["high", "critical"]`},
		{name: "whole number", when: `event.data.id == 4711 && string(event.data.id) == "4711"`},
		{name: "number beyond int64", when: `string(event.data.big) == "18446744073709551615"`},
		{name: "fraction", when: `event.data.ratio < 1`},
		{name: "list", when: `event.data.tags.exists(t, t.startsWith("le"))`},
		{name: "null", when: `event.data.nested.deep == null`},
		{name: "absent", when: `!has(event.data.other) && event.data.?other.orValue("x") == "x"`},
		{name: "regular expression", when: `event.data.severity.matches("^h.*h$") && regex.extract(event.source, "//([a-z]+)").orValue("") == "siem"`},
		{name: "strings", when: `event.data.severity.upperAscii() == "HIGH" && "a,b".split(",").size() == 2`},
		{name: "time", when: `now - timestamp(event.data.at) < duration("5m") && event.time < now && event.time.getFullYear() == 2026`},
		{name: "envelope", when: `event.id == "alert-7" && event.type == "com.example.alert" && event.subject == "host-1" && event.class == "incident" && event.source.endsWith(".com")`},
		{name: "headers and extensions", when: `event.headers["x-tenant"] == "blue" && event.extensions.severity == "high"`},
		{name: "sets, lists, base64", when: `sets.contains(event.data.tags, ["a"]) && event.data.tags.slice(0, 1) == ["a"] && base64.decode("YQ==") == b"a"`},
		{name: "JSON in a text", when: `json.object('{"a": {"b": [1, 2]}}').a.b[1] == 2`},
		{name: "no JSON in a text", when: `json.object(event.data.severity).a == 1`, wantHeld: "json.object: line 1: is no JSON (byte 0)"},
		{name: "kind of a credential", when: `credential.kind("mdb_sa_sk_0123456789abcdef") == "service_account_secret" && credential.kind("some text here") == "opaque"`},
		{name: "account", when: `accounts.by_client_id("MDB_SA_ID_0123456789abcdef01234567") == "security"`},
		{name: "false", when: `event.data.id == 1`, wantWhy: "when: false is event.data.id == 1"},
		{name: "false in part", when: `event.data.id == 4711 && (event.data.severity == "low" || event.class == "x") && true`, wantWhy: `when: false is event.data.severity == "low" || event.class == "x"`},
		{name: "missing member", when: `event.data.other == 1`, wantHeld: "when: event.data.other == 1: no such key: other"},
		{name: "no boolean", when: `event.data.id`, wantHeld: "when: event.data.id: gives a value of type int, but must give true or false"},
		{name: "conversion", when: `int(event.data.severity) == 1`, wantHeld: "when: int(event.data.severity) == 1: "},
		{name: "too expensive", when: `lists.range(9999).all(a, lists.range(9999).all(b, a + b >= 0))`, wantHeld: "cost limit exceeded"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := decide(t, Rule{When: tt.when, Jobs: disable()}, event(t, payload))
			held := ""
			if d.Rejection != nil {
				held = d.Rejection.Error()
			}
			if !strings.Contains(held, tt.wantHeld) || tt.wantHeld == "" && held != "" || d.Why != tt.wantWhy {
				t.Errorf("held %q, why %q", held, d.Why)
			}
			matches := tt.wantHeld == "" && tt.wantWhy == ""
			if d.Matched != matches || (len(d.Requests) == 1) != matches {
				t.Errorf("matched %v with %d requests", d.Matched, len(d.Requests))
			}
		})
	}
}

func TestOn(t *testing.T) {
	plain := func(e *jobs.Event) { e.Envelope.Type = "" }
	tests := []struct {
		name    string
		on      On
		change  func(*jobs.Event)
		wantWhy string
	}{
		{name: "everything"},
		{name: "subject", on: On{Subjects: []string{"rekey.v1.event.incident"}}},
		{name: "one token", on: On{Subjects: []string{"rekey.v1.event.*"}}},
		{name: "rest", on: On{Subjects: []string{"rekey.v1.event.rotation", "rekey.>"}}},
		{name: "other subject", on: On{Subjects: []string{"rekey.v1.event.rotation", "rekey.v1.event.*.x"}}, wantWhy: "on.subjects: none matches rekey.v1.event.incident"},
		{name: "longer subject", on: On{Subjects: []string{"rekey.v1.event.*"}}, change: func(e *jobs.Event) { e.Subject += ".more" }, wantWhy: "on.subjects: none matches rekey.v1.event.incident.more"},
		{name: "type", on: On{Types: []string{"com.example.*"}}},
		{name: "type in the middle", on: On{Types: []string{"com.*.alert"}}},
		{name: "other type", on: On{Types: []string{"com.example", "com.example.alert.*", "comXexample.alert"}}, wantWhy: "on.types: none matches com.example.alert"},
		{name: "plain JSON has no type", on: On{Types: []string{"*"}}, change: plain, wantWhy: "on.types: the event has no type (plain JSON)"},
		{name: "source", on: On{Sources: []string{"*siem.example.com"}}},
		{name: "other source", on: On{Sources: []string{"/soar"}}, wantWhy: "on.sources: none matches https://siem.example.com"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := event(t, `{}`)
			if tt.change != nil {
				tt.change(&e)
			}
			d := decide(t, Rule{On: tt.on, When: "true", Jobs: disable()}, e)
			if d.Why != tt.wantWhy || d.Matched != (tt.wantWhy == "") {
				t.Errorf("matched %v, why %q, want %q", d.Matched, d.Why, tt.wantWhy)
			}
		})
	}
}

func TestRequests(t *testing.T) {
	rule := Rule{Name: "leaks", DryRun: true, Jobs: []Job{
		{
			Kind: kinds.TokenRevoke, ForEach: `event.data.occurrences.filter(o, o.live)`,
			Params: map[string]Expr{"token": "item.secret"}, Account: `accounts.by_client_id(item.client)`,
			Lane: `item.prod ? "urgent" : "bulk"`, Reason: `"alert " + string(event.data.id)`, RequestedBy: "event.source",
			ExpiresAt: `now + duration("1h")`,
		},
		{Kind: kinds.X509Disable, Params: map[string]Expr{"project_id": "event.data.project"}},
	}}
	e := event(t, `{"id": 7, "project": "`+idA+`", "occurrences": [
		{"live": true, "secret": "leaked-token-1", "client": "`+clientID+`", "prod": true}, {"live": false},
		{"live": true, "secret": "leaked-token-2", "client": "`+clientID+`", "prod": false}]}`)
	d := decideAll(t, engine(t, rule), e)[0]
	if d.Rejection != nil {
		t.Fatal(d.Rejection)
	}
	type flat struct {
		Kind                              jobs.Kind
		Params                            map[string]string
		Account, Reason, By, Policy, Lane string
		DryRun                            bool
	}
	var got []flat
	for _, r := range d.Requests {
		got = append(got, flat{r.Kind, r.Params.Carried(), r.Account, r.Reason, r.RequestedBy, r.Policy, string(r.Lane), r.DryRun})
	}
	want := []flat{
		{kinds.TokenRevoke, map[string]string{"token": "leaked-token-1"}, "security", "alert 7", "https://siem.example.com", "leaks", "urgent", true},
		{kinds.TokenRevoke, map[string]string{"token": "leaked-token-2"}, "security", "alert 7", "https://siem.example.com", "leaks", "bulk", true},
		{kinds.X509Disable, map[string]string{"project_id": idA}, "", "", "", "leaks", "", true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if at := d.Requests[0].ExpiresAt; !at.Equal(e.At.Add(time.Hour)) {
		t.Errorf("expires at %s", at)
	}
}

// TestFailsClosed: whatever errs, the whole rule asks for nothing, says why, and shows no value.
func TestFailsClosed(t *testing.T) {
	payload := `{"secret": "` + canary + `", "when": "` + canary + `", "list": [{"token": "` + canary + `"}, {}], "number": 7, "ids": ["` + idA + `", "x"]}`
	token := func(j Job) Job {
		j.Kind = kinds.TokenRevoke
		if j.Params == nil {
			j.Params = map[string]Expr{"token": "event.data.secret"}
		}
		return j
	}
	tests := []struct {
		name      string
		job       Job
		wantField string
		want      string
	}{
		{name: "one element", job: token(Job{ForEach: "event.data.list", Params: map[string]Expr{"token": "item.token"}}), wantField: "jobs[1].params.token", want: "item.token: no such key: token (element 1)"},
		{name: "no list", job: token(Job{ForEach: "event.data.number"}), wantField: "jobs[1].for_each", want: "event.data.number: gives a value of type int, but must give a list"},
		{name: "no list but a secret", job: token(Job{ForEach: "event.data.secret"}), wantField: "jobs[1].for_each", want: "event.data.secret: gives a value of type string, but must give a list"},
		{name: "no text", job: token(Job{Params: map[string]Expr{"token": "event.data.number"}}), wantField: "jobs[1].params.token", want: "event.data.number: gives a value of type int, but must give a string"},
		{name: "no id", job: Job{Kind: kinds.X509Disable, ForEach: "event.data.ids", Params: map[string]Expr{"project_id": "item"}}, wantField: "jobs[1].params.project_id", want: "item: must be 24 lower-case hexadecimal digits (element 1)"},
		{name: "unknown client id", job: token(Job{Account: "accounts.by_client_id(event.data.secret)"}), wantField: "jobs[1].account", want: "accounts.by_client_id(event.data.secret): no account has this client id"},
		{name: "lane from the event", job: token(Job{Lane: "event.data.secret"}), wantField: "jobs[1].lane", want: "event.data.secret: unknown lane; the lanes are urgent, normal, bulk"},
		{name: "secret as a key", job: token(Job{Reason: "event.data[event.data.secret]"}), wantField: "jobs[1].reason", want: "event.data[event.data.secret]: no such key: …"},
		{name: "secret as a time", job: token(Job{ExpiresAt: "timestamp(event.data.when)"}), wantField: "jobs[1].expires_at", want: "timestamp(event.data.when): "},
		{name: "secret as a number", job: token(Job{Reason: "string(int(event.data.secret))"}), wantField: "jobs[1].reason", want: "string(int(event.data.secret)): "},
		{name: "secret as the reason", job: token(Job{Reason: `"leaked: " + event.data.secret`}), wantField: "jobs[1].reason", want: "repeats the secret of params.token, and is shown in results"},
		{name: "expiry that is no time", job: token(Job{ExpiresAt: "event.data.secret"}), wantField: "jobs[1].expires_at", want: "event.data.secret: must be a time"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := decide(t, Rule{Jobs: append(disable(), tt.job)}, event(t, payload))
			if d.Rejection == nil || len(d.Requests) > 0 {
				t.Fatalf("held %v, requests %v", d.Rejection, d.Requests)
			}
			if d.Rejection.Field != tt.wantField || !strings.Contains(d.Rejection.Detail, tt.want) || d.Rejection.Code != jobs.RejectPolicy || d.Rejection.Policy != "rule" {
				t.Errorf("held %+v, want %s: %s", *d.Rejection, tt.wantField, tt.want)
			}
			shown, err := json.Marshal(d.Rejection)
			if err != nil || strings.Contains(string(shown)+d.Rejection.Error(), canary) {
				t.Errorf("a secret is shown: %s (%v)", shown, err)
			}
		})
	}
}

func TestForEachIsBounded(t *testing.T) {
	d := decide(t, Rule{Jobs: []Job{{Kind: kinds.X509Disable, ForEach: "event.data.l", Params: map[string]Expr{"project_id": "item"}}}},
		event(t, `{"l": [`+strings.Repeat("1,", jobs.MaxJobsPerEvent)+`1]}`))
	if d.Rejection == nil || d.Rejection.Code != jobs.RejectLimit || d.Rejection.Detail != "the list has 10001 elements; no event makes more than 10000 jobs" {
		t.Errorf("held %+v", d.Rejection)
	}
}

func TestNoRulesDecideNothing(t *testing.T) {
	if got := engine(t).Decide(t.Context(), event(t, `{}`), &listener{}); got != nil {
		t.Errorf("decisions %v", got)
	}
}
