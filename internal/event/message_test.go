package event

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/names"
)

// plain is a valid request.
const plain = `{"kind":"x509.disable","params":{"project_id":"` + hexA + `"}}`

// structured is a CloudEvent in structured mode with these members.
func structured(members ...string) string { return "{" + strings.Join(members, ",") + "}" }

// envelope are the members that every CloudEvent needs.
func envelope(id, source string) []string {
	return []string{`"specversion":"1.0"`, `"type":"` + TypeRequested + `"`, `"id":"` + id + `"`, `"source":"` + source + `"`}
}

// binary are the headers of a CloudEvent in binary mode.
func binary(id, source string) nats.Header {
	return nats.Header{"ce-specversion": {"1.0"}, "ce-type": {TypeRequested}, "ce-id": {id}, "ce-source": {source}}
}

// with adds a header.
func with(h nats.Header, key, value string) nats.Header {
	h[key] = []string{value}
	return h
}

func message(data string, h nats.Header) Message {
	return Message{Subject: "rekey.v1.event.incident", Header: h, Data: []byte(data), Seq: 42, At: moment, Redelivered: true}
}

// decodeEvent reads a direct request. What is none is an error.
func decodeEvent(n names.Names, m Message) (jobs.Event, error) {
	e, err := Read(n, Receive(n, m))
	if err == nil && !e.Direct {
		err = e.NotDirect
	}
	return e, err
}

