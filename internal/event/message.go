// Package event reads events: bytes and headers become a jobs.Event, after their signatures are checked and what is sealed in them is opened.
package event

import (
	"cmp"
	"errors"
	"fmt"
	"mime"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"rekey/internal/jobs"
	"rekey/internal/names"
	"rekey/internal/redact"
)

// TypeRequested is the CloudEvents type of a direct request.
const TypeRequested = "rekey.job.requested.v1"

// maxIdentityBytes bounds source and id of an event: they are shown and stored.
const maxIdentityBytes = 512

// HeaderTrace is the header, and the CloudEvents extension, that names a trace
// (https://www.w3.org/TR/trace-context/, cloudevents/extensions/distributed-tracing.md).
const HeaderTrace = "traceparent"

// traceOf is the trace that an event belongs to: its extension's, which is about the event, else
// its header's. An invalid traceparent is ignored.
func traceOf(e *jobs.Event, h nats.Header) string {
	return ValidTrace(cmp.Or(e.Envelope.Extensions[HeaderTrace], headerValue(h, HeaderTrace)))
}

// ValidTrace is a traceparent as it is, or "" where it is invalid.
func ValidTrace(trace string) string {
	if !traceparent.MatchString(trace) || emptyTrace.MatchString(trace) {
		return ""
	}
	return trace
}

var (
	traceparent = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)
	// emptyTrace is one that has the form and is invalid all the same: a version, or ids, that name nothing.
	emptyTrace = regexp.MustCompile(`^ff-|-0{32}-|-0{16}-`)
)

// ReadReceived reads an event as intake does: it receives the message first. The error joins one *jobs.Malformed per
// mistake, or is a *jobs.Rejection.
func ReadReceived(n names.Names, m Message) (jobs.Event, error) { return Read(n, Receive(n, m)) }

// Read reads an event that was received: a CloudEvent 1.0 in structured or binary mode, or plain JSON.
// The reference is as complete as could be read, also with an error, which joins one
// *jobs.Malformed per mistake, or is a *jobs.Rejection. A direct request that has mistakes is an error, too.
// See https://github.com/cloudevents/spec (JSON format and NATS protocol binding, 1.0.2).
func Read(n names.Names, m Message) (jobs.Event, error) {
	e := jobs.Event{Class: n.EventClass(m.Origin), Replayed: m.Replay}
	e.Subject, e.Seq, e.At = m.Origin, m.Seq, m.At
	e.Source, e.ID = plainIdentity(n, m)
	e.Envelope = jobs.Envelope{Time: m.At, Headers: ownHeaders(m.Header)}
	err := cmp.Or(m.Flaw, jobs.CheckSize(m.Data))
	if err == nil {
		err = decodeBody(&e, m)
	}
	e.Trace = traceOf(&e, m.Header)
	exposed := e.Scrub(append(m.Hidden(), redact.NewSet(e.Request.Params.InClear()...))...)
	return e, cmp.Or(err, exposed)
}

// Unreadable is why an event cannot be read, as a *jobs.Malformed, where that is its payload as a whole: it is too large, or no JSON object. No
// configuration changes that. Nil: it can be read, or something else is wrong.
func Unreadable(n names.Names, m Message) error {
	_, err := ReadReceived(n, m)
	if whole, ok := errors.AsType[*jobs.Malformed](err); ok && whole.Field == "" {
		return whole
	}
	return nil
}

// decodeBody tells the three forms apart. A content type that names the structured mode
// decides; attributes among the headers come second.
func decodeBody(e *jobs.Event, m Message) error {
	structured, err := isStructured(m.Header)
	if err != nil {
		return err
	}
	attributes := binaryAttributes(m.Header)
	if len(attributes) > 0 && !structured {
		return decodeBinary(e, attributes, m)
	}
	doc, err := jobs.ParseJSON(m.Data)
	if err != nil {
		return err
	}
	if _, ok := doc.Fields["specversion"]; ok || structured {
		return decodeStructured(e, m, doc, attributes)
	}
	if detail := checkIdentity(e.ID); detail != "" {
		return &jobs.Malformed{Field: nats.MsgIdHdr, Detail: detail}
	}
	return decodePlain(e, doc)
}

