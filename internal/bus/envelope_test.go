package bus

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"rekey/internal/jobs"
)

// TestReadEventKeepsWhatPoliciesSee: an event of any origin comes with all that it says.
func TestReadEventKeepsWhatPoliciesSee(t *testing.T) {
	t.Parallel()
	at := message("{}", nil).at
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
			name: "plain JSON", data: alert, header: nats.Header{"X-Tenant": {"blue", "red"}, "Nats-Msg-Id": {"7"}, "Rekey-Replay-Id": {""}},
			want: jobs.Envelope{Time: at, Headers: map[string]string{"x-tenant": "blue"}, Data: data}, wantID: "id:7",
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
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := message(tt.data, tt.header)
			e, err := NewNames("rekey").ReadEvent(Message{Subject: m.subject, Header: m.header, Data: m.data, Seq: m.seq, At: m.at})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, e.Envelope); diff != "" {
				t.Errorf("envelope (-want +got):\n%s", diff)
			}
			if e.Asks || e.Unclear == nil || e.ID != tt.wantID {
				t.Errorf("asks %v, unclear %v, id %q", e.Asks, e.Unclear, e.ID)
			}
		})
	}
}

// TestReadEventTellsRequestsFromOthers: what looks like a direct request is never passed
// over as an event that nobody has a rule for.
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
			e, err := NewNames("rekey").readEvent(message(tt.data, nil))
			if (err != nil) != tt.wantMalformed || e.Asks != tt.wantAsks {
				t.Errorf("asks %v, error %v", e.Asks, err)
			}
		})
	}
}
