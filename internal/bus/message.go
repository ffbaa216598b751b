package bus

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"maps"
	"mime"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"rekey/internal/credential"
	"rekey/internal/jobs"
	"rekey/internal/secret"
)

// TypeRequested is the CloudEvents type of a direct request.
const TypeRequested = "rekey.job.requested.v1"

// maxIdentityBytes bounds source and id of an event: they are shown and stored.
const maxIdentityBytes = 512

// incoming is a message of the stream of events, free of the client library.
type incoming struct {
	subject     string
	header      nats.Header
	data        []byte
	seq         uint64
	at          time.Time // When NATS accepted it.
	redelivered bool
	// sealed is the whole event as its dead letter may carry it; empty where it holds no secrets.
	sealed string
	// secrets are what is known to be secret in it.
	secrets []secret.Value
}

// decodeEvent reads a direct request, as readEvent does. What is none is an error.
func (n Names) decodeEvent(m incoming) (jobs.Event, error) {
	e, err := n.readEvent(m)
	if err == nil && !e.Asks {
		err = e.Unclear
	}
	return e, err
}

// headerTrace is the header, and the CloudEvents extension, that names a trace
// (https://www.w3.org/TR/trace-context/, cloudevents/extensions/distributed-tracing.md).
const headerTrace = "traceparent"

// traceOf is the trace that an event belongs to: its extension's, which is about the event, else
// its header's. What is no traceparent is none.
func traceOf(e *jobs.Event, h nats.Header) string {
	trace := cmp.Or(e.Envelope.Extensions[headerTrace], headerValue(h, headerTrace))
	if !traceparent.MatchString(trace) {
		return ""
	}
	return trace
}

var traceparent = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// readEvent reads an event: a CloudEvent 1.0 in structured or binary mode, or plain JSON.
// The reference is as complete as could be read, also with an error, which joins one
// *jobs.Malformed per mistake. A direct request that has mistakes is an error, too.
// See https://github.com/cloudevents/spec (JSON format and NATS protocol binding, 1.0.2).
func (n Names) readEvent(m incoming) (jobs.Event, error) {
	e := jobs.Event{Class: n.eventClass(m.subject), Replayed: m.header.Get(HeaderReplayID) != ""}
	e.Subject, e.Seq, e.At = m.subject, m.seq, m.at
	e.Source, e.ID = n.plainIdentity(m)
	e.Envelope = jobs.Envelope{Time: m.at, Headers: ownHeaders(m.header)}
	if len(m.data) > jobs.MaxEventBytes {
		return e, &jobs.Malformed{Detail: fmt.Sprintf("the payload has %d bytes; the limit is %d", len(m.data), jobs.MaxEventBytes)}
	}
	err := decodeBody(&e, m)
	e.Trace = traceOf(&e, m.header)
	return e, err
}

// decodeBody tells the three forms apart. A content type that names the structured mode
// decides; attributes among the headers come second.
func decodeBody(e *jobs.Event, m incoming) error {
	structured := isStructured(m.header)
	attributes := binaryAttributes(m.header)
	if len(attributes) > 0 && !structured {
		return decodeBinary(e, attributes, m)
	}
	doc, err := jobs.ParseDocument(m.data)
	if err != nil {
		return err
	}
	if _, ok := doc.Fields["specversion"]; ok || structured {
		return decodeStructured(e, doc)
	}
	if detail := checkIdentity(e.ID); detail != "" {
		return &jobs.Malformed{Field: nats.MsgIdHdr, Detail: detail}
	}
	if detail := checkIdentity(e.Source); detail != "" { // Of a replay: its header says it.
		return &jobs.Malformed{Field: HeaderReplaySource, Detail: detail}
	}
	e.Envelope.Data = doc.Fields
	request, err := jobs.ParseRequest(doc)
	if err != nil && !meant(doc) {
		e.Unclear = err
		return nil
	}
	e.Asks, e.Request = err == nil, request
	return err
}

// meant reports whether plain JSON is meant as a direct request, if maybe a mistyped one: a
// tool's own JSON may well have a member kind, but not with one of our kinds, or parameters.
func meant(doc jobs.Document) bool {
	kind, ok := doc.Fields["kind"].(string)
	if !ok {
		return false
	}
	_, hasParams := doc.Fields["params"].(map[string]any)
	_, err := jobs.ParseKind(kind)
	return err == nil || hasParams
}

// isStructured recognises the content type of a CloudEvent in structured mode.
func isStructured(h nats.Header) bool {
	media, _, err := mime.ParseMediaType(headerValue(h, "content-type"))
	return err == nil && media == cloudEventsJSON
}

// checkIdentity says what is wrong with a value that names an event, or nothing.
func checkIdentity(value string) string {
	switch {
	case len(value) > maxIdentityBytes:
		return fmt.Sprintf("has more than %d bytes", maxIdentityBytes)
	case !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl):
		return "must not contain control characters"
	case credential.Certain(value):
		return "must not hold a credential: it is kept and shown"
	}
	return ""
}

