package door

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"rekey/internal/event"
	"rekey/internal/jobs"
	"rekey/internal/redact"
	"rekey/internal/sealing"
)

// Event is what a door makes of a request.
type Event struct {
	// ID is what the sender calls the delivery: the same twice is one event.
	ID string
	// Type is the CloudEvents type. Default: that of the door.
	Type string
	// Subject is the CloudEvents subject. Default none.
	Subject string
	// Data is decoded JSON. It may hold secrets, which are sealed before it is published.
	Data any
	// Headers are those of the sender that policies may want to see.
	Headers map[string]string
}

// SourcePrefix begins the CloudEvents source of doors' events; the name of the door follows.
const SourcePrefix = event.SourceOfDoors

// typeOf is the CloudEvents type of a type's events.
func typeOf(t Type) string { return "rekey.door." + string(t) + ".v1" }

// envelope is a CloudEvent in structured mode.
type envelope struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            string    `json:"type"`
	Subject         string    `json:"subject,omitempty"`
	Time            time.Time `json:"time"`
	Trace           string    `json:"traceparent,omitempty"`
	DataContentType string    `json:"datacontenttype"`
	Data            any       `json:"data"`
}

// encode returns an event as a CloudEvent, with its secrets sealed: first what looks like one, then what policies take for one.
func (d *door) encode(e Event, q *request) ([]byte, map[string]string, error) {
	headers := map[string]string{"Content-Type": event.CloudEventsJSON}
	for name, value := range e.Headers {
		if value = d.plain(value); value != "" {
			headers[name] = value
		}
	}
	sealed := sealing.New(d.cfg.Sealer, d.known(), d.Secrets, jobs.MaxEventBytes)
	data, err := sealed.Value(e.Data)
	if err != nil {
		return nil, nil, unsealed(err)
	}
	encoded, err := d.envelope(e, q, data)
	if err != nil || d.cfg.Finder == nil {
		return encoded, headers, err
	}
	found := d.cfg.Finder.Secrets(q.Context(), d.Class, encoded, headers)
	if len(found) == 0 {
		return encoded, headers, nil
	}
	sealed.Found(found)
	if data, err = sealed.Value(data); err != nil {
		return nil, nil, unsealed(err)
	}
	encoded, err = d.envelope(e, q, data)
	return encoded, headers, err
}

// unsealed refuses a body whose secrets were not sealed.
func unsealed(err error) *Refusal {
	if errors.Is(err, sealing.ErrTooLarge) {
		return tooLarge()
	}
	return unavailable("a secret in the body cannot be sealed", err)
}

