package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/event"
	"rekey/internal/jobs"
	"rekey/internal/names"
)

// Errors of Renotify that callers branch on.
var (
	// ErrNoReceiver says that no worker serves the receiver.
	ErrNoReceiver = errors.New("no worker has this receiver of notifications")
	// ErrNotWhole says that a dead letter does not carry the whole result.
	ErrNotWhole = errors.New("the result was too large for its dead letter")
)

// NoticeLetter is a notification that was given up.
type NoticeLetter struct {
	Notice
	Receiver string
	Code     string // Why, of a closed set.
	Reason   string // Why, for people.
	JobID    string
	Kind     jobs.Kind
}

// BuryNotice stores the dead letter of a notification. It carries the result as it was published,
// which holds no secrets.
func (c *Conn) BuryNotice(ctx context.Context, l NoticeLetter) error {
	msg := &nats.Msg{Subject: c.names.DeadNotification(), Header: nats.Header{}, Data: l.Data}
	if limit := c.carries(); len(l.Data) > limit {
		msg.Header.Set(names.HeaderTruncated, strconv.Itoa(len(l.Data)))
		msg.Data = l.Data[:min(limit, event.CutPayload)]
	}
	msg.Header.Set(names.HeaderReceiver, l.Receiver)
	msg.Header.Set(names.HeaderCode, l.Code)
	msg.Header.Set(names.HeaderReason, headerText(l.Reason))
	msg.Header.Set(names.HeaderJobID, l.JobID)
	msg.Header.Set(names.HeaderKind, string(l.Kind))
	id := fmt.Sprintf("notify.%s.%s.%d.dead", l.Receiver, l.Key, l.Since.UnixNano())
	if err := c.publishOnce(ctx, c.names.DeadLetters(), msg, id, l.Count > 1, l.Since); err != nil {
		return fmt.Errorf("putting a notification among the dead letters: %w", err)
	}
	return nil
}

// Renotify sends the result of a dead letter to its receiver once more. The letter must come from
// Show. Its notification has the id that it had, so that a receiver who has it drops it.
func (c *Conn) Renotify(ctx context.Context, letter DeadLetter) error {
	if nats.Header(letter.Header).Get(names.HeaderTruncated) != "" {
		return ErrNotWhole
	}
	_, err := c.js.Consumer(ctx, c.names.Jobs(), ConsumerOfReceiver(letter.Receiver))
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("%w: %s", ErrNoReceiver, letter.Receiver)
	}
	if err != nil {
		return fmt.Errorf("looking for the receiver %s: %w", letter.Receiver, err)
	}
	msg := &nats.Msg{Subject: c.names.Renotify(letter.Receiver), Data: []byte(letter.Payload), Header: nats.Header{}}
	id := fmt.Sprintf("renotify.%d.%d", letter.Number, letter.At.UnixNano())
	if _, err := c.js.PublishMsg(ctx, msg, jetstream.WithMsgID(id), jetstream.WithExpectStream(c.names.Jobs())); err != nil {
		return fmt.Errorf("sending the notification again: %w", err)
	}
	return nil
}