func TestDecodeEventUnderstands(t *testing.T) {
	t.Parallel()
	const bySeq, byCE = "seq:42:1772334245678000000", "id-1"
	tests := []struct {
		name       string
		data       string
		header     nats.Header
		wantSource string
		wantID     string
	}{
		{name: "plain JSON", data: plain, wantSource: "nats:REKEY_EVENTS", wantID: bySeq},
		{name: "plain JSON with white space", data: "\n " + plain + "\n", wantSource: "nats:REKEY_EVENTS", wantID: bySeq},
		{
			name: "plain JSON with a message id", data: plain, header: nats.Header{nats.MsgIdHdr: {"abc"}},
			wantSource: "nats:REKEY_EVENTS", wantID: "id:abc",
		},
		{
			name: "plain JSON whose message id looks like a sequence", data: plain, header: nats.Header{nats.MsgIdHdr: {bySeq}},
			wantSource: "nats:REKEY_EVENTS", wantID: "id:" + bySeq,
		},
		{
			name: "structured CloudEvent", data: structured(append(envelope("id-1", "/soar"), `"data":`+plain)...),
			wantSource: "/soar", wantID: byCE,
		},
		{
			name: "structured CloudEvent beats the message id", data: structured(append(envelope("id-1", "/soar"), `"data":`+plain)...),
			header: nats.Header{nats.MsgIdHdr: {"abc"}}, wantSource: "/soar", wantID: byCE,
		},
		{
			name: "structured CloudEvent with extensions, time and subject",
			data: structured(append(envelope("id-1", "/soar"), `"traceparent":"00-1"`, `"time":"2026-01-01T00:00:00Z"`, `"subject":"s"`,
				`"datacontenttype":"application/json; charset=utf-8"`, `"data":`+plain)...),
			wantSource: "/soar", wantID: byCE,
		},
		{
			name: "structured CloudEvent with data_base64",
			data: structured(append(envelope("id-1", "/soar"), `"data_base64":"`+base64.StdEncoding.EncodeToString([]byte(plain))+`"`)...),

			wantSource: "/soar", wantID: byCE,
		},
		{
			name:   "structured CloudEvent under its content type, with the same attributes among the headers",
			data:   structured(append(envelope("id-1", "/soar"), `"data":`+plain)...),
			header: with(binary("id-1", "%2Fsoar"), "content-type", "application/cloudevents+json; charset=UTF-8"),

			wantSource: "/soar", wantID: byCE,
		},
		{name: "binary CloudEvent", data: plain, header: binary("id-1", "/soar"), wantSource: "/soar", wantID: byCE},
		{
			name: "binary CloudEvent with a content type", data: plain,
			header: with(binary("id-1", "/soar"), "Content-Type", "application/json"), wantSource: "/soar", wantID: byCE,
		},
		{
			name: "binary CloudEvent in any case", data: plain,
			header:     nats.Header{"CE-SpecVersion": {"1.0"}, "Ce-Type": {TypeRequested}, "cE-iD": {"id-1"}, "CE-SOURCE": {"/soar"}},
			wantSource: "/soar", wantID: byCE,
		},
		{
			name: "binary CloudEvent with percent-encoding", data: plain,
			header: binary("caf%C3%A9%20%2525", "/soar%20one"), wantSource: "/soar one", wantID: "café %25",
		},
		{
			name: "binary CloudEvent with a lone percent sign", data: plain,
			header: binary("100%", "/soar"), wantSource: "/soar", wantID: "100%",
		},
		{
			name: "binary CloudEvent whose type of data is an attribute", data: plain,
			header: with(binary("id-1", "/soar"), "ce-datacontenttype", "application/json"), wantSource: "/soar", wantID: byCE,
		},
		{name: "behind a byte order mark", data: "\ufeff" + plain, wantSource: "nats:REKEY_EVENTS", wantID: bySeq},
		{
			name: "a byte order mark within data_base64", wantSource: "/soar", wantID: byCE,
			data: structured(append(envelope("id-1", "/soar"), `"data_base64":"`+base64.StdEncoding.EncodeToString([]byte("\ufeff"+plain))+`"`)...),
		},
		{
			name: "data beside a data_base64 that is null", data: structured(append(envelope("id-1", "/soar"), `"data_base64":null`, `"data":`+plain)...),
			wantSource: "/soar", wantID: byCE,
		},
		{
			name: "times in small letters", wantSource: "/soar", wantID: byCE,
			data: structured(append(envelope("id-1", "/soar"), `"time":"2026-11-24t03:00:00.5z"`,
				`"data":`+strings.TrimSuffix(plain, "}")+`,"expires_at":"2026-11-24t03:00:00+01:00"}`)...),
		},
		{
			name: "a message id in another spelling", data: plain, header: nats.Header{"nats-msg-id": {"abc"}},
			wantSource: "nats:REKEY_EVENTS", wantID: "id:abc",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, err := decodeEvent(names.New("rekey"), message(tt.data, tt.header))
			if err != nil {
				t.Fatal(err)
			}
			want := jobs.EventRef{Source: tt.wantSource, ID: tt.wantID, Subject: "rekey.v1.event.incident", Seq: 42, At: moment}
			if diff := cmp.Diff(want, e.EventRef); diff != "" {
				t.Error(diff)
			}
			if e.Class != "incident" {
				t.Errorf("class %q", e.Class)
			}
			if e.Request.Kind != kinds.X509Disable || e.Request.Params.Get("project_id") != hexA {
				t.Errorf("request: %+v", e.Request)
			}
		})
	}
}

