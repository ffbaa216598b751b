package fleet

import (
	"context"
	"fmt"
	"time"

	"rekey/internal/config"
	"rekey/internal/event"
	"rekey/internal/jobs"
	"rekey/internal/stores"
	"rekey/internal/wire"
)

// FleetEvaluator returns the Evaluator of the running fleet's rules, and those rules.
func (c *Client) FleetEvaluator(ctx context.Context) (*wire.Evaluator, stores.Rules, error) {
	rules, err := stores.LoadRules(ctx, c.conn)
	if err != nil {
		return nil, rules, err
	}
	evaluator, err := wire.NewEvaluator(rules.Config(c.config.NATS.Namespace))
	return evaluator, rules, err
}

// rulesTimeout bounds the look at the fleet's rules before something is asked for.
const rulesTimeout = 2 * time.Second

// CheckRequest reports, as *jobs.Malformed and *jobs.Rejection, joined, why no worker would accept a request: an account that is
// not configured, or a list of the limits. It goes by the rules that a worker has loaded last, and by the configuration
// where that has accounts; what one of them accepts may be accepted. Where neither is known, nothing is reported.
func (c *Client) CheckRequest(ctx context.Context, request map[string]any) error {
	var known []*config.Config
	// Without these rules the request goes out all the same: the worker says what it makes of it.
	_ = c.attempt(ctx, rulesTimeout, func(ctx context.Context) error {
		rules, err := stores.LoadRules(ctx, c.conn)
		if err == nil {
			known = append(known, rules.Config(c.config.NATS.Namespace))
		}
		return err
	})
	if len(c.config.Atlas.Accounts) > 0 {
		known = append(known, c.config)
	}
	var first error
	for i, rules := range known {
		err := refusedBy(ctx, rules, request)
		if err == nil {
			return nil
		}
		if i == 0 {
			first = err
		}
	}
	return first
}

// refusedBy is why a configuration refuses a request.
func refusedBy(ctx context.Context, c *config.Config, request map[string]any) error {
	req, err := jobs.ParseRequest(jobs.Document{Fields: request})
	if err != nil {
		return err
	}
	own := *c
	own.Policies = config.Policies{} // No policy is asked about an operator's request.
	evaluator, err := wire.NewEvaluator(&own)
	if err != nil {
		return err
	}
	now := time.Now()
	plan := evaluator.Rules.Plan(ctx, jobs.Event{Class: jobs.ClassOperator, Envelope: jobs.Envelope{Time: now}, Direct: true, Request: req}, now)
	return plan.Err()
}

// Changed is an event about which two configurations decide differently.
type Changed struct {
	Seq     uint64          `json:"seq"` // Its sequence in the stream of events.
	At      time.Time       `json:"at"`
	Subject string          `json:"subject"`
	Before  wire.Evaluation `json:"before"`
	After   wire.Evaluation `json:"after"`
}

// Seen is an event that is kept, and what the rules of an evaluator make of it.
type Seen struct {
	Seq     uint64    `json:"seq"` // Its sequence in the stream of events.
	At      time.Time `json:"at"`
	Subject string    `json:"subject"`
	Source  string    `json:"source,omitempty"`
	ID      string    `json:"id,omitempty"`
	Type    string    `json:"type,omitempty"`
	// Result is what the rules make of it now, as in the metrics.
	Result jobs.EventResult `json:"result"`
	// Policies are those that match.
	Policies []string `json:"policies,omitempty"`
	Jobs     int      `json:"jobs"`
}

// Events evaluates the events that are kept since a moment, and returns the latest ones that want wants, the oldest first.
func (c *Client) Events(ctx context.Context, since time.Time, by *wire.Evaluator, limit int, want func(Seen) bool) ([]Seen, error) {
	list := []Seen{}
	err := c.conn.EachEvent(ctx, since, func(m event.Message) error {
		if one := c.seen(ctx, m, by); want(one) {
			list = append(list, one)
		}
		if len(list) > 2*limit {
			list = append(list[:0], list[len(list)-limit:]...)
		}
		return context.Cause(ctx)
	})
	return list[max(len(list)-limit, 0):], err
}

func (c *Client) seen(ctx context.Context, m event.Message, by *wire.Evaluator) Seen {
	e, _ := event.ReadReceived(c.conn.Names(), m) //nolint:errcheck // Its names are there as far as they can be read, and Result says that it is malformed.
	decided := by.Evaluate(ctx, "", m)
	one := Seen{Seq: m.Seq, At: m.At, Subject: m.Subject, Source: e.Source, ID: e.ID, Type: e.Envelope.Type, Result: decided.Result, Jobs: len(decided.Jobs)}
	for _, p := range decided.Policies {
		if p.Matches {
			one.Policies = append(one.Policies, p.Policy)
		}
	}
	return one
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
