package jobs

import (
	"errors"
	"maps"
	"slices"
	"time"

	"rekey/internal/redact"
)

// Event is something that arrived and asks for a job.
type Event struct {
	EventRef
	// Class is what its subject has behind "event.", one token or several. Of a replay: what the
	// subject of its first publication had.
	Class string
	// Replayed says that it was published once more under the identity that it had: its intake
	// may have been cut off, in a message that does not come any more.
	Replayed bool
	// New says that its message was not handed over before, as far as the stream knows, which forgets its latest deliveries in a
	// crash: its job is made without a look whether there is one.
	New bool
	// Start hands its job to a free slot, if there is one: then the slot runs the job at once, without a message of its own, and settles
	// the event. Nil: the job is queued.
	Start func(o Opened) bool `json:"-"`
	// Trace is the traceparent that the event came with (W3C Trace Context), "" when there is none.
	Trace    string
	Envelope Envelope
	// Asks says that it is a direct request, which Request is.
	Direct  bool
	Request Request
	// Unclear is, for an event that is no direct request, why not: *Malformed, joined.
	NotDirect error
}

// EventRef names an event: in the ledger, in results, in dead letters.
type EventRef struct {
	// Source and ID are its identity: those of the CloudEvent, else the stream and the
	// Nats-Msg-Id or sequence.
	Source string `json:"source"`
	ID     string `json:"id"`
	// Subject and Seq are its place in the stream of events.
	Subject string `json:"subject,omitempty"`
	Seq     uint64 `json:"seq,omitempty"`
	// At is when NATS accepted it.
	At time.Time `json:"at,omitzero"`
}

// Same reports whether both name the same event.
func (e EventRef) Same(other EventRef) bool { return e.Source == other.Source && e.ID == other.ID }

// size is how many bytes its names have.
func (e EventRef) size() int { return len(e.Source) + len(e.ID) + len(e.Subject) }

// shownText is a text of an event that is kept and shown: in the ledger, results, dead letters and logs.
type shownText struct {
	field string
	text  *string
	// free says that the text is for people: it is kept without its credentials. Any other one is a
	// name, and an event with a credential in a name is refused.
	free bool
}

// shown lists them all.
func (e *Event) shown() []shownText {
	return []shownText{
		{"source", &e.Source, false},
		{"id", &e.ID, false},
		{"NATS subject", &e.Subject, false},
		{"type", &e.Envelope.Type, false},
		{"subject", &e.Envelope.Topic, false},
		{"reason", &e.Request.Reason, true},
		{"requested_by", &e.Request.RequestedBy, true},
		{"on_behalf_of", &e.Request.OnBehalfOf, true},
	}
}

// exposed says that a text shows a credential.
func exposed(field string) error {
	return &Malformed{Field: field, Detail: "must not hold a credential: it is kept and shown"}
}

// Scrub takes known secrets, and everything that looks like a credential, out of what of the event
// is kept and shown. A name that only may show one stays as it is. The error joins one *Malformed for
// each name, and each parameter that is no secret, that shows one. What leaked has its parameters in places of their own: a user name in it is
// not refused, also where the password is the same.
func (e *Event) Scrub(known ...*redact.Set) error {
	var problems []error
	for _, one := range e.shown() {
		clean := redact.Scrub(*one.text, known...)
		switch {
		case clean == *one.text:
		case one.free:
			*one.text = clean
		case redact.Exposed(*one.text, known...):
			*one.text = clean
			problems = append(problems, exposed(one.field))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.Request.Params.plain)) {
		if e.Request.Contained == "" && redact.Exposed(e.Request.Params.plain[name], known...) {
			problems = append(problems, exposed("params."+name))
		}
	}
	return errors.Join(problems...)
}

// Envelope is what an event says about itself and what it carries, whatever its form: a
// CloudEvent in either mode, or plain JSON.
type Envelope struct {
	// Type is the CloudEvents type; empty for plain JSON.
	Type string
	// Topic is the CloudEvents subject; empty where there is none, and for plain JSON. The subject on
	// which the event came is EventRef.Subject.
	Topic string
	// Time is when it happened: the CloudEvents time, else when NATS accepted it. No value of it
	// stands for none.
	Time time.Time
	// Extensions are the other CloudEvents attributes, as texts. Empty for plain JSON.
	Extensions map[string]string
	// Headers are the message's NATS headers under names in lower case, the values of each joined by
	// ", ", but those of CloudEvents, of NATS itself and of Rekey, which are not the sender's or are elsewhere.
	Headers map[string]string
	// Data is the payload: the CloudEvent's data, or the whole document: any JSON, whose numbers are
	// json.Number, or a text where the data is of another type. It is nil for a CloudEvent without
	// data, or with bytes that are no text. It may hold secrets and is never shown.
	Data any
}
