package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// classToken is what may stand as the class in a subject.
var classToken = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,3}$`)

// CheckClass reports, as an error, that no event can have the class.
func CheckClass(class string) error {
	if !classToken.MatchString(class) {
		return fmt.Errorf("class %q must be made of letters, digits, - and _", class)
	}
	return nil
}

// Stored is where an event stands in its stream.
type Stored struct {
	Seq uint64 // Its sequence.
	// Duplicate says that nothing was stored, because an event with the same Nats-Msg-Id had been within the stream's
	// window (2 minutes by default). Seq is that of the other one, whatever its class and content.
	Duplicate bool
}

// PublishRaw stores a payload as an event of a class. id, when not empty, is its Nats-Msg-Id.
func (c *Conn) PublishRaw(ctx context.Context, n Names, class string, data []byte, id string) (Stored, error) {
	if err := CheckClass(class); err != nil {
		return Stored{}, err
	}
	var opts []jetstream.PublishOpt
	if id != "" {
		opts = append(opts, jetstream.WithMsgID(id))
	}
	msg := &nats.Msg{Subject: n.Event(class), Data: data}
	signature, err := c.sign.Sign(data)
	if err != nil {
		return Stored{}, fmt.Errorf("publishing on %s: %w", msg.Subject, err)
	}
	if signature != "" {
		msg.Header = nats.Header{HeaderSignature: []string{signature}}
	}
	ack, err := c.js.PublishMsg(ctx, msg, append(opts, jetstream.WithExpectStream(n.Events()))...)
	if err != nil {
		return Stored{}, fmt.Errorf("publishing on %s: %w", msg.Subject, err)
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

// PublishRequest stores a direct request under the identity of source and id, so that the
// same request twice is one job.
func (c *Conn) PublishRequest(ctx context.Context, n Names, class, source, id string, request map[string]any) (Stored, error) {
	data, err := json.Marshal(Requested{
		SpecVersion: "1.0", ID: id, Source: source, Type: TypeRequested, Time: time.Now().UTC(),
		DataContentType: "application/json", Data: request,
	})
	if err != nil {
		return Stored{}, fmt.Errorf("encoding the request %s: %w", id, err)
	}
	return c.PublishRaw(ctx, n, class, data, source+"/"+id)
}
