package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/event"
	"rekey/internal/layout"
	"rekey/internal/names"
	"rekey/internal/notify"
)

// Errors of Renotify that callers branch on.
var (
	// ErrNoReceiver says that no worker serves the receiver.
	ErrNoReceiver = errors.New("no worker has this receiver of notifications")
	// ErrNotWhole says that a dead letter does not carry the whole result.
	ErrNotWhole = errors.New("the result was too large for its dead letter")
)

// DeadLetterNotification stores the dead letter of a notification. It carries the result as it was published,
// which holds no secrets.
func (c *Conn) DeadLetterNotification(ctx context.Context, l notify.DeadLetter) error {
	msg := &nats.Msg{Subject: c.names.DeadNotification(), Header: nats.Header{}, Data: l.Delivery.Data}
	if limit := c.carries(); len(l.Delivery.Data) > limit {
		msg.Header.Set(names.HeaderTruncated, strconv.Itoa(len(l.Delivery.Data)))
		msg.Data = l.Delivery.Data[:min(limit, event.CutPayload)]
	}
	msg.Header.Set(names.HeaderReceiver, l.Receiver)
	msg.Header.Set(names.HeaderCode, l.Code)
	msg.Header.Set(names.HeaderReason, headerText(l.Reason))
	msg.Header.Set(names.HeaderJobID, l.JobID)
	msg.Header.Set(names.HeaderKind, string(l.Kind))
	id := fmt.Sprintf("notify.%s.%s.%d.dead", l.Receiver, l.Delivery.Key, l.Delivery.Since.UnixNano())
	if err := c.publishOnce(ctx, c.names.DeadLetters(), msg, id, l.Delivery.Count > 1, l.Delivery.Since); err != nil {
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
	_, err := c.js.Consumer(ctx, c.names.Jobs(), layout.ConsumerOfReceiver(letter.Receiver))
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
