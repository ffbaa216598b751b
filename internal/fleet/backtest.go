package fleet

import (
	"context"
	"fmt"
	"time"

	"rekey/internal/event"
	"rekey/internal/wire"
)

// Changed is an event about which two configurations decide differently.
type Changed struct {
	Seq     uint64          `json:"seq"` // Its sequence in the stream of events.
	At      time.Time       `json:"at"`
	Subject string          `json:"subject"`
	Before  wire.Evaluation `json:"before"`
	After   wire.Evaluation `json:"after"`
}

// Backtest evaluates every event that is kept since a moment twice, calls found for those about
// which the evaluations differ, and returns how many events there were.
func (c *Client) Backtest(ctx context.Context, since time.Time, before, after *wire.Evaluator, found func(Changed)) (int, error) {
	events := 0
	err := c.conn.EachEvent(ctx, since, func(m event.Message) error {
		events++
		name := fmt.Sprintf("event %d", m.Seq)
		one := Changed{
			Seq: m.Seq, At: m.At, Subject: m.Subject,
			Before: before.Evaluate(ctx, name, m).Decisive(), After: after.Evaluate(ctx, name, m).Decisive(),
		}
		if !one.Before.Same(one.After) {
			found(one)
		}
		return context.Cause(ctx)
	})
	return events, err
}
