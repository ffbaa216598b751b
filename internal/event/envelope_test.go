package event

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"rekey/internal/jobs"
	"rekey/internal/names"
)

// TestReadEventKeepsWhatPoliciesSee: an event of any origin comes with all that it says.
func TestReadEventKeepsWhatPoliciesSee(t *testing.T) {
	t.Parallel()
	at := message("{}", nil).At
	happened := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	const alert = `{"kind": "Event", "severity": 7, "hosts": ["a"]}`
	data := map[string]any{"kind": "Event", "severity": json.Number("7"), "hosts": []any{"a"}}
	tests := []struct {
		name   string
		data   string
		header nats.Header
		want   jobs.Envelope
		wantID string
	}{
		{
			name: "plain JSON", data: alert, header: nats.Header{"X-Tenant": {"blue", "red"}, "x-Tenant": {"green"}, "Nats-Msg-Id": {"7"}, "Rekey-Reason": {""}},
			want: jobs.Envelope{Time: at, Headers: map[string]string{"x-tenant": "blue, red, green"}, Data: data}, wantID: "id:7",
		},
		{
			name: "structured", data: `{"specversion": "1.0", "id": "a", "source": "/s", "type": "com.example.alert", "subject": "host-1",
				"time": "2026-11-24T04:00:00+01:00", "severity": "high", "n": 7, "b": true, "o": {}, "datacontenttype": "application/json", "data": ` + alert + `}`,
			want: jobs.Envelope{
				Type: "com.example.alert", Topic: "host-1", Time: happened, Headers: map[string]string{},
				Extensions: map[string]string{"severity": "high", "n": "7", "b": "true"}, Data: data,
			}, wantID: "a",
		},
		{
			name: "structured without data", data: `{"specversion": "1.0", "id": "a", "source": "/s", "type": "com.example.alert"}`,
			want: jobs.Envelope{Type: "com.example.alert", Time: at, Headers: map[string]string{}, Extensions: map[string]string{}}, wantID: "a",
		},
		{
			name: "binary", data: alert,
			header: nats.Header{
				"ce-specversion": {"1.0"}, "ce-id": {"a"}, "ce-source": {"/s"}, "ce-type": {"com.example.alert"}, "ce-subject": {"host%201"},
				"ce-time": {"2026-11-24T03:00:00Z"}, "ce-severity": {"high"}, "Content-Type": {"application/json"},
			},
			want: jobs.Envelope{
				Type: "com.example.alert", Topic: "host 1", Time: happened, Headers: map[string]string{"content-type": "application/json"},
				Extensions: map[string]string{"severity": "high"}, Data: data,
			}, wantID: "a",
		},
		{
			name: "binary without data", header: with(binary("a", "/s"), "ce-type", "x"),
			want: jobs.Envelope{Type: "x", Time: at, Headers: map[string]string{}, Extensions: map[string]string{}}, wantID: "a",
		},
	}
	// Content of any other type is for policies, too.
	foreign := with(binary("a", "/s"), "ce-type", "x")
	typed := func(contentType string) nats.Header { return with(maps.Clone(foreign), "content-type", contentType) }
	ce := func(members string) string {
		return `{"specversion": "1.0", "id": "a", "source": "/s", "type": "x", ` + members + `}`
	}
	for _, other := range []struct {
		name, data string
		header     nats.Header
		want       any
	}{
		{name: "plain array", data: `[{"n": 7}, "a"]`, want: []any{map[string]any{"n": json.Number("7")}, "a"}},
		{name: "data is an array", data: ce(`"data": [1, "a"]`), want: []any{json.Number("1"), "a"}},
		{name: "data is a text", data: ce(`"data": "a"`), want: "a"},
		{name: "data is a number", data: ce(`"data": 1.5`), want: json.Number("1.5")},
		{name: "data is true", data: ce(`"data": true`), want: true},
		{name: "data is null", data: ce(`"data": null`)},
		{name: "data is XML", data: ce(`"datacontenttype": "application/xml", "data": "<a/>"`), want: "<a/>"},
		{name: "data_base64 is XML", data: ce(`"datacontenttype": "application/xml", "data_base64": "PGEvPg=="`), want: "<a/>"},
		{name: "data_base64 is bytes", data: ce(`"datacontenttype": "application/octet-stream", "data_base64": "/w=="`)},
		{name: "data_base64 is JSON", data: ce(`"data_base64": "WzFd"`), want: []any{json.Number("1")}},
		{name: "data_base64 is empty", data: ce(`"data_base64": ""`)},
		{name: "binary array", data: `[1]`, header: typed("application/json"), want: []any{json.Number("1")}},
		{name: "binary text", data: "hello", header: typed("text/plain; charset=utf-8"), want: "hello"},
		{name: "binary JSON that is called a text", data: `{"a": 1}`, header: typed("text/plain"), want: `{"a": 1}`},
		{name: "binary bytes", data: "\xff", header: typed("application/octet-stream")},
		{name: "invalid binary content type", data: "hello", header: typed(";"), want: "hello"},
		{name: "binary text without a type", data: "hello", header: foreign, want: "hello"},
		{name: "binary JSON without a type", data: `{"a": 1}`, header: foreign, want: map[string]any{"a": json.Number("1")}},
	} {
		t.Run(other.name, func(t *testing.T) {
			t.Parallel()
			e, err := decodeForeign(names.New("rekey"), message(other.data, other.header))
			if diff := cmp.Diff(other.want, e.Envelope.Data); diff != "" || err != nil || e.Direct || e.NotDirect == nil {
				t.Errorf("error %v, asks %v, unclear %v, data (-want +got):\n%s", err, e.Direct, e.NotDirect, diff)
			}
		})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := message(tt.data, tt.header)
			e, err := ReadReceived(names.New("rekey"), Message{Subject: m.Subject, Header: m.Header, Data: m.Data, Seq: m.Seq, At: m.At})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, e.Envelope); diff != "" {
				t.Errorf("envelope (-want +got):\n%s", diff)
			}
			if e.Direct || e.NotDirect == nil || e.ID != tt.wantID {
				t.Errorf("asks %v, unclear %v, id %q", e.Direct, e.NotDirect, e.ID)
			}
		})
	}
}

