package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/audit"
	"rekey/internal/jobs"
)

// EachResult calls do for every result since a moment (the zero time: all), the oldest
// first, and returns how long the stream keeps them, 0 for ever.
func (c *Conn) EachResult(ctx context.Context, n Names, since time.Time, do func(audit.Result) error) (time.Duration, error) {
	stream, err := c.eachSince(ctx, n.Results(), since, func(msg jetstream.Msg, meta *jetstream.MsgMetadata) error {
		return do(audit.Result{
			Seq: meta.Sequence.Stream, At: meta.Timestamp, Subject: msg.Subject(), Payload: msg.Data(), Link: msg.Headers().Get(audit.Header),
		})
	})
	if err != nil {
		return 0, fmt.Errorf("reading the results: %w", err)
	}
	return stream.CachedInfo().Config.MaxAge, nil
}

// EachEvent calls do for every event that is kept since a moment (the zero time: all), the
// oldest first. Events that held secrets may be erased.
func (c *Conn) EachEvent(ctx context.Context, n Names, since time.Time, do func(Message) error) error {
	_, err := c.eachSince(ctx, n.Events(), since, func(msg jetstream.Msg, meta *jetstream.MsgMetadata) error {
		return do(Message{
			Subject: msg.Subject(), Header: msg.Headers(), Data: msg.Data(), Seq: meta.Sequence.Stream, At: meta.Timestamp,
		})
	})
	if err != nil {
		return fmt.Errorf("reading the events: %w", err)
	}
	return nil
}

// eachSince calls do for every message of a stream since a moment (the zero time: all), or
// returns jobs.ErrNotFound when there is no such stream.
func (c *Conn) eachSince(ctx context.Context, name string, since time.Time, do func(jetstream.Msg, *jetstream.MsgMetadata) error) (jetstream.Stream, error) {
	stream, err := c.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, jobs.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	cfg := jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: searchIdle}
	if !since.IsZero() {
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &since
	}
	cons, err := stream.CreateConsumer(ctx, cfg)
	if err != nil {
		return nil, err
	}
	err = each(ctx, cons, func(msg jetstream.Msg) error {
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		return do(msg, meta)
	})
	if err != nil {
		return nil, err
	}
	// The server deletes it by itself, too, only later.
	_ = c.js.DeleteConsumer(ctx, name, cons.CachedInfo().Name)
	return stream, nil
}
