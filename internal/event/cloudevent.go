package event

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"rekey/internal/jobs"
)

// binaryAttributes returns the CloudEvents attributes among the headers, whose names start
// with ce- in any case, percent-decoded as the binding says.
func binaryAttributes(h nats.Header) map[string]string {
	attributes := map[string]string{}
	for key, values := range h {
		name, ok := strings.CutPrefix(strings.ToLower(key), "ce-")
		if !ok || len(values) == 0 {
			continue
		}
		value := values[0]
		if plain, err := url.PathUnescape(value); err == nil {
			value = plain
		}
		attributes[name] = value
	}
	return attributes
}

func decodeBinary(e *jobs.Event, attributes map[string]string, m Message) error {
	for _, name := range []string{"data", "data_base64"} {
		if _, ok := attributes[name]; ok {
			return &jobs.Malformed{Field: "ce-" + name, Detail: "is no attribute: the data of an event in binary mode is its payload"}
		}
	}
	if err := checkEnvelope(e, m, slices.Collect(maps.Keys(attributes)), func(name string) (any, bool) {
		value, ok := attributes[name]
		return value, ok
	}); err != nil {
		return err
	}
	contentType := headerValue(m.Header, "content-type")
	if named, ok := attributes["datacontenttype"]; ok && named != contentType {
		if contentType != "" {
			return &jobs.Malformed{Field: "ce-datacontenttype", Detail: "is another type than that of the header Content-Type"}
		}
		contentType = named
	}
	return decodeData(e, contentType, "", m.Data)
}

// decodeStructured reads a CloudEvent that is one JSON object. Attributes in headers may repeat those of
// the object.
func decodeStructured(e *jobs.Event, m Message, doc jobs.Document, headers map[string]string) error {
	if err := doc.Object(""); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		if attributeText(doc.Fields[name]) != headers[name] {
			return &jobs.Malformed{Field: safeHeader("ce-" + name), Detail: "says something else than the event in the payload"}
		}
	}
	err := checkEnvelope(e, m, slices.Collect(maps.Keys(doc.Fields)), func(name string) (any, bool) {
		value, ok := doc.Fields[name]
		return value, ok
	})
	if err := cmp.Or(err, twoSpellings(doc)); err != nil {
		return err
	}
	contentType, isText := doc.Fields["datacontenttype"].(string)
	if raw := doc.Fields["datacontenttype"]; raw != nil && !isText {
		return &jobs.Malformed{Field: "datacontenttype", Line: doc.Line("datacontenttype"), Detail: "must be a string"}
	}
	encoded := doc.Fields["data_base64"]
	_, hasData := doc.Fields["data"]
	switch {
	case encoded != nil && hasData:
		return &jobs.Malformed{Field: "data_base64", Line: doc.Line("data_base64"), Detail: "is there beside data; an event has one of the two"}
	case encoded != nil:
		return decodeBase64(e, contentType, doc, encoded)
	case hasData:
		return request(e, contentType, "data", doc.Member("data"))
	}
	return noData(e, "data")
}

// twoSpellings reports, as *jobs.Malformed, a member that is there in lower case and in another spelling: readers differ on which
// of them counts. Names are lower case (CloudEvents 1.0, section 3.1).
func twoSpellings(doc jobs.Document) error {
	for _, name := range slices.Sorted(maps.Keys(doc.Fields)) {
		lower := strings.ToLower(name)
		if _, both := doc.Fields[lower]; both && lower != name && slices.Contains(members, lower) {
			return &jobs.Malformed{Field: name, Line: doc.Line(name), Detail: "is there beside " + lower + "; the names of CloudEvents are in lower case"}
		}
	}
	return nil
}

// members are those of a structured CloudEvent that are read.
var members = []string{"specversion", "id", "source", "type", "time", "subject", "datacontenttype", "data", "data_base64"}

func decodeBase64(e *jobs.Event, contentType string, doc jobs.Document, encoded any) error {
	const name = "data_base64"
	text, ok := encoded.(string)
	if !ok {
		return &jobs.Malformed{Field: name, Line: doc.Line(name), Detail: "must be a string"}
	}
	data, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return &jobs.Malformed{Field: name, Line: doc.Line(name), Detail: "is no base64 (RFC 4648, section 4)"}
	}
	return decodeData(e, contentType, name, data)
}

// decodeData reads the bytes of a CloudEvent's data. Those of a direct request are JSON; those of
// another event are what its content type says, and a text where it does not say.
func decodeData(e *jobs.Event, contentType, field string, data []byte) error {
	if len(data) == 0 {
		return noData(e, field)
	}
	var doc jobs.Document
	if contentType == "" || isJSON(contentType) {
		parsed, err := jobs.ParseJSON(data)
		if err == nil {
			return request(e, contentType, field, parsed)
		}
		if e.Envelope.Type == TypeRequested || contentType != "" {
			return inField(err, field)
		}
	}
	if utf8.Valid(data) {
		doc.Value = string(data)
	}
	return request(e, contentType, field, doc)
}

// inField names the field that a mistake in its content is about. Lines are those of the content, and
// say nothing of the payload.
func inField(err error, field string) error {
	m, ok := errors.AsType[*jobs.Malformed](err)
	if !ok || field == "" {
		return err
	}
	return &jobs.Malformed{Field: field, Detail: fmt.Sprintf("what it encodes is not understood: %s", m.Error())}
}

// noData handles a CloudEvent without data.
func noData(e *jobs.Event, field string) error {
	if e.Envelope.Type == TypeRequested {
		return &jobs.Malformed{Field: cmp.Or(field, "data"), Detail: "is required by " + TypeRequested + ", and there is none"}
	}
	return request(e, "", field, jobs.Document{})
}

// request takes the data of a CloudEvent: its type says whether it is a direct request.
func request(e *jobs.Event, contentType, field string, data jobs.Document) error {
	e.Envelope.Data = data.Value
	if e.Envelope.Type != TypeRequested {
		e.NotDirect = &jobs.Malformed{Field: "type", Detail: "no rule for this type; a direct request has the type " + TypeRequested}
		return nil
	}
	if contentType != "" && !isJSON(contentType) {
		return &jobs.Malformed{Field: "datacontenttype", Detail: "must be JSON"}
	}
	if err := data.Object(field); err != nil {
		return err
	}
	parsed, err := jobs.ParseRequest(data)
	e.Direct, e.Request = err == nil, parsed
	return err
}

// isJSON reports whether a content type is JSON.
func isJSON(contentType string) bool {
	media := mediaType(contentType)
	return media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json")
}