// decodeForeign reads an event of any origin.
func decodeForeign(n names.Names, m Message) (jobs.Event, error) {
	return Read(n, Receive(n, m))
}

// TestTimeHasNoNone: no moment that a sender can write stands for none.
func TestTimeHasNoNone(t *testing.T) {
	t.Parallel()
	rules := jobs.Rules{MaxAge: time.Hour, MaxSkew: time.Minute}
	for text, want := range map[string]string{
		"0001-01-01T00:00:00Z": "time: 0001-01-01T00:00:00Z is ", "0001-01-01t00:00:00z": "time: 0001-01-01T00:00:00Z is ",
		"1969-12-31T23:59:59Z": "time: 1969-12-31T23:59:59Z is ", "1970-01-01T00:00:00Z": "time: 1970-01-01T00:00:00Z is ",
		"9999-12-31T23:59:59Z": "in the future",
	} {
		for what, m := range map[string]Message{
			"structured": message(structured(append(envelope("1", "/s"), `"time":"`+text+`"`, `"data":`+plain)...), nil),
			"binary":     message(plain, with(binary("1", "/s"), "ce-time", text)),
		} {
			e, err := decodeForeign(names.New("rekey"), m)
			if err != nil {
				t.Fatalf("%s, %s: %v", text, what, err)
			}
			if err := rules.Plan(t.Context(), e, moment).Err(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s, %s: %v", text, what, err)
			}
		}
	}
}

// TestReadEventTellsRequestsFromOthers: what looks like a direct request is never passed
// over as an event without a rule.
func TestReadEventTellsRequestsFromOthers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name          string
		data          string
		wantAsks      bool
		wantMalformed bool
	}{
		{name: "request", data: plain, wantAsks: true},
		{name: "our kind, mistaken", data: `{"kind": "x509.disable", "project": "x"}`, wantMalformed: true},
		{name: "mistyped kind with parameters", data: `{"kind": "x509.disabel", "params": {"project_id": "` + hexA + `"}}`, wantMalformed: true},
		{name: "another tool's kind", data: `{"kind": "Event", "apiVersion": "audit.k8s.io/v1"}`},
		{name: "kind that is no text", data: `{"kind": 7, "params": {}}`},
		{name: "no kind", data: `{"alert": "x"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, err := decodeForeign(names.New("rekey"), message(tt.data, nil))
			if (err != nil) != tt.wantMalformed || e.Direct != tt.wantAsks {
				t.Errorf("asks %v, error %v", e.Direct, err)
			}
		})
	}
}
