package intake_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/apptest"
	"rekey/internal/jobs"
)

// badEvent is an event that cannot be read.
type badEvent struct {
	name    string
	payload string
	headers []string
	// wantReason are parts of the reason, which is to name the field and say what is wrong.
	wantReason []string
	wantCut    bool // The dead letter has only the beginning of the payload.
	// wantHidden: its value might be a credential under a wrong name, and is not repeated.
	wantHidden string
}

func badEvents() []badEvent {
	good := apptest.X509Disable(apptest.HexID(1))
	params := func(p any) string { return good.With("params", p).String() }
	project := func(id any) string { return params(map[string]any{"project_id": id}) }
	cloud := func(specversion, id, source, kind string) string {
		return fmt.Sprintf(`{"specversion":%q,"id":%q,"source":%q,"type":%q,"data":%s}`, specversion, id, source, kind, good)
	}
	const direct = "rekey.job.requested.v1"
	return []badEvent{
		{name: "empty", payload: "", wantReason: []string{"empty"}},
		{name: "no JSON", payload: "revoke everything", wantReason: []string{"line 1", "no JSON"}},
		{name: "half of a JSON", payload: "{\n\"kind\":\"x509.disable\",\n", wantReason: []string{"line 3", "ends too early"}},
		{name: "two documents", payload: good.String() + good.String(), wantReason: []string{"after the JSON object"}},
		{name: "an array", payload: `[` + good.String() + `]`, wantReason: []string{"must be a JSON object, not an array"}},
		{name: "a member twice", payload: `{"kind":"x509.disable","kind":"jwks.revoke"}`, wantReason: []string{"kind", "twice"}},
		{name: "unknown kind", payload: good.With("kind", "x509.disabel").String(), wantReason: []string{"kind", "unknown kind", "x509.disable"}},
		{name: "no kind", payload: good.Without("kind").String(), wantReason: []string{"kind", "required"}},
		{name: "unknown field", payload: good.With("prio", "high").String(), wantReason: []string{"prio", "unknown field"}},
		{name: "missing parameter", payload: params(map[string]any{}), wantReason: []string{"params.project_id", "required by x509.disable"}},
		{name: "no parameters", payload: good.Without("params").String(), wantReason: []string{"params.project_id", "required by x509.disable"}},
		{
			name: "extra parameter", payload: params(map[string]any{"project_id": apptest.HexID(1), "org_id": apptest.HexID(2)}),
			wantReason: []string{"params.org_id", "unknown parameter"},
		},
		{name: "id in capitals", payload: project(strings.Repeat("A", 24)), wantReason: []string{"params.project_id", "24 lower-case hexadecimal"}},
		{name: "id too short", payload: project(apptest.HexID(1)[1:]), wantReason: []string{"params.project_id", "24 lower-case hexadecimal"}},
		{name: "id with a newline", payload: project(apptest.HexID(1) + "\n"), wantReason: []string{"params.project_id", "24 lower-case hexadecimal"}, wantHidden: apptest.HexID(1)},
		{name: "id that leaves its path", payload: project("../../v2/clusters"), wantReason: []string{"params.project_id", "24 lower-case hexadecimal"}, wantHidden: "v2/clusters"},
		{name: "unknown account", payload: good.With("account", "unknown").String(), wantReason: []string{"account", "not the name of an account", apptest.Security}},
		{name: "no account of several", payload: good.Without("account").String(), wantReason: []string{"account", "required", apptest.Legacy}},
		{
			name: "account that cannot revoke tokens", payload: apptest.TokenRevoke("t").With("account", apptest.Legacy).With("params", map[string]any{"token_file": "/run/token"}).String(),
			wantReason: []string{"account", "needs a service account"},
		},
		{name: "unknown lane", payload: good.With("lane", "asap").String(), wantReason: []string{"lane", "urgent"}},
		{
			name: "expired", payload: good.With("expires_at", time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)).String(),
			wantReason: []string{"expires_at", "expired at"},
		},
		{name: "expires_at that is no time", payload: good.With("expires_at", "tomorrow").String(), wantReason: []string{"expires_at", "RFC 3339"}},
		{name: "kind of the wrong type", payload: good.With("kind", 7).String(), wantReason: []string{"kind", "string, not a number"}},
		{name: "params of the wrong type", payload: params([]string{"x"}), wantReason: []string{"params", "object, not an array"}, wantHidden: `"x"`},
		{name: "parameter of the wrong type", payload: project(12), wantReason: []string{"params.project_id", "string, not a number"}},
		{name: "parameter that is null", payload: project(nil), wantReason: []string{"params.project_id", "string, not null"}},
		{name: "account of the wrong type", payload: good.With("account", true).String(), wantReason: []string{"account", "string, not a boolean"}},
		{name: "coalesce of the wrong type", payload: good.With("coalesce", "no").String(), wantReason: []string{"coalesce", "true or false"}},
		{name: "reason with a control character", payload: good.With("reason", "a\x1b[2Jb").String(), wantReason: []string{"reason", "control characters"}},
		{name: "invalid UTF-8", payload: strings.Replace(good.String(), `"security"`, "\"\xff\xfe\"", 1), wantReason: []string{"invalid UTF-8 at byte"}},
		{name: "deep nesting", payload: strings.Repeat(`[`, 100_000), wantReason: []string{"nested more than"}},
		{
			name: "deep nesting in a parameter", payload: `{"kind":"x509.disable","params":` + strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000) + "}",
			wantReason: []string{"nested more than"}, wantHidden: strings.Repeat("}", 5000),
		},
		{name: "2 MB", payload: good.With("reason", strings.Repeat("x", 2_000_000)).String(), wantReason: []string{"bytes; the limit is"}, wantCut: true},
		{name: "another CloudEvents version", payload: cloud("0.3", "1", "urn:siem", direct), wantReason: []string{"specversion", "1.0"}},
		{
			name: "CloudEvent that asks for an unknown kind", payload: strings.Replace(cloud("1.0", "5", "urn:siem", direct), "x509.disable", "x509.disabel", 1),
			wantReason: []string{"kind", "unknown kind"},
		},
		{name: "CloudEvent without an id", payload: cloud("1.0", "", "urn:siem", direct), wantReason: []string{"id", "required"}},
		{
			name: "binary CloudEvent without a source", payload: good.String(),
			headers:    []string{"ce-specversion", "1.0", "ce-id", "3", "ce-type", direct},
			wantReason: []string{"source", "required"},
		},
		{
			name: "binary CloudEvent that is no JSON", payload: "<job/>",
			headers:    []string{"ce-specversion", "1.0", "ce-id", "4", "ce-source", "urn:siem", "ce-type", direct, "content-type", "application/xml"},
			wantReason: []string{"datacontenttype", "JSON"},
		},
	}
}