// plainIdentity identifies an event that names no identity of its own: by the one that it
// had before it was replayed, by its Nats-Msg-Id, else by its place in the stream. The time belongs to the place: a stream that was made
// anew counts from 1 again.
func (n Names) plainIdentity(m incoming) (source, id string) {
	if id := m.header.Get(HeaderReplayID); id != "" {
		return m.header.Get(HeaderReplaySource), id
	}
	source = "nats:" + n.Events()
	if id := m.header.Get(nats.MsgIdHdr); id != "" {
		return source, "id:" + id
	}
	return source, fmt.Sprintf("seq:%d:%d", m.seq, m.at.UnixNano())
}

// binaryAttributes returns the CloudEvents attributes among the headers, whose names start
// with ce- in any case, percent-decoded as the binding says.
func binaryAttributes(h nats.Header) map[string]string {
	attributes := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(h)) {
		name, ok := strings.CutPrefix(strings.ToLower(key), "ce-")
		values := h[key]
		if _, twice := attributes[name]; !ok || twice || len(values) == 0 {
			continue // In two spellings the same one always counts: an identity must not waver.
		}
		value := values[0]
		if plain, err := url.PathUnescape(value); err == nil {
			value = plain
		}
		attributes[name] = value
	}
	return attributes
}

func decodeBinary(e *jobs.Event, attributes map[string]string, m incoming) error {
	if err := checkEnvelope(e, slices.Collect(maps.Keys(attributes)), func(name string) (any, bool) {
		value, ok := attributes[name]
		return value, ok
	}); err != nil {
		return err
	}
	if err := checkContentType(headerValue(m.header, "content-type")); err != nil {
		return err
	}
	return decodeData(e, m.data)
}

func decodeStructured(e *jobs.Event, doc jobs.Document) error {
	err := checkEnvelope(e, slices.Collect(maps.Keys(doc.Fields)), func(name string) (any, bool) {
		value, ok := doc.Fields[name]
		return value, ok
	})
	if err != nil {
		return err
	}
	if contentType, ok := doc.Fields["datacontenttype"].(string); ok {
		if err := checkContentType(contentType); err != nil {
			return err
		}
	}
	if encoded, ok := doc.Fields["data_base64"].(string); ok {
		data, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return &jobs.Malformed{Field: "data_base64", Line: doc.Line("data_base64"), Detail: "is no base64"}
		}
		return decodeData(e, data)
	}
	if _, ok := doc.Fields["data"]; !ok {
		if e.Envelope.Type != TypeRequested {
			return request(e, jobs.Document{})
		}
		return &jobs.Malformed{Field: "data", Detail: "is required by " + TypeRequested}
	}
	data, err := doc.Within("data")
	if err != nil {
		return err
	}
	return request(e, data)
}

func decodeData(e *jobs.Event, data []byte) error {
	if len(data) == 0 && e.Envelope.Type != TypeRequested {
		return request(e, jobs.Document{})
	}
	doc, err := jobs.ParseDocument(data)
	if err != nil {
		return err
	}
	return request(e, doc)
}

// request takes the data of a CloudEvent: its type says whether it is a direct request.
func request(e *jobs.Event, data jobs.Document) (err error) {
	e.Envelope.Data = data.Fields
	if e.Envelope.Type != TypeRequested {
		e.Unclear = &jobs.Malformed{Field: "type", Detail: "no rule for this type; a direct request has the type " + TypeRequested}
		return nil
	}
	e.Request, err = jobs.ParseRequest(data)
	e.Asks = err == nil
	return err
}

// checkContentType accepts JSON and says nothing of an event that names no type.
func checkContentType(contentType string) error {
	if contentType == "" {
		return nil
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil || media != "application/json" && !strings.HasSuffix(media, "+json") {
		return &jobs.Malformed{Field: "datacontenttype", Detail: "must be JSON"}
	}
	return nil
}

// headerValue reads a header whose name may be written in any case.
func headerValue(h nats.Header, name string) string {
	for _, key := range slices.Sorted(maps.Keys(h)) {
		if strings.EqualFold(key, name) && len(h[key]) > 0 {
			return h[key][0]
		}
	}
	return ""
}

// Message is a message of the stream of events.
type Message struct {
	Subject string
	Header  nats.Header
	Data    []byte
	Seq     uint64
	At      time.Time // When NATS accepted it.
}

// ReadEvent reads an event as intake does. The error joins one *jobs.Malformed per mistake.
func (n Names) ReadEvent(m Message) (jobs.Event, error) {
	return n.readEvent(incoming{subject: m.Subject, header: m.Header, data: m.Data, seq: m.Seq, at: m.At})
}