// decodePlain reads plain JSON: a direct request, or what only policies understand.
func decodePlain(e *jobs.Event, doc jobs.Document) error {
	e.Envelope.Data = doc.Value
	if err := doc.Object(""); err != nil {
		list, isList := doc.Value.([]any)
		if !isList || anyMeant(list) {
			return err
		}
		e.NotDirect = err
		return nil
	}
	request, err := jobs.ParseRequest(doc)
	if err != nil && !Meant(doc.Fields) {
		e.NotDirect = err
		return nil
	}
	e.Direct, e.Request = err == nil, request
	return err
}

// Meant reports whether plain JSON is meant as a direct request, if maybe a mistyped one: a
// tool's own JSON may well have a member kind, but not with one of our kinds, or parameters.
func Meant(fields map[string]any) bool {
	kind, ok := fields["kind"].(string)
	if !ok {
		return false
	}
	_, hasParams := fields["params"].(map[string]any)
	_, err := jobs.ParseKind(kind)
	return err == nil || hasParams
}

// anyMeant reports whether a list has a direct request or a CloudEvent in it. Each must be published
// by itself.
func anyMeant(list []any) bool {
	for _, one := range list {
		fields, _ := one.(map[string]any) //nolint:errcheck // Nil for other values.
		if _, ok := fields["specversion"]; ok || Meant(fields) {
			return true
		}
	}
	return false
}

// isStructured recognises the content type of a CloudEvent in structured mode. The error says that it
// is one in a format, or in a number, that is not understood.
func isStructured(h nats.Header) (bool, error) {
	media := mediaType(headerValue(h, "content-type"))
	switch {
	case media == CloudEventsJSON:
		return true, nil
	case media == cloudEventsBatch:
		return false, &jobs.Malformed{Field: "Content-Type", Detail: "is a batch of CloudEvents; publish each of them by itself"}
	case strings.HasPrefix(media, "application/cloudevents"):
		return false, &jobs.Malformed{Field: "Content-Type", Detail: "of the formats of CloudEvents, only " + CloudEventsJSON + " is understood"}
	}
	return false, nil
}

// CloudEventsJSON is the content type of a CloudEvent in structured mode.
const CloudEventsJSON = "application/cloudevents+json"

// cloudEventsBatch is the content type of several CloudEvents at once.
const cloudEventsBatch = "application/cloudevents-batch+json"

// mediaType is a content type without its parameters, in lower case; "" for what is none.
func mediaType(contentType string) string {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return ""
	}
	return media
}

// checkIdentity says what is wrong with a value that names an event, or nothing.
func checkIdentity(value string) string {
	switch {
	case value == "":
		return "must not be empty"
	case len(value) > maxIdentityBytes:
		return fmt.Sprintf("has more than %d bytes", maxIdentityBytes)
	case !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl):
		return "must not contain control characters"
	}
	return ""
}

// plainIdentity identifies an event that names no identity of its own: by the one that it
// had before it was replayed, by its Nats-Msg-Id, else by its place in the stream. The time belongs to the place: a stream that was made
// anew counts from 1 again.
func plainIdentity(n names.Names, m Message) (source, id string) {
	if m.Replay {
		return m.Header.Get(names.HeaderReplaySource), m.Header.Get(names.HeaderReplayID)
	}
	source = sourceOfStream + n.Events()
	if id := m.Header.Get(nats.MsgIdHdr); id != "" && m.Flaw == nil {
		return source, "id:" + id
	}
	return source, fmt.Sprintf("seq:%d:%d", m.Seq, m.At.UnixNano())
}