func TestBadEventsBecomeDeadLetters(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	w := rig.Start(t)
	events := badEvents()
	sequences := make([]uint64, len(events))
	for i, e := range events {
		sequences[i] = w.Publish("incident", e.payload, append(e.headers, "X-Case", e.name)...).Sequence
	}
	letters := map[string]*jetstream.RawStreamMsg{}
	list := w.Letters(len(events))
	for _, letter := range list {
		letters[letter.Header.Get("Rekey-Event-Seq")] = letter
	}
	if len(list) != len(events) || len(letters) != len(events) {
		t.Errorf("got %d dead letters of %d events, want %d", len(list), len(letters), len(events))
	}
	for i, e := range events {
		t.Run(e.name, func(t *testing.T) {
			letter, ok := letters[strconv.FormatUint(sequences[i], 10)]
			if !ok {
				t.Fatalf("event %d is no dead letter", sequences[i])
			}
			checkBadEvent(t, e, letter)
		})
	}
	if got := atlas.Requests(""); len(got) != 0 {
		t.Errorf("got %d requests to the API, want none", len(got))
	}
	if got := len(w.Records("")); got != 0 {
		t.Errorf("the ledger has %d jobs, want none", got)
	}
	w.AwaitMetrics(map[string]float64{`rekey_events_received_total{result="malformed"}`: float64(len(events))})
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String())
	if got := w.Results(1)[0].Record.Outcome; got != jobs.OutcomeRevoked {
		t.Errorf("the good event behind them is %s", got)
	}
}

func checkBadEvent(t *testing.T, e badEvent, letter *jetstream.RawStreamMsg) {
	t.Helper()
	if letter.Subject != "rekey.v1.dlq.event" {
		t.Errorf("it is on %s", letter.Subject)
	}
	reason := letter.Header.Get("Rekey-Reason")
	for _, part := range e.wantReason {
		if !strings.Contains(reason, part) {
			t.Errorf("the reason %q does not say %q", reason, part)
		}
	}
	apptest.CheckHeaders(t, letter, map[string]string{
		"Rekey-Code": "malformed", "Rekey-Event-Subject": "rekey.v1.event.incident", "X-Case": e.name,
	})
	switch got := string(letter.Data); {
	case e.wantCut && (len(got) >= len(e.payload) || letter.Header.Get("Rekey-Truncated") != strconv.Itoa(len(e.payload))):
		t.Errorf("it carries %d bytes and says %q of the %d", len(got), letter.Header.Get("Rekey-Truncated"), len(e.payload))
	case e.wantHidden != "" && (strings.Contains(got, e.wantHidden) || letter.Header.Get("Rekey-Redacted") != "true"):
		t.Errorf("it carries %.200q and says %q of what was taken out", got, letter.Header.Get("Rekey-Redacted"))
	case !e.wantCut && e.wantHidden == "" && got != e.payload:
		t.Errorf("it carries %.200q, want the original %.200q", got, e.payload)
	}
}

func TestAMissingSecretIsNotMalformed(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Retry.MaxAttempts = 2
	rig.Env = map[string]string{}
	w := rig.Start(t)
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String())
	record := w.Results(1)[0].Record
	if record.Outcome != jobs.OutcomeExhausted || record.Attempts[0].Reason != jobs.ReasonConfig {
		t.Errorf("%s (%s), want exhausted (config)", record.Outcome, record.Attempts[0].Reason)
	}
	if !strings.Contains(record.Detail, "SECURITY_SECRET") {
		t.Errorf("the detail %q does not name the variable", record.Detail)
	}
	if got := atlas.Requests(""); len(got) != 0 {
		t.Errorf("got %d requests to the API, want none", len(got))
	}
}