// envelope is an event as a CloudEvent.
func (d *door) envelope(e Event, q *request, data any) ([]byte, error) {
	encoded, err := json.Marshal(envelope{
		SpecVersion: "1.0", ID: identity(e.ID), Source: SourcePrefix + d.Name, Type: cmp.Or(e.Type, typeOf(d.Type)), Subject: d.plain(e.Subject),
		Time: q.now.UTC(), Trace: event.ValidTrace(q.Header.Get(event.HeaderTrace)), DataContentType: "application/json", Data: data,
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("encoding an event: %w", err)
	case len(encoded) > jobs.MaxEventBytes:
		return nil, tooLarge()
	}
	return encoded, nil
}

// publishTimeout bounds the wait for the stream. Senders wait for 3 s (Slack) to 30 s.
const publishTimeout = 2500 * time.Millisecond

// publishEach is added for each event of a request, of which GitLab's alone has many.
const publishEach = 10 * time.Millisecond

// atOnce is how many events of one request are on their way to the stream.
const atOnce = 16

// publish stores all events, or says why not. What was stored of them is a duplicate when the sender sends them again.
func (d *door) publish(q *request, events []Event) ([]string, error) {
	ids := make([]string, len(events))
	type message struct {
		data    []byte
		headers map[string]string
	}
	messages := make([]message, len(events))
	for i, e := range events {
		var err error
		if messages[i].data, messages[i].headers, err = d.encode(e, q); err != nil {
			return nil, err
		}
		ids[i] = identity(e.ID)
	}
	ctx, cancel := context.WithTimeoutCause(q.Context(), publishTimeout+time.Duration(len(events))*publishEach, errors.New("NATS has not acknowledged in time"))
	defer cancel()
	return ids, parallel(len(messages), atOnce, func(i int) error {
		err := d.cfg.Publisher.PublishEvent(ctx, SourcePrefix+d.Name, d.Class, messages[i].data, messages[i].headers)
		switch {
		case errors.Is(err, ErrTooLarge):
			return tooLarge()
		case err != nil:
			return unavailable("the event could not be stored", err)
		}
		return nil
	})
}

// plain is a short text that shows no credential, or nothing.
func (d *door) plain(text string) string {
	const most = 256
	if len(text) > most || !isLine(text) || redact.Exposed(text, d.known()) || len(redact.Find(text)) > 0 {
		return ""
	}
	return text
}

func isLine(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}

// identity is the name of a delivery as an event may have it: names are shown and stored.
func identity(id string) string {
	const most = 256
	if len(id) <= most && isLine(id) && id != "" && !redact.Exposed(id) {
		return id
	}
	return digest([]byte(id))
}

// Tracer makes spans.
type Tracer interface {
	// Request begins the span of a request on a route, below the one that parent names (a traceparent, "" for none), and returns the traceparent of
	// what it leads to. end ends it with the status of the answer.
	Request(ctx context.Context, route, parent string) (within context.Context, below string, end func(status int))
}

// trace begins the span of a verified request, to which its events belong. Strangers get none: they must not decide how many there are.
func (d *door) trace(w http.ResponseWriter, q *request) (end func(status int)) {
	if d.cfg.Tracer == nil {
		return func(int) {}
	}
	ctx, below, end := d.cfg.Tracer.Request(q.Context(), Route, event.ValidTrace(q.Header.Get(event.HeaderTrace)))
	q.Request = q.Clone(ctx)
	if below != "" {
		q.Header.Set(event.HeaderTrace, below)
		w.Header().Set(event.HeaderTrace, below)
	}
	return end
}

// json decodes the body: an object or an array.
func (q *request) json() (any, error) {
	if media, _, err := mime.ParseMediaType(q.Header.Get("Content-Type")); err == nil && strings.HasPrefix(media, "application/x-www-form") {
		return nil, &Refusal{Status: http.StatusUnsupportedMediaType, Result: ResultMalformed, Detail: "the body is a form: let the sender use the content type application/json"}
	}
	doc, err := jobs.ParseJSON(q.body)
	if m, ok := errors.AsType[*jobs.Malformed](err); ok {
		return nil, malformed(fmt.Sprintf("the body cannot be read as JSON in which no member is there twice (line %d)", max(m.Line, 1)))
	}
	if err != nil {
		return nil, err
	}
	switch doc.Value.(type) {
	case map[string]any, []any:
		return doc.Value, nil
	}
	return nil, malformed("the body must be a JSON object or array")
}

// member is a text in a document, by the names of members on the way to it; "" where there is none.
func member(value any, path ...string) string {
	for _, name := range path {
		fields, ok := value.(map[string]any)
		if !ok {
			return ""
		}
		value = fields[name]
	}
	switch v := value.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

// fromAny makes an event of what a sender of one's own posts: a CloudEvent, a direct request, or any JSON. id is what its
// delivery is called; empty: what the headers or the event say, else the body and the day.
func (d *door) fromAny(q *request, id string) ([]Event, error) {
	data, err := q.json()
	if err != nil {
		return nil, err
	}
	e := Event{ID: id, Data: data}
	if e.ID == "" {
		e.ID = strings.TrimSpace(q.Header.Get("Idempotency-Key"))
	}
	fields, _ := data.(map[string]any) //nolint:errcheck // Nil for an array.
	switch {
	case fields["specversion"] != nil:
		if err := cloudEvent(&e, fields); err != nil {
			return nil, err
		}
	case isRequest(fields):
		e.Type = event.TypeRequested
	}
	if e.Type == event.TypeRequested && !d.Direct {
		return nil, malformed("this door takes no direct requests (direct: false)")
	}
	if e.ID == "" {
		e.ID = digest(q.body) + "/" + q.now.UTC().Format(time.DateOnly)
	}
	return []Event{e}, nil
}

// isRequest reports whether an object is meant as a direct request.
func isRequest(fields map[string]any) bool {
	kind, isText := fields["kind"].(string)
	_, hasParams := fields["params"]
	return isText && (hasParams || slices.Contains(jobs.Names(jobs.Kinds()), kind))
}

// cloudEvent takes over what a CloudEvent in structured mode says. Its source is not taken over: the door is the source, and
// the sender's is a part of the identity.
func cloudEvent(e *Event, fields map[string]any) error {
	source, id, name := member(fields, "source"), member(fields, "id"), member(fields, "type")
	_, encoded := fields["data_base64"]
	switch {
	case member(fields, "specversion") != "1.0" || source == "" || id == "" || name == "":
		return malformed("the body is no CloudEvent 1.0: specversion, id, source and type are required")
	case encoded:
		return malformed("the body is a CloudEvent with data_base64: let the sender write its data as JSON")
	case strings.HasPrefix(name, "rekey.") && name != event.TypeRequested:
		return malformed("the body is a CloudEvent of one of Rekey's own types")
	}
	if e.ID == "" {
		e.ID = id + " of " + source
	}
	e.Type, e.Subject, e.Data = name, member(fields, "subject"), fields["data"]
	return nil
}

// tooLarge refuses a body that makes an event that no worker would read.
func tooLarge() *Refusal {
	return &Refusal{Status: http.StatusRequestEntityTooLarge, Result: ResultMalformed, Detail: fmt.Sprintf("the body, or its event, has more than %d bytes", jobs.MaxEventBytes)}
}

// fingerprint names a secret in an identity.
func fingerprint(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)[:16])
}

// parallel calls do for 0 to n-1, so many at once, and returns the first error.
func parallel(n, atOnce int, do func(int) error) error {
	var (
		running sync.WaitGroup
		mu      sync.Mutex // Guards what follows.
		next    int
		first   error
	)
	for range min(n, atOnce) {
		running.Go(func() {
			for {
				mu.Lock()
				i, failed := next, first != nil
				next++
				mu.Unlock()
				if i >= n || failed {
					return
				}
				if err := do(i); err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
				}
			}
		})
	}
	running.Wait()
	return first
}
