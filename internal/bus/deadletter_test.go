package bus

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"rekey/internal/event"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/layout"
	"rekey/internal/names"
	"rekey/internal/natsserver"
	"rekey/internal/redact"
)

func TestDeadEvent(t *testing.T) {
	t.Parallel()
	why := errors.Join(&jobs.Malformed{Field: "kind", Line: 2, Detail: "is odd"}, &jobs.Malformed{Field: "kind", Line: 2, Detail: "is odd"}, &jobs.Malformed{Detail: "second\r\nline"})
	asked := jobs.Event{EventRef: jobs.EventRef{Source: "/soar", ID: "id\n1", Subject: "rekey.v1.event.incident", Seq: 42, At: moment}}
	reference := map[string][]string{
		names.HeaderCode: {"malformed"}, names.HeaderReason: {"line 2: kind: is odd; second; line"},
		names.HeaderProblem:     {"line 2: kind: is odd", "second", "line"},
		names.HeaderEventSource: {"/soar"}, names.HeaderEventID: {"id; 1"}, names.HeaderEventSubject: {"rekey.v1.event.incident"}, names.HeaderEventSeq: {"42"},
		names.HeaderEventAt: {"2026-03-01T03:04:05.678Z"},
	}
	merge := func(more map[string][]string) map[string][]string {
		all := maps.Clone(reference)
		maps.Copy(all, more)
		return all
	}
	long := strings.Repeat("x", 1000)
	tests := []struct {
		name       string
		header     nats.Header
		data       string
		limit      int
		wantHeader map[string][]string
		wantData   string
	}{
		{name: "nothing to hide", data: plain, limit: 1000, wantHeader: merge(nil), wantData: plain},
		{
			name: "headers that act on a stream are left out", data: plain, limit: 1000,
			header: nats.Header{
				"ce-id": {"1"}, "X": {"a", "b"}, nats.MsgIdHdr: {"m"}, "Nats-Rollup": {"all"}, "nats-ttl": {"1s"}, "NATS-EXPECTED-STREAM": {"x"},
				names.HeaderJobID: {"forged"}, "rekey-code": {"forged"},
			},
			wantHeader: merge(map[string][]string{"ce-id": {"1"}, "X": {"a", "b"}}), wantData: plain,
		},
		{
			name: "secrets in headers", data: plain, limit: 1000,
			header:     nats.Header{"Authorization": {"Bearer " + canary}, "X-Api-Key": {canary, ""}, "X": {"see " + webToken}},
			wantHeader: merge(map[string][]string{"Authorization": {redact.MarkText("Bearer " + canary)}, "X-Api-Key": {redact.MarkText(canary), ""}, "X": {"see " + redact.MarkText(webToken)}}),
			wantData:   plain,
		},
		{
			name: "secret in the name of a header", data: plain, limit: 1000, header: nats.Header{"mdb_sa_sk_0123456789": {"v"}, "X": {"a"}},
			wantHeader: merge(map[string][]string{"X": {"a"}, names.HeaderRedacted: {"true"}}), wantData: plain,
		},
		{
			name: "secret in the payload", data: `{"params":{"token":"` + canary + `"}}`, limit: 1000,
			wantHeader: merge(map[string][]string{names.HeaderRedacted: {"true"}}), wantData: `{"params":{"token":"` + redact.MarkText(canary) + `"}}`,
		},
		{
			name: "over the limit", data: long, limit: 100,
			wantHeader: merge(map[string][]string{names.HeaderTruncated: {"1000"}}), wantData: long[:100],
		},
		{name: "at the limit", data: long, limit: 1000, wantHeader: merge(nil), wantData: long},
		{
			name: "over a large limit", data: strings.Repeat("x", 110_000), limit: 100_000,
			wantHeader: merge(map[string][]string{names.HeaderTruncated: {"110000"}}), wantData: strings.Repeat("x", event.CutPayload),
		},
		{
			name: "marks make it longer than the limit", data: `{"token":["abcdefgh"]}`, limit: 25,
			wantHeader: merge(map[string][]string{names.HeaderTruncated: {"22"}, names.HeaderRedacted: {"true"}}), wantData: `{"token":["[redacted sha2`,
		},
		{name: "nothing fits", data: plain, limit: 0, wantHeader: merge(map[string][]string{names.HeaderTruncated: {fmt.Sprint(len(plain))}}), wantData: ""},
		{
			name: "large headers", data: plain, limit: 1000,
			header:     nats.Header{"A": {"1"}, "B": {strings.Repeat("b", cutHeaders)}, "C": {"3"}},
			wantHeader: merge(map[string][]string{"A": {"1"}}), wantData: plain,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := event.Message{Subject: "rekey.v1.event.incident", Header: tt.header, Data: []byte(tt.data), Seq: 42, At: moment}
			msg := deadEvent(names.New("rekey"), m, asked, why, tt.limit)
			if msg.Subject != "rekey.v1.dlq.event" {
				t.Errorf("the subject is %s", msg.Subject)
			}
			if diff := cmp.Diff(tt.wantHeader, map[string][]string(msg.Header)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.wantData, string(msg.Data)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDeadEventNamesTheKind(t *testing.T) {
	t.Parallel()
	asked := jobs.Event{Request: jobs.Request{Kind: kinds.IDPDelete}}
	msg := deadEvent(names.New("rekey"), event.Message{}, asked, errors.New("unknown account"), 100)
	if got := msg.Header.Get(names.HeaderKind); got != "idp.delete" {
		t.Errorf("the kind is %q", got)
	}
}

// TestDeadEventNamesTheJobOfARequest: who asked for it knows that id, and finds the dead letter by it.
func TestDeadEventNamesTheJobOfARequest(t *testing.T) {
	t.Parallel()
	refused, malformed := errors.New("unknown account"), &jobs.Malformed{Field: "kind", Detail: "is required"}
	requested := jobs.Event{Envelope: jobs.Envelope{Type: event.TypeRequested}}
	for _, tt := range []struct {
		name  string
		event jobs.Event
		why   error
		named bool
	}{
		{name: "a request", event: jobs.Event{Direct: true}, why: refused, named: true},
		{name: "one with a mistake", event: requested, why: malformed, named: true},
		{name: "one that uses a name of others", event: requested, why: &jobs.Rejection{Code: jobs.RejectIdentity, Field: "source"}},
		{name: "an event for policies", event: jobs.Event{NotDirect: malformed}, why: refused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.event.EventRef = jobs.EventRef{Source: "rekey/operator", ID: "1"}
			want := ""
			if tt.named {
				want = jobs.ID("rekey/operator", "1")
			}
			msg := deadEvent(names.New("rekey"), event.Message{}, tt.event, tt.why, 100)
			if got := msg.Header.Get(names.HeaderJobID); got != want {
				t.Errorf("the job is %q, want %q", got, want)
			}
		})
	}
}

func TestHeaderText(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"nothing", "", ""},
		{"one line", "all is well", "all is well"},
		{"lines", "a\nb\r\n\nc\r", "a; b; c"},
		{"invalid UTF-8", "a\xffb", "a?b"},
		{"secret", "token " + webToken, "token " + redact.MarkText(webToken)},
		{"secret over two lines", "mdb_sa_sk_abc\ndef", redact.MarkText("mdb_sa_sk_abc") + "; def"},
		{"long", strings.Repeat("é", 2000), strings.Repeat("é", 1024) + "…"},
		{"long, cut within a rune", "x" + strings.Repeat("é", 2000), "x" + strings.Repeat("é", 1023) + "…"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := headerText(tt.text); got != tt.want || !utf8.ValidString(got) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// A dead letter must always be smaller than what the server takes: one that is refused
// would make its event be redelivered without a limit.
func TestDeadLettersAlwaysFit(t *testing.T) {
	t.Parallel()
	log, _ := newLogs()
	const maxPayload = 128 << 10
	server := startServer(t, natsserver.Config{StoreDir: t.TempDir(), MaxPayload: maxPayload, Logger: log})
	conn := dial(t, ConnectConfig{Embedded: server, Logger: log})
	r := &rig{server: server, conn: conn, names: names.New("rekey"), log: log}
	if err := conn.Ensure(t.Context(), layout.Layout{Names: r.names}); err != nil {
		t.Fatal(err)
	}
	room := maxPayload - 100
	tests := []struct {
		name   string
		header nats.Header
		data   string
	}{
		{name: "payload only", data: strings.Repeat("x", room)},
		{name: "headers only", header: nats.Header{"X": {strings.Repeat("x", room)}}},
		{name: "half and half", header: nats.Header{"X": {strings.Repeat("x", room/2)}}, data: strings.Repeat("x", room/2)},
		{name: "many headers", header: nats.Header{"X": strings.Split(strings.Repeat("x", room/20), "")}, data: "x"},
		{name: "secrets that grow", data: `{"token":[` + strings.Repeat(`"a",`, room/8) + `"b"]}`},
		{name: "long reason", data: strings.Repeat(`"`, room/2)},
	}
	for i, tt := range tests {
		m := event.Message{Subject: r.names.Event("x"), Header: tt.header, Data: []byte(tt.data), Seq: uint64(i), At: moment}
		whole, err := conn.deadLetterEvent(t.Context(), m, jobs.Event{}, errors.New(strings.Repeat(tt.name+"\n", 1000)))
		if err != nil || !whole {
			t.Errorf("%s: whole %v, %v", tt.name, whole, err)
		}
	}
	if got := r.stored(t, r.names.DeadLetters()); got != len(tests) {
		t.Errorf("%d dead letters, want %d", got, len(tests))
	}
}

func TestDeadJob(t *testing.T) {
	t.Parallel()
	job := newTokenJob(t, "job1", canary)
	record := jobs.NewRecord(job)
	record.State, record.Outcome, record.Detail = jobs.StateDone, jobs.OutcomeRefused, "forbidden: no\nrole"
	msg, err := NewAnnouncer(&Conn{names: names.New("rekey")}, nil, nil, turnedSealer{}).deadJob(job, record, string(record.Outcome), record.Detail)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		names.HeaderReason: {"forbidden: no; role"}, names.HeaderCode: {"refused"}, names.HeaderJobID: {"job1"}, names.HeaderKind: {"token.revoke"},
		names.HeaderEventSource: {"nats:REKEY_EVENTS"}, names.HeaderEventID: {"seq:7:1"}, names.HeaderEventSubject: {"rekey.v1.event.incident"}, names.HeaderEventSeq: {"7"},
		names.HeaderEventAt: {"2026-03-01T03:04:05.678Z"},
	}
	if diff := cmp.Diff(want, map[string][]string(msg.Header)); diff != "" {
		t.Error(diff)
	}
	if msg.Subject != "rekey.v1.dlq.job.token-revoke" {
		t.Errorf("the subject is %s", msg.Subject)
	}
	var got jobMessage
	if err := json.Unmarshal(msg.Data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(newJobMessage(job, map[string]string{"token": fingerprint(canary)}), got); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(string(msg.Data), canary) {
		t.Error("the dead letter has the secret")
	}
}
