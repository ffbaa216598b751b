package policy

import (
	"strings"
	"testing"
	"unicode/utf8"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// FuzzDecide hands rules events of any content, with a secret in each: whatever comes, a rule
// either asks for valid jobs or says why not, and says nothing of the secret.
func FuzzDecide(f *testing.F) {
	for _, seed := range []string{
		`{"severity": "high", "found": [{"token": "a", "owner": "b"}], "project": "` + idA + `"}`,
		`{"severity": ["high"], "found": {"token": 7}, "project": null, "at": "2026-11-24T03:00:00Z"}`,
		`{"found": [[], {}, 1e999, -0, 18446744073709551616, "x"]}`, `{"at": "x", "id": "9"}`, `{}`,
	} {
		f.Add([]byte(seed), "severity", "https://siem.example.com", "com.example.alert")
	}
	engine, err := New("", accounts, []Rule{
		{Name: "token", When: `event.data.severity in ["high", "critical"]`, Jobs: []Job{{
			Kind: kinds.TokenRevoke, ForEach: "event.data.found", Params: map[string]Expr{"token": "item.token"},
			Account: "accounts.by_client_id(item.owner)", Lane: "item.lane", Reason: `"alert " + string(event.data.id)`, ExpiresAt: "timestamp(event.data.at)",
		}}},
		{Name: "any", On: On{Types: []string{"com.*"}}, Jobs: []Job{{
			Kind: kinds.TokenRevoke, Params: map[string]Expr{"token": "event.data.secret"}, Reason: "event.data.secret + event.source", RequestedBy: "event.type",
		}}},
		{Name: "odd", When: `int(event.data.secret) > 0 || duration(event.data.secret) > duration("1s") || event.data[event.data.secret] == 1 || event.data.secret.matches(event.data.id)`, Jobs: disable()},
		{Name: "project", When: "has(event.data.project)", Jobs: []Job{{Kind: kinds.X509Disable, Params: map[string]Expr{"project_id": "event.data.project"}}}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, payload []byte, name, source, kind string) {
		doc, err := jobs.ParseDocument(payload)
		// Intake takes no other text for an identity, and JSON has no other names.
		if err != nil || !utf8.ValidString(name) || !utf8.ValidString(source) || !utf8.ValidString(kind) || strings.Contains(string(payload)+name+source+kind, canary) {
			return
		}
		e := jobs.Event{Class: "incident", EventRef: jobs.EventRef{Source: source, ID: "1", Subject: "rekey.v1.event.incident"}}
		e.Envelope = jobs.Envelope{Type: kind, Data: doc.Fields}
		doc.Fields["secret"] = canary
		if name != "secret" {
			doc.Fields[name] = canary
		}
		for _, d := range decideAll(t, engine, e) {
			checkDecision(t, d)
		}
	})
}

func checkDecision(t *testing.T, d decided) {
	t.Helper()
	text := d.Why
	if d.Rejection != nil {
		text += d.Rejection.Error()
	}
	if strings.Contains(text, canary) || !utf8.ValidString(text) || len(text) > 4096 {
		t.Errorf("policy %s says %q", d.Policy, text)
	}
	if d.Rejection != nil && len(d.Requests) > 0 || d.Why != "" && d.Matched {
		t.Errorf("policy %s both does and does not: %+v", d.Policy, d)
	}
	for _, r := range d.Requests {
		if strings.Contains(r.Params.String()+r.Reason+r.RequestedBy+r.Account+string(r.Lane), canary) {
			t.Errorf("policy %s shows the secret in a request", d.Policy)
		}
		if jobs.Target(r.Kind, r.Params) == "" || r.Policy != d.Policy {
			t.Errorf("policy %s asks for nothing: %+v", d.Policy, r)
		}
	}
}
