package fleet

import (
	"context"
	"fmt"
	"time"

	"rekey/internal/bus"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/kv"
	"rekey/internal/policy"
	"rekey/internal/wire"
)

// RulesKey is where the rules of the fleet stand in their bucket.
const RulesKey = "intake"

// Rules are the rules of intake as a worker has loaded them last. They hold no secret:
// expressions, and what accounts are called.
type Rules struct {
	Worker   string           `json:"worker"`
	LoadedAt time.Time        `json:"loaded_at"`
	Accounts []policy.Account `json:"accounts"`
	Policies []policy.Rule    `json:"policies"`
	Intake   fleetIntake      `json:"intake"`
	DryRun   bool             `json:"dry_run,omitempty"`
}

// fleetIntake is what of the configuration's intake decides about events.
type fleetIntake struct {
	Unmatched    string        `json:"unmatched"`
	MaxEventAge  time.Duration `json:"max_event_age,omitempty"`
	MaxClockSkew time.Duration `json:"max_clock_skew"`
	Limits       jobs.Limits   `json:"limits,omitzero"`
}

// NewRules are those of a configuration that a worker has loaded.
func NewRules(c *config.Config, worker string, now time.Time) Rules {
	return Rules{
		Worker: worker, LoadedAt: now.UTC(), Accounts: c.PolicyAccounts(), Policies: c.Policies.List, DryRun: c.Worker.DryRun,
		Intake: fleetIntake{
			Unmatched: c.Intake.Unmatched, MaxEventAge: c.Intake.MaxEventAge, MaxClockSkew: c.Intake.MaxClockSkew, Limits: c.Intake.Limits,
		},
	}
}

// config makes a configuration of the rules, as far as they go.
func (f Rules) config(namespace string) *config.Config {
	c := config.Default()
	c.NATS.Namespace = namespace
	c.Policies.List, c.Worker.DryRun = f.Policies, f.DryRun
	c.Intake.Unmatched, c.Intake.MaxEventAge, c.Intake.MaxClockSkew = f.Intake.Unmatched, f.Intake.MaxEventAge, f.Intake.MaxClockSkew
	c.Intake.Limits = f.Intake.Limits
	for _, a := range f.Accounts {
		c.Atlas.Accounts = append(c.Atlas.Accounts, config.Account{Name: a.Name, ClientID: a.ClientID}) // No call is made.
	}
	return c
}

// RulesStore is where the rules of the fleet are kept.
func RulesStore(c *bus.Conn) *kv.Store[Rules] { return bus.Store[Rules](c, c.Names().Rules()) }

// FleetEvaluator returns the Evaluator of the running fleet's rules, and those rules.
func (c *Client) FleetEvaluator(ctx context.Context) (*wire.Evaluator, Rules, error) {
	rules, err := c.rules(ctx)
	if err != nil {
		return nil, rules, err
	}
	evaluator, err := wire.NewEvaluator(rules.config(c.config.NATS.Namespace))
	return evaluator, rules, err
}

// rules are those that a worker has loaded last, or jobs.ErrNotFound.
func (c *Client) rules(ctx context.Context) (Rules, error) {
	rules, revision, err := RulesStore(c.conn).Load(ctx, RulesKey)
	if err == nil && revision == 0 {
		err = jobs.ErrNotFound
	}
	if err != nil {
		return rules, fmt.Errorf("reading by which rules the fleet goes: %w", err)
	}
	return rules, nil
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
		rules, err := c.rules(ctx)
		if err == nil {
			known = append(known, rules.config(c.config.NATS.Namespace))
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