func TestDecodeEventRejects(t *testing.T) {
	t.Parallel()
	ce := func(members ...string) string { return structured(append(envelope("id-1", "/soar"), members...)...) }
	tests := []struct {
		name   string
		data   string
		header nats.Header
		want   []string // Parts of the error, one mistake each.
		wantID string   // The event's id as far as it is known; "" is its place in the stream.
	}{
		{name: "nothing", want: []string{"the payload is empty"}},
		{name: "text", data: "hello", want: []string{"is no JSON"}},
		{name: "array", data: "[]", want: []string{"must be a JSON object, not an array"}},
		{name: "two documents", data: plain + plain, want: []string{"after the JSON object"}},
		{name: "cut off", data: plain[:30], want: []string{"ends too early"}},
		{name: "invalid UTF-8", data: "{\"kind\":\"\xff\"}", want: []string{"invalid UTF-8 at byte 9"}},
		{name: "too large", data: `{"reason":"` + strings.Repeat("x", jobs.MaxEventBytes) + `"}`, want: []string{"the limit is 1048576"}},
		{name: "deep nesting", data: strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000), want: []string{"nested more than"}},
		{name: "deep nesting of arrays", data: `{"a":` + strings.Repeat("[", 100_000), want: []string{"nested more than"}},
		{name: "no kind", data: `{"params":{}}`, want: []string{"kind: is required"}},
		{name: "unknown kind", data: `{"kind":"token.delete"}`, want: []string{"kind: unknown kind"}},
		{
			name: "several mistakes", data: `{"kind":"x509.disable","params":{"project":"x"},"lane":"fast"}`,
			want: []string{"lane: unknown lane", "params.project: unknown parameter", "params.project_id: required"},
		},
		{name: "long message id", data: plain, header: nats.Header{nats.MsgIdHdr: {strings.Repeat("i", 600)}}, want: []string{"more than 512 bytes"}, wantID: "id:" + strings.Repeat("i", 600)},
		{name: "message id of bytes", data: plain, header: nats.Header{nats.MsgIdHdr: {"a\xffb"}}, want: []string{"Nats-Msg-Id: must not contain control"}, wantID: "id:a\xffb"},

		{name: "structured: nothing but a version", data: `{"specversion":"1.0"}`, want: []string{"id: is required", "source: is required", "type: is required"}},
		{name: "structured: empty id", data: structured(append(envelope("", "/soar"), `"data":`+plain)...), want: []string{"id: is required"}},
		{name: "structured: id is a number", data: `{"specversion":"1.0","type":"` + TypeRequested + `","id":7,"source":"/s","data":` + plain + `}`, want: []string{"id: must be a string"}},
		{name: "structured: id with a line break", data: structured(append(envelope(`a\nb`, "/soar"), `"data":`+plain)...), want: []string{"id: must not contain control"}},
		{name: "structured: long source", data: structured(append(envelope("1", strings.Repeat("s", 513)), `"data":`+plain)...), want: []string{"source: has more than 512 bytes"}},
		{name: "structured: source is no URI reference", data: structured(append(envelope("1", "%zz"), `"data":`+plain)...), want: []string{"source: must be a URI reference"}},
		{name: "structured: version 0.3", data: strings.Replace(ce(`"data":`+plain), `"1.0"`, `"0.3"`, 1), want: []string{"specversion: only 1.0"}},
		{name: "structured: version is a number", data: strings.Replace(ce(`"data":`+plain), `"1.0"`, `1.0`, 1), want: []string{"specversion: must be a string"}},
		{name: "structured: unknown type", data: strings.Replace(ce(`"data":`+plain), TypeRequested, "com.example.alert", 1), want: []string{"type: no rule for this type"}, wantID: "id-1"},
		{name: "structured: no data", data: ce(), want: []string{"data: is required"}, wantID: "id-1"},
		{name: "structured: data is text", data: ce(`"data":"x"`), want: []string{"data: must be a JSON object, not a string"}, wantID: "id-1"},
		{name: "structured: data is no JSON", data: ce(`"datacontenttype":"text/xml"`, `"data":`+plain), want: []string{"datacontenttype: must be JSON"}, wantID: "id-1"},
		{name: "structured: bad base64", data: ce(`"data_base64":"***"`), want: []string{"data_base64: is no base64"}, wantID: "id-1"},
		{name: "structured: base64 of bytes", data: ce(`"data_base64":"/w=="`), want: []string{"invalid UTF-8 at byte 0"}, wantID: "id-1"},
		{name: "structured: base64 of another alphabet", data: ce(`"data_base64":"_-8="`), want: []string{"data_base64: is no base64"}, wantID: "id-1"},
		{name: "structured: base64 with bits that are left over", data: ce(`"data_base64":"e31="`), want: []string{"data_base64: is no base64"}, wantID: "id-1"},
		{name: "structured: base64 is a number", data: ce(`"data_base64":7`), want: []string{"data_base64: must be a string"}, wantID: "id-1"},
		{name: "structured: data and data_base64", data: ce(`"data":`+plain, `"data_base64":"e30="`), want: []string{"data_base64: is there beside data"}, wantID: "id-1"},
		{name: "structured: two spellings of data", data: ce(`"data":`+plain, `"Data":{}`), want: []string{"Data: is there beside data"}, wantID: "id-1"},
		{name: "structured: two spellings of an attribute", data: ce(`"data":`+plain, `"ID":"id-2"`), want: []string{"ID: is there beside id"}, wantID: "id-1"},
		{name: "structured: the other way round", data: ce(`"data_base64":"e30="`, `"data":null`), want: []string{"data_base64: is there beside data"}, wantID: "id-1"},
		{name: "structured: datacontenttype is a number", data: ce(`"datacontenttype":7`, `"data":`+plain), want: []string{"datacontenttype: must be a string"}, wantID: "id-1"},
		{name: "structured: another id in a header", data: ce(`"data":` + plain), header: nats.Header{"Content-Type": {CloudEventsJSON}, "Ce-Id": {"id-2"}}, want: []string{"ce-id: says something else"}},
		{name: "structured: an extension in a header only", data: ce(`"data":` + plain), header: nats.Header{"Content-Type": {CloudEventsJSON}, "ce-tenant": {"a"}}, want: []string{"ce-tenant: says something else"}},
		{name: "structured: an array", data: "[" + ce(`"data":`+plain) + "]", header: nats.Header{"Content-Type": {CloudEventsJSON}}, want: []string{"must be a JSON object, not an array"}},
		{name: "a batch", data: "[" + ce(`"data":`+plain) + "]", header: nats.Header{"Content-Type": {"application/cloudevents-batch+json"}}, want: []string{"Content-Type: is a batch of CloudEvents"}},
		{name: "another format of CloudEvents", data: "x", header: nats.Header{"Content-Type": {"application/cloudevents+avro"}}, want: []string{"Content-Type: of the formats"}},
		{name: "an array of CloudEvents", data: "[" + ce(`"data":`+plain) + "]", want: []string{"must be a JSON object, not an array"}},
		{name: "an array of requests", data: "[1," + plain + "]", want: []string{"must be a JSON object, not an array"}},
		{name: "UTF-16", data: "\xff\xfe{\x00}\x00", want: []string{"is UTF-16"}},
		{name: "structured: mistake in the data", data: ce(`"data":{"kind":"x509.disable"}`), want: []string{"params.project_id: required"}, wantID: "id-1"},
		{
			name: "structured: content type without a version", data: plain,
			header: nats.Header{"Content-Type": {CloudEventsJSON}}, want: []string{"specversion: is required", "id: is required", "source: is required", "type: is required"},
		},

		{name: "binary: id only", data: plain, header: nats.Header{"ce-id": {"1"}}, want: []string{"specversion: is required", "source: is required", "type: is required"}},
		{name: "binary: wrong version", data: plain, header: with(binary("1", "/s"), "ce-specversion", "2.0"), want: []string{"specversion: only 1.0"}},
		{name: "binary: unknown type", data: plain, header: with(binary("1", "/s"), "ce-type", "x"), want: []string{"type: no rule"}, wantID: "1"},
		{name: "structured: time", data: ce(`"time":"yesterday"`, `"data":`+plain), want: []string{"time: must be a time like"}},
		{name: "structured: time is a number", data: ce(`"time":1`, `"data":`+plain), want: []string{"time: must be a time like"}},
		{name: "binary: id of encoded bytes", data: plain, header: binary("%FF", "/s"), want: []string{"id: must not contain control"}},
		{name: "binary: another content type in an attribute", data: plain, header: with(with(binary("id-1", "/s"), "ce-datacontenttype", "text/xml"), "content-type", "application/json"), want: []string{"ce-datacontenttype: is another type"}, wantID: "id-1"},
		{name: "binary: data in a header", data: plain, header: with(binary("id-1", "/s"), "ce-data", "{}"), want: []string{"ce-data: is no attribute"}},
		{name: "an attribute in two spellings", data: plain, header: with(binary("id-2", "/soar"), "Ce-Id", "id-1"), want: []string{"ce-id: has several values"}},
		{name: "an attribute with two values", data: plain, header: nats.Header{"ce-id": {"1", "1"}, "ce-source": {"/s"}}, want: []string{"ce-id: has several values"}},
		{name: "two message ids", data: plain, header: nats.Header{nats.MsgIdHdr: {"a", "b"}}, want: []string{"Nats-Msg-Id: has several values"}},
		{name: "a message id in two spellings", data: plain, header: nats.Header{nats.MsgIdHdr: {"a"}, "NATS-MSG-ID": {"a"}}, want: []string{"Nats-Msg-Id: has several values"}},
		{name: "two content types", data: plain, header: nats.Header{"Content-Type": {"application/json"}, "content-type": {CloudEventsJSON}}, want: []string{"content-type: has several values"}},
		{name: "two traces", data: plain, header: nats.Header{"traceparent": {"a", "b"}}, want: []string{"traceparent: has several values"}},
		{name: "two signatures", data: plain, header: nats.Header{HeaderSignature: {"a"}, "rekey-signature": {"b"}}, want: []string{"Rekey-Signature: has several values"}},
		{name: "binary: content type", data: plain, header: with(binary("id-1", "/s"), "CONTENT-TYPE", "application/xml"), want: []string{"datacontenttype: must be JSON"}, wantID: "id-1"},
		{name: "binary: unreadable content type", data: plain, header: with(binary("id-1", "/s"), "content-type", ";"), want: []string{"datacontenttype: must be JSON"}, wantID: "id-1"},
		{name: "binary: no data", header: binary("id-1", "/s"), want: []string{"data: is required by rekey.job.requested.v1"}, wantID: "id-1"},
		{name: "binary: mistake in the data", data: `{"kind":1}`, header: binary("id-1", "/s"), want: []string{"kind: must be a string, not a number"}, wantID: "id-1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, err := decodeEvent(names.New("rekey"), message(tt.data, tt.header))
			if !onlyMalformed(err) {
				t.Fatalf("the error is %T %v", err, err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error lacks %q:\n%v", want, err)
				}
			}
			if got := strings.Count(err.Error(), "\n") + 1; got != len(tt.want) {
				t.Errorf("%d mistakes, want %d:\n%v", got, len(tt.want), err)
			}
			want := tt.wantID
			if want == "" {
				want = "seq:42:1772334245678000000"
			}
			if e.ID != want || e.Seq != 42 {
				t.Errorf("the event is called %q (%d), want %q", e.ID, e.Seq, want)
			}
		})
	}
}

