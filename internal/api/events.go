package api

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"rekey/internal/bus"
	"rekey/internal/event"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
)

// Published is the answer to an event that NATS has stored.
type Published struct {
	EventID string `json:"event_id"`
	JobID   string `json:"job_id,omitempty"` // The job that a direct request makes.
	// Duplicate says that the same event has made the job before.
	Duplicate bool `json:"duplicate,omitempty"`
}

// typeOfPlain is the CloudEvents type of JSON that is no CloudEvent and no direct request.
const typeOfPlain = "rekey.api.event.v1"

// event publishes an event, and answers once NATS has stored it.
func (s *Server) event(c *call) error {
	class := c.r.PathValue("class")
	switch {
	case bus.CheckClass(class) != nil:
		return mistakes(http.StatusBadRequest, CodeMalformed, &jobs.Malformed{Field: "class", Detail: "must be one to four words of letters, digits, - and _, with dots between them"})
	case !c.client.Publishes(class):
		return problem(http.StatusForbidden, CodeForbidden, "this client may not publish events of this class")
	}
	members, err := c.cloudEvent()
	if err != nil {
		return err
	}
	ctx, cancel := c.within()
	defer cancel()
	id, _ := members["id"].(string) //nolint:errcheck // Emit reports one that is missing.
	c.eventID = id
	if members["type"] == event.TypeRequested {
		return s.direct(c, class, members)
	}
	switch err := c.fleet.Emit(ctx, c.sender(), class, members); {
	case errors.Is(err, fleet.ErrTooLarge):
		return problem(http.StatusRequestEntityTooLarge, CodeTooLarge, "the event, with its secrets sealed, is larger than 1048576 bytes, or than what NATS takes")
	case errors.Is(err, fleet.ErrCannotSeal):
		return unavailable("the event holds a secret, and this worker has no key to seal it with")
	case err != nil:
		return c.notStored(err, id, "")
	}
	writeJSON(c.w, http.StatusAccepted, "", Published{EventID: id})
	return nil
}

// direct asks for the job of an event that is a direct request.
func (s *Server) direct(c *call, class string, members map[string]any) error {
	fields, ok := members["data"].(map[string]any)
	source, isSource := members["source"].(string)
	id, isID := members["id"].(string)
	if !ok || !isSource || !isID || members["specversion"] != "1.0" {
		return mistakes(http.StatusUnprocessableEntity, CodeInvalid, &jobs.Malformed{Field: "data", Detail: "a direct request has specversion 1.0, id and source, and an object as its data"})
	}
	done, err := s.ask(c, fleet.Ask{Class: class, Sender: c.sender(), Source: source, ID: id, Trace: text(members[event.HeaderTrace])}, jobs.Document{Fields: fields})
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusAccepted, "", Published{EventID: id, JobID: done.JobID, Duplicate: done.Duplicate})
	return nil
}

// sender is the client in whose turn its events are taken in, and the source of those that name none.
func (c *call) sender() string { return event.SourceOfClients + c.client.Name }

func text(value any) string {
	s, _ := value.(string) //nolint:errcheck // "" for other values.
	return s
}

// cloudEvent makes a CloudEvent in structured mode of the body: of one in either mode, or of other JSON, whose id is the
// Idempotency-Key and whose source the client.
func (c *call) cloudEvent() (map[string]any, error) {
	id, err := c.key()
	if err != nil {
		return nil, err
	}
	attributes, err := c.attributes()
	if err != nil {
		return nil, err
	}
	media := c.mediaType()
	if media != "application/json" && media != event.CloudEventsJSON {
		c.w.Header().Set("Accept-Post", "application/json, "+event.CloudEventsJSON)
		return nil, problem(http.StatusUnsupportedMediaType, CodeMediaType, "the header Content-Type must be application/json or "+event.CloudEventsJSON)
	}
	data, err := c.body()
	if err != nil {
		return nil, err
	}
	doc, err := jobs.ParseJSON(data)
	if err != nil {
		return nil, mistakes(http.StatusBadRequest, CodeMalformed, err)
	}
	var members map[string]any
	switch _, structured := doc.Fields["specversion"]; {
	case structured || media == event.CloudEventsJSON:
		if err := doc.Object(""); err != nil {
			return nil, mistakes(http.StatusBadRequest, CodeMalformed, err)
		}
		members = maps.Clone(doc.Fields)
	case len(attributes) > 0:
		members = attributes
		members["data"] = doc.Value
	default:
		return c.completed(c.wrapped(id, doc.Value)), nil
	}
	if err := c.foreign(members, id); err != nil {
		return nil, err
	}
	return c.completed(members), nil
}

// attributes are those of a CloudEvent in binary mode: headers that begin with ce-.
func (c *call) attributes() (map[string]any, error) {
	found := map[string]any{}
	for key, values := range c.r.Header {
		if name, ok := strings.CutPrefix(strings.ToLower(key), "ce-"); ok {
			if len(values) > 1 { // As a member of JSON that is there twice.
				return nil, mistakes(http.StatusBadRequest, CodeMalformed, &jobs.Malformed{Field: safe("ce-" + name), Detail: "is there twice"})
			}
			value := values[0]
			if plain, err := url.PathUnescape(value); err == nil {
				value = plain
			}
			found[name] = value
		}
	}
	return found, nil
}

// wrapped is other JSON as a CloudEvent.
func (c *call) wrapped(id string, data any) map[string]any {
	kind := typeOfPlain
	if fields, ok := data.(map[string]any); ok && event.Meant(fields) {
		kind = event.TypeRequested
	}
	return map[string]any{"specversion": "1.0", "id": id, "source": c.sender(), "type": kind, "data": data}
}

// foreign checks what only an event with an identity of its own can have wrong: it must not be one of Rekey's.
func (c *call) foreign(members map[string]any, key string) error {
	source := text(members["source"])
	switch {
	case event.OwnSource(source):
		return mistakes(http.StatusUnprocessableEntity, CodeInvalid, &jobs.Malformed{Field: "source", Detail: "is one of Rekey's own"})
	case c.r.Header.Get("Idempotency-Key") != "" && members["id"] != key:
		return mistakes(http.StatusUnprocessableEntity, CodeInvalid, &jobs.Malformed{Field: "Idempotency-Key", Detail: "is another one than the id of the event: leave it out"})
	case members["data_base64"] != nil:
		return mistakes(http.StatusUnprocessableEntity, CodeInvalid, &jobs.Malformed{Field: "data_base64", Detail: "is not accepted over HTTP: write the data as JSON in data"})
	}
	for name := range members {
		if lower := strings.ToLower(name); lower != name && slices.Contains([]string{"data", "id", "source", "type", "specversion"}, lower) {
			return mistakes(http.StatusUnprocessableEntity, CodeInvalid, &jobs.Malformed{Field: safe(name), Detail: "the names of CloudEvents are in lower case"})
		}
	}
	return nil
}

// completed has the trace of the request and a time, where the event has none.
func (c *call) completed(members map[string]any) map[string]any {
	if trace := c.r.Header.Get(event.HeaderTrace); trace != "" && members[event.HeaderTrace] == nil {
		members[event.HeaderTrace] = trace
	}
	if members["time"] == nil {
		members["time"] = c.fleet.Now().UTC().Format(time.RFC3339Nano)
	}
	if members["datacontenttype"] == nil {
		members["datacontenttype"] = "application/json"
	}
	return members
}
