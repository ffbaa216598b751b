package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/jobs"
)

// Originals gives back events as they came in, for as long as their stream keeps them. It
// implements jobs.Originals.
type Originals struct {
	conn  *Conn
	names Names
}

// NewOriginals returns the events of a namespace.
func NewOriginals(c *Conn, n Names) *Originals { return &Originals{conn: c, names: n} }

// Params returns the parameters that an event asked with, or jobs.ErrNotFound when the
// event is not kept any more.
func (o *Originals) Params(ctx context.Context, e jobs.EventRef) (jobs.Params, error) {
	msg, err := o.message(ctx, e)
	if err != nil {
		return jobs.Params{}, err
	}
	event, err := o.names.decodeEvent(incoming{subject: msg.Subject, header: msg.Header, data: msg.Data, seq: msg.Sequence, at: msg.Time})
	if err != nil {
		return jobs.Params{}, fmt.Errorf("decoding event %d: %w", e.Seq, err)
	}
	return event.Request.Params, nil
}

// Replay publishes the event of a dead letter once more, under the identity that it had, so
// that a job that came of it meanwhile is found. It returns the new sequence, or
// jobs.ErrNotFound.
func (o *Originals) Replay(ctx context.Context, letter DeadLetter) (uint64, error) {
	e := letter.Event
	msg := &nats.Msg{Subject: e.Subject, Header: nats.Header{}}
	if sealed := letter.sealedEvent(); sealed != "" { // Its original is erased.
		msg.Header.Set(HeaderSealedEvent, sealed)
	} else {
		original, err := o.message(ctx, e)
		if err != nil {
			return 0, err
		}
		msg.Data = original.Data
		for key, values := range original.Header {
			if key != nats.MsgIdHdr { // The stream would take it for a copy.
				msg.Header[key] = values
			}
		}
	}
	msg.Header.Set(HeaderReplaySource, e.Source)
	msg.Header.Set(HeaderReplayID, e.ID)
	ack, err := o.conn.js.PublishMsg(ctx, msg, jetstream.WithExpectStream(o.names.Events()))
	if err != nil {
		return 0, fmt.Errorf("publishing event %d again: %w", e.Seq, err)
	}
	return ack.Sequence, nil
}

// message reads an event from its stream. One that stands at the same sequence of a
// stream that was made anew is another.
func (o *Originals) message(ctx context.Context, e jobs.EventRef) (*jetstream.RawStreamMsg, error) {
	stream, err := o.conn.js.Stream(ctx, o.names.Events())
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
