package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/event"
	"rekey/internal/jobs"
	"rekey/internal/names"
)

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

// Replay publishes an event once more. It returns the new sequence, or jobs.ErrNotFound.
func (o *Originals) Replay(ctx context.Context, e jobs.EventRef) (uint64, error) {
	original, err := o.message(ctx, e)
	if err != nil {
		return 0, err
	}
	header := nats.Header{}
	for key, values := range original.Header {
		// What is Rekey's own in it says something of the first publication. Only another replay had the
		// right to a sealed event.
		if !event.IsOwn(key) || key == names.HeaderSealedEvent && original.Subject == o.conn.names.Event(jobs.ClassOperator) {
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