// onlyMalformed reports whether err is one or more *jobs.Malformed and nothing else.
func onlyMalformed(err error) bool {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			if !onlyMalformed(one) {
				return false
			}
		}
		return len(joined.Unwrap()) > 0
	}
	_, ok := errors.AsType[*jobs.Malformed](err)
	return ok
}

// namesCanary reports whether the canary is part of a member's name: names are repeated,
// so that people find their mistake. In text that is no JSON nothing is repeated.
func namesCanary(data string) bool {
	doc, err := jobs.ParseDocument([]byte(data))
	if err != nil {
		return strings.Contains(err.Error(), "CANARY")
	}
	var inNames func(v any) bool
	inNames = func(v any) bool {
		members, _ := v.(map[string]any)
		for name, inner := range members {
			if strings.Contains(name, "CANARY") || inNames(inner) {
				return true
			}
		}
		return false
	}
	if encoded, ok := doc.Fields["data_base64"].(string); ok {
		inner, err := base64.StdEncoding.DecodeString(encoded)
		if err == nil && namesCanary(string(inner)) {
			return true
		}
	}
	return inNames(doc.Fields)
}

// TestHeadersShow: a credential in a header of another tool's event, or in its name, counts as one in its payload does.
func TestHeadersShow(t *testing.T) {
	t.Parallel()
	const shaped = "mdb_sa_sk_0123456789"
	alert := &jobs.Event{NotDirect: &jobs.Malformed{Detail: "x"}}
	for name, header := range map[string]nats.Header{"name": {shaped: {"v"}}, "own name": {"Rekey-" + shaped: {"v"}}, "value": {"X": {"see " + shaped}}} {
		m := Message{Header: header, Data: []byte(`{"alert":"x"}`)}
		if !m.Holds(alert) || !m.Shows() || !m.Dirty() {
			t.Errorf("%s: a message that shows a credential: %v, %v, %v", name, m.Holds(alert), m.Shows(), m.Dirty())
		}
	}
	m := Message{Header: nats.Header{"X": {"y"}}, Data: []byte(`{"alert":"x"}`)}
	if m.Holds(alert) || m.Shows() || m.Dirty() {
		t.Error("a message without a credential shows one")
	}
}
