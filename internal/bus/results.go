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
	stream, err := c.js.Stream(ctx, n.Results())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0, jobs.ErrNotFound
	}
	if err != nil {
		return 0, fmt.Errorf("opening the results: %w", err)
	}
	cfg := jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: searchIdle}
	if !since.IsZero() {
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &since
	}
	cons, err := stream.CreateConsumer(ctx, cfg)
	if err != nil {
		return 0, fmt.Errorf("reading the results: %w", err)
	}
	err = each(ctx, cons, func(msg jetstream.Msg) error {
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		return do(audit.Result{
			Seq: meta.Sequence.Stream, At: meta.Timestamp, Subject: msg.Subject(), Payload: msg.Data(), Link: msg.Headers().Get(audit.Header),
		})
	})
	if err != nil {
		return 0, fmt.Errorf("reading the results: %w", err)
	}
	// The server deletes it by itself, too, only later.
	_ = c.js.DeleteConsumer(ctx, n.Results(), cons.CachedInfo().Name)
	return stream.CachedInfo().Config.MaxAge, nil
}
