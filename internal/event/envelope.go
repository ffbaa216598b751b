package event

import (
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"rekey/internal/jobs"
)

// checkEnvelope checks the context attributes that CloudEvents 1.0 requires and takes the
// event's identity from them, and what policies may want to see.
func checkEnvelope(e *jobs.Event, m Message, names []string, attribute func(string) (any, bool)) error {
	var problems []error
	reject := func(field, detail string) {
		problems = append(problems, &jobs.Malformed{Field: field, Detail: detail})
	}
	values := map[string]string{}
	for _, name := range []string{"specversion", "id", "source", "type"} {
		value, detail := required(attribute(name))
		if detail != "" {
			reject(name, detail)
		}
		values[name] = value
	}
	if v := values["specversion"]; v != "" && v != "1.0" {
		reject("specversion", "only 1.0 is understood")
	}
	if held := reserved(m, e.Class, values["source"]); held != nil {
		return held
	}
	if _, err := url.Parse(values["source"]); err != nil {
		reject("source", "must be a URI reference")
	}
	if detail := happened(e, attribute); detail != "" {
		reject("time", detail)
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	e.Source, e.ID, e.Envelope.Type = values["source"], values["id"], values["type"]
	if topic, ok := attribute("subject"); ok {
		e.Envelope.Topic = attributeText(topic)
	}
	e.Envelope.Extensions = extensions(names, attribute)
	return nil
}

// required is the text of an attribute that CloudEvents asks for, and what is wrong with it.
func required(raw any, present bool) (value, detail string) {
	value, isText := raw.(string)
	switch {
	case !present || isText && value == "":
		return value, "is required by CloudEvents 1.0"
	case !isText:
		return value, "must be a string"
	}
	return value, checkIdentity(value)
}

// reserved says, as a *jobs.Rejection, that an event uses a source of Rekey's own on a class that others may
// publish, or that of a door or a client without a worker's mark. Who may use which class is a matter of NATS permissions; see docs/security.md.
func reserved(m Message, class, source string) error {
	owner := ""
	switch {
	case NeedsMark(source) && class != jobs.ClassSchedule:
		return m.checkMark()
	case strings.HasPrefix(source, sourceOfSchedules):
		owner = jobs.ClassSchedule
	case OwnSource(source):
		owner = jobs.ClassOperator
	}
	if owner == "" || class == owner {
		return nil
	}
	return &jobs.Rejection{Code: jobs.RejectIdentity, Field: "source", Detail: "is one of Rekey's own, which is accepted on the class " + owner + " only"}
}

// OwnSource reports whether a source is one of Rekey's own.
func OwnSource(source string) bool {
	return source == "rekey" || source == jobs.SourceRepeat || strings.HasPrefix(source, "rekey/") || strings.HasPrefix(source, sourceOfStream)
}

// SourceOfDoors begins the source of what came through a door, on the class of that door; the name of the door follows.
const SourceOfDoors = "rekey/door/"

// SourceOfClients begins the source of events that clients of the HTTP API publish without one of their own; the name of the client
// follows.
const SourceOfClients = "rekey/client/"

// Sources of events that Rekey names itself begin so: those of schedules, and those of events that
// have no CloudEvents source.
const (
	sourceOfSchedules = "rekey/schedule/"
	sourceOfStream    = "nats:"
)

// happened takes over when an event happened, if it says so, or says what is wrong with it.
func happened(e *jobs.Event, attribute func(string) (any, bool)) string {
	raw, ok := attribute("time")
	if !ok || raw == nil {
		return ""
	}
	text, _ := raw.(string) //nolint:errcheck // A value that is no text is no time either.
	at, err := jobs.ParseTime(text)
	if err != nil {
		return "must be a time like 2026-11-24T03:00:00Z (RFC 3339)"
	}
	e.Envelope.Time = at.UTC()
	return ""
}

// notExtensions are the attributes and members that CloudEvents 1.0 itself names.
var notExtensions = []string{
	"specversion", "id", "source", "type", "subject", "time", "data", "data_base64", "datacontenttype", "dataschema",
}

// extensions are the other attributes: strings, numbers and booleans, as texts.
func extensions(names []string, attribute func(string) (any, bool)) map[string]string {
	found := map[string]string{}
	for _, name := range names {
		value, _ := attribute(name)
		if text := attributeText(value); text != "" && !slices.Contains(notExtensions, name) {
			found[name] = text
		}
	}
	return found
}

func attributeText(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}
