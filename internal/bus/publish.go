package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/event"
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

// PublishRaw stores a payload as an event of a class. id, when not empty, is its Nats-Msg-Id.
func (c *Conn) PublishRaw(ctx context.Context, class string, data []byte, id string) (Stored, error) {
	if err := CheckClass(class); err != nil {
		return Stored{}, err
	}
	msg := &nats.Msg{Subject: c.names.Event(class), Data: data}
	signature, err := c.sign.Sign(data)
	if err != nil {
		return Stored{}, fmt.Errorf("publishing on %s: %w", msg.Subject, err)
	}
	if signature != "" {
		msg.Header = nats.Header{event.HeaderSignature: []string{signature}}
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

// Requested is a direct request as a CloudEvent. Data is the request object.
type Requested struct {
	SpecVersion     string         `json:"specversion"`
	ID              string         `json:"id"`
	Source          string         `json:"source"`
	Type            string         `json:"type"`
	Time            time.Time      `json:"time"`
	DataContentType string         `json:"datacontenttype"`
	Data            map[string]any `json:"data"`
}

// PublishRequest stores a direct request under the identity of source and id, by which the ledger
// knows that the same request twice is one job. It returns the event's sequence.
func (c *Conn) PublishRequest(ctx context.Context, class, source, id string, request map[string]any) (uint64, error) {
	data, err := json.Marshal(Requested{
		SpecVersion: "1.0", ID: id, Source: source, Type: event.TypeRequested, Time: c.clock.Now().UTC(),
		DataContentType: "application/json", Data: request,
	})
	if err != nil {
		return 0, fmt.Errorf("encoding the request %s: %w", id, err)
	}
	stored, err := c.PublishRaw(ctx, class, data, "")
	return stored.Seq, err
}
