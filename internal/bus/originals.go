package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/jobs"
)

// Originals gives back events as they came in, for as long as their stream keeps them.
type Originals struct {
	conn  *Conn
	names Names
}

// NewOriginals returns the events of a namespace.
func NewOriginals(c *Conn, n Names) *Originals { return &Originals{conn: c, names: n} }

// Event returns an event as intake reads it, or jobs.ErrNotFound when it is not kept any more.
func (o *Originals) Event(ctx context.Context, e jobs.EventRef) (jobs.Event, error) {
	msg, err := o.message(ctx, e)
	if err != nil {
		return jobs.Event{}, err
	}
	event, err := o.names.ReadEvent(Message{Subject: msg.Subject, Header: msg.Header, Data: msg.Data, Seq: msg.Sequence, At: msg.Time})
	if err != nil {
		return event, fmt.Errorf("decoding event %d: %w", e.Seq, err)
	}
	return event, nil
}

// ReplayLetter publishes the event of a dead letter once more: from its original, or from its
// sealed form where the original was erased. The letter must come from Show.
func (o *Originals) ReplayLetter(ctx context.Context, letter DeadLetter) (uint64, error) {
	sealed := letter.sealedEvent()
	if sealed == "" {
		return o.Replay(ctx, letter.Event)
	}
	msg := &nats.Msg{Subject: letter.Event.Subject, Header: nats.Header{}}
	msg.Header.Set(HeaderSealedEvent, sealed)
	return o.publish(ctx, msg, letter.Event)
}

// Replay publishes an event once more. It returns the new sequence, or jobs.ErrNotFound.
func (o *Originals) Replay(ctx context.Context, e jobs.EventRef) (uint64, error) {
	original, err := o.message(ctx, e)
	if err != nil {
		return 0, err
	}
	msg := &nats.Msg{Subject: original.Subject, Data: original.Data, Header: nats.Header{}}
	for key, values := range original.Header {
		if key != nats.MsgIdHdr { // The stream would take it for a copy.
			msg.Header[key] = values
		}
	}
	return o.publish(ctx, msg, e)
}

// publish publishes an event under the identity that it had, so that a job that came of it
// meanwhile is found.
func (o *Originals) publish(ctx context.Context, msg *nats.Msg, e jobs.EventRef) (uint64, error) {
	msg.Header.Set(HeaderReplaySource, e.Source)
	msg.Header.Set(HeaderReplayID, e.ID)
	signature, err := o.conn.sign.Sign(replayBytes(msg.Subject, msg.Header, msg.Data))
	if err != nil {
		return 0, fmt.Errorf("publishing event %d again: %w", e.Seq, err)
	}
	if signature != "" {
		msg.Header.Set(HeaderReplaySignature, signature)
	}
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
