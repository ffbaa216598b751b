package bus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/event"
	"rekey/internal/jobs"
	"rekey/internal/names"
)

// classToken is what may be the class in a subject.
var classToken = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,3}$`)

// CheckClass reports, as an error, that no event can have the class.
func CheckClass(class string) error {
	if !classToken.MatchString(class) {
		return fmt.Errorf("class %q must be made of letters, digits, - and _", class)
	}
	return nil
}

// Stored is the place of an event in its stream.
type Stored struct {
	Seq uint64 // Its sequence.
	// Duplicate says that nothing was stored, because an event with the same Nats-Msg-Id had been within the stream's
	// window (100 ms, where Rekey has made the stream). Seq is that of the other one, whatever its class and content.
	Duplicate bool
}

// errNotStored says that a stream took a message that has no id of its own for a copy.
var errNotStored = errors.New("the stream took the message for a copy of another one, and did not store it")

// store publishes a message of Rekey's own. It has no Nats-Msg-Id: one that others can guess would let
// them have it dropped. What is the same event or job the ledger knows.
func (c *Conn) store(ctx context.Context, msg *nats.Msg, stream string) (uint64, error) {
	ack, err := c.js.PublishMsg(ctx, msg, jetstream.WithExpectStream(stream))
	if err == nil && ack.Duplicate {
		err = errNotStored
	}
	if err != nil {
		return 0, unpublished(msg.Subject, stream, err)
	}
	return ack.Sequence, nil
}

// unpublished says what was not published, and why no stream took it.
func unpublished(subject, stream string, err error) error {
	if errors.Is(err, jetstream.ErrNoStreamResponse) {
		return fmt.Errorf("publishing on %s: no stream of this NATS takes it; the first worker makes the stream %s: %w", subject, stream, err)
	}
	return fmt.Errorf("publishing on %s: %w", subject, err)
}

// IsRefused reports whether an error of a publication says that nothing was stored. After another one that is not known.
func IsRefused(err error) bool {
	_, answered := errors.AsType[*jetstream.APIError](err)
	for _, refusal := range []error{errNotStored, event.ErrUnmarked, jetstream.ErrNoStreamResponse, nats.ErrReconnectBufExceeded, nats.ErrConnectionClosed, nats.ErrDisconnected, nats.ErrMaxPayload} {
		answered = answered || errors.Is(err, refusal)
	}
	return answered
}

// PublishRaw stores a payload as an event of a class. id, when not empty, is its Nats-Msg-Id.
func (c *Conn) PublishRaw(ctx context.Context, class string, data []byte, id string) (Stored, error) {
	if err := cmp.Or(CheckClass(class), jobs.CheckSize(data)); err != nil {
		return Stored{}, err
	}
	msg, err := c.signed(class, data)
	if err != nil {
		return Stored{}, err
	}
	if id == "" {
		seq, err := c.store(ctx, msg, c.names.Events())
		return Stored{Seq: seq}, err
	}
	ack, err := c.js.PublishMsg(ctx, msg, jetstream.WithMsgID(id), jetstream.WithExpectStream(c.names.Events()))
	if err != nil {
		return Stored{}, unpublished(msg.Subject, c.names.Events(), err)
	}
	return Stored{Seq: ack.Sequence, Duplicate: ack.Duplicate}, nil
}

// ErrTooLarge says that NATS, or the stream of events, takes no message of that size.
var ErrTooLarge = errors.New("too large for NATS")

// PublishEvent stores a CloudEvent in structured mode as an event of a class, with headers for policies. sender is the door or client of the
// HTTP API that was authenticated, whatever the event says to be its source. The error wraps ErrTooLarge where it never will be stored.
func (c *Conn) PublishEvent(ctx context.Context, sender, class string, data []byte, headers map[string]string) error {
	msg, err := c.signed(class, data)
	if err != nil {
		return err
	}
	for name, value := range headers {
		msg.Header.Set(name, value)
	}
	if err := c.mark(msg, sender); err != nil {
		return err
	}
	_, err = c.store(ctx, msg, c.names.Events())
	if tooLarge(err) {
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return err
}

// signed is a message for an event of a class, signed where there is a key.
func (c *Conn) signed(class string, data []byte) (*nats.Msg, error) {
	msg := &nats.Msg{Subject: c.names.Event(class), Data: data, Header: nats.Header{}}
	signature, err := c.sign.Sign(data)
	if err != nil {
		return nil, fmt.Errorf("publishing on %s: %w", msg.Subject, err)
	}
	if signature != "" {
		msg.Header[event.HeaderSignature] = []string{signature}
	}
	return msg, nil
}

// mark marks a message as one that a worker publishes for a door or client.
func (c *Conn) mark(msg *nats.Msg, sender string) error {
	if c.marks == nil {
		return nil
	}
	return event.Mark(c.marks, msg, sender)
}

// Requested is a direct request as a CloudEvent. Data is the request object.
type Requested struct {
	SpecVersion     string         `json:"specversion"`
	ID              string         `json:"id"`
	Source          string         `json:"source"`
	Type            string         `json:"type"`
	Time            time.Time      `json:"time"`
	Trace           string         `json:"traceparent,omitempty"`
	DataContentType string         `json:"datacontenttype"`
	Data            map[string]any `json:"data"`
}

// PublishRequest stores a direct request under the identity of source and id, by which the ledger
// knows that the same request twice is one job. It returns the event's sequence.
func (c *Conn) PublishRequest(ctx context.Context, class, source, id string, request map[string]any) (uint64, error) {
	return c.PublishDirect(ctx, Direct{Class: class, Source: source, ID: id, Request: request})
}

// Direct is a direct request on its way to the stream.
type Direct struct {
	Class      string
	Source, ID string // The identity of its event.
	// Sender is the client of the HTTP API that was authenticated. Empty: none.
	Sender string
	// Trace is the traceparent that it belongs to. Empty: none.
	Trace   string
	Request map[string]any
}

// PublishDirect stores a direct request as PublishRequest does.
func (c *Conn) PublishDirect(ctx context.Context, d Direct) (uint64, error) {
	data, err := json.Marshal(Requested{
		SpecVersion: "1.0", ID: d.ID, Source: d.Source, Type: event.TypeRequested, Time: c.clock.Now().UTC(), Trace: d.Trace,
		DataContentType: "application/json", Data: d.Request,
	})
	if err != nil {
		return 0, fmt.Errorf("encoding the request %s: %w", d.ID, err)
	}
	if err := CheckClass(d.Class); err != nil {
		return 0, err
	}
	msg, err := c.signed(d.Class, data)
	if err == nil && (d.Sender != "" || event.NeedsMark(d.Source)) {
		err = c.mark(msg, d.Sender)
	}
	if err != nil {
		return 0, err
	}
	return c.store(ctx, msg, c.names.Events())
}

// Originals gives back events as they came in, for as long as their stream keeps them.
type Originals struct {
	conn *Conn
}

// NewOriginals returns the events of a namespace.
func NewOriginals(c *Conn) *Originals { return &Originals{conn: c} }

// Event returns an event as intake reads it, or jobs.ErrNotFound when it is not kept any more.
func (o *Originals) Event(ctx context.Context, e jobs.EventRef) (jobs.Event, error) {
	msg, err := o.message(ctx, e)
	if err != nil {
		return jobs.Event{}, err
	}
	event, err := event.ReadReceived(o.conn.names, event.Message{Subject: msg.Subject, Header: msg.Header, Data: msg.Data, Seq: msg.Sequence, At: msg.Time})
	if err != nil {
		return event, fmt.Errorf("decoding event %d: %w", e.Seq, err)
	}
	return event, nil
}

// ReplayLetter publishes the event of a dead letter once more: from its original, or from its
// sealed form where the original was erased. The letter must come from Show.
func (o *Originals) ReplayLetter(ctx context.Context, letter DeadLetter) (uint64, error) {
	switch {
	case letter.sealed == "":
		return o.Replay(ctx, letter.Event)
	case len(letter.sealed) > sealedHeader:
		return o.publish(ctx, letter.Event, nats.Header{names.HeaderSealedEvent: {names.SealedInPayload}}, []byte(letter.sealed))
	}
	return o.publish(ctx, letter.Event, nats.Header{names.HeaderSealedEvent: {letter.sealed}}, nil)
}

// ErrUnreadable says that an event is published again in vain: its payload cannot be read, whatever the configuration.
var ErrUnreadable = errors.New("the event cannot be read, whatever the configuration")

// Unreadable reports, as an error that wraps ErrUnreadable, that an event is published again in vain. Nil where that is not known, as of one that
// is not kept any more.
func (o *Originals) Unreadable(ctx context.Context, e jobs.EventRef) error {
	msg, err := o.message(ctx, e)
	if errors.Is(err, jobs.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return o.unreadable(msg)
}

func (o *Originals) unreadable(msg *jetstream.RawStreamMsg) error {
	why := event.Unreadable(o.conn.names, event.Message{Subject: msg.Subject, Header: msg.Header, Data: msg.Data, Seq: msg.Sequence, At: msg.Time})
	if why != nil {
		return fmt.Errorf("%w: %w", ErrUnreadable, why)
	}
	return nil
}

// Replay publishes an event once more. It returns the new sequence, or jobs.ErrNotFound, or an error that wraps ErrUnreadable.
func (o *Originals) Replay(ctx context.Context, e jobs.EventRef) (uint64, error) {
	original, err := o.message(ctx, e)
	if err == nil {
		err = o.unreadable(original)
	}
	if err != nil {
		return 0, err
	}
	header := nats.Header{}
	for key, values := range original.Header {
		// What is Rekey's own in it says something of the first publication, but for its mark. Only another replay had the
		// right to a sealed event.
		if !event.IsOwn(key) || strings.EqualFold(key, event.HeaderMark) || key == names.HeaderSealedEvent && original.Subject == o.conn.names.Event(jobs.ClassOperator) {
			header[key] = values
		}
	}
	return o.publish(ctx, e, header, original.Data)
}

// publish publishes an event under the identity that it had, so that a job that came of it
// meanwhile is found. Its subject is that of operators, which producers may not use; the one that it
// had is in a header.
func (o *Originals) publish(ctx context.Context, e jobs.EventRef, header nats.Header, data []byte) (uint64, error) {
	msg := &nats.Msg{Subject: o.conn.names.Event(jobs.ClassOperator), Header: header, Data: data}
	msg.Header.Set(names.HeaderReplaySource, e.Source)
	msg.Header.Set(names.HeaderReplayID, e.ID)
	msg.Header.Set(names.HeaderReplaySubject, e.Subject)
	signature, err := o.conn.sign.Sign(event.ReplayBytes(msg.Subject, msg.Header, msg.Data))
	if err != nil {
		return 0, fmt.Errorf("publishing event %d again: %w", e.Seq, err)
	}
	if signature != "" {
		msg.Header.Set(event.HeaderReplaySignature, signature)
	}
	seq, err := o.conn.store(ctx, msg, o.conn.names.Events())
	if err != nil {
		return 0, fmt.Errorf("publishing event %d again: %w", e.Seq, err)
	}
	return seq, nil
}

// message reads an event from its stream. One at the same sequence of a
// stream that was made anew is another.
func (o *Originals) message(ctx context.Context, e jobs.EventRef) (*jetstream.RawStreamMsg, error) {
	stream, err := o.conn.js.Stream(ctx, o.conn.names.Events())
	if err != nil {
		return nil, fmt.Errorf("opening the events: %w", err)
	}
	msg, err := stream.GetMsg(ctx, e.Seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && !msg.Time.Equal(e.At) {
		return nil, jobs.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("reading event %d: %w", e.Seq, err)
	}
	return msg, nil
}
