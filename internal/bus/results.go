package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/audit"
	"rekey/internal/direct"
	"rekey/internal/event"
	"rekey/internal/jobs"
)

// EachResult calls do for every result since a moment (the zero time: all), the oldest
// first, and returns how long the stream keeps them, 0 without a limit.
func (c *Conn) EachResult(ctx context.Context, since time.Time, do func(audit.Result) error) (time.Duration, error) {
	keep, err := c.eachSince(ctx, c.names.Results(), since, func(m direct.Message) error {
		return do(audit.Result{
			Seq: m.Seq, At: m.At, Subject: m.Subject, Payload: m.Data, Link: m.Header.Get(audit.Header), Foreign: !c.names.IsResult(m.Subject),
		})
	})
	if err != nil {
		return 0, fmt.Errorf("reading the results: %w", err)
	}
	return keep, nil
}

// EachEvent calls do for every event that is kept since a moment (the zero time: all), the
// oldest first. Events that held secrets may be erased.
func (c *Conn) EachEvent(ctx context.Context, since time.Time, do func(event.Message) error) error {
	_, err := c.eachSince(ctx, c.names.Events(), since, func(m direct.Message) error {
		return do(event.Message{Subject: m.Subject, Header: m.Header, Data: m.Data, Seq: m.Seq, At: m.At})
	})
	if err != nil {
		return fmt.Errorf("reading the events: %w", err)
	}
	return nil
}

// eachSince calls do for every message of a stream since a moment (the zero time: all), or
// returns jobs.ErrNotFound when there is no such stream. It returns how long the stream keeps them.
func (c *Conn) eachSince(ctx context.Context, name string, since time.Time, do func(direct.Message) error) (time.Duration, error) {
	at, err := direct.PositionOf(ctx, c.js, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0, jobs.ErrNotFound
	}
	if err != nil {
		return 0, err
	}
	_, err = direct.Read(ctx, c.js, direct.Query{Stream: name, Since: since, Until: at.Reached()}, do)
	return at.MaxAge, err
}
