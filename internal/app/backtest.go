package app

import (
	"context"
	"fmt"
	"time"

	"rekey/internal/bus"
)

// Changed is an event about which two configurations decide differently.
type Changed struct {
	Seq     uint64     `json:"seq"` // Its sequence in the stream of events.
	At      time.Time  `json:"at"`
	Subject string     `json:"subject"`
	Before  Evaluation `json:"before"`
	After   Evaluation `json:"after"`
}

// Backtest evaluates every event that is kept since a moment twice, calls found for those about
// which the evaluations differ, and returns how many events there were.
func (c *Client) Backtest(ctx context.Context, since time.Time, before, after *Evaluator, found func(Changed)) (int, error) {
	events := 0
	err := c.Conn.EachEvent(ctx, c.Names, since, func(m bus.Message) error {
		events++
		name := fmt.Sprintf("event %d", m.Seq)
		one := Changed{
			Seq: m.Seq, At: m.At, Subject: m.Subject,
			Before: before.evaluate(ctx, name, m).decisive(), After: after.evaluate(ctx, name, m).decisive(),
		}
		if !one.Before.same(one.After) {
			found(one)
		}
		return context.Cause(ctx)
	})
	return events, err
}
