package wire

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"rekey/internal/atlas"
	"rekey/internal/config"
	"rekey/internal/event"
	"rekey/internal/jobs"
	"rekey/internal/names"
	"rekey/internal/policy"
	"rekey/internal/secret"
)

// NewRules makes the rules of intake from a configuration. Without a Reader, what leaked stays unread where a file or a store has it.
func NewRules(c *config.Config, accounts jobs.Accounts, s jobs.Sealer, r jobs.SecretReader) (*jobs.Rules, error) {
	rules := &jobs.Rules{
		Accounts: accounts, Sealer: s, Reader: r, Patience: RetryPolicy(c).Span(), Limits: c.Intake.Limits, MaxAge: c.Intake.MaxEventAge, MaxSkew: c.Intake.MaxClockSkew,
		DeadLetterUnmatched: c.Intake.Unmatched == config.UnmatchedDeadLetter, DryRun: c.Worker.DryRun, Rotations: c.RotationRules(),
	}
	if len(c.Policies.List) == 0 {
		return rules, nil
	}
	engine, err := policy.New(c.NATS.Namespace, c.PolicyAccounts(), c.Policies.List)
	if err != nil {
		return nil, err
	}
	rules.Decider = engine
	return rules, nil
}

// PolicyNames are the names of the configured policies.
func PolicyNames(c *config.Config) []string {
	names := make([]string, len(c.Policies.List))
	for i, rule := range c.Policies.List {
		names[i] = rule.Name
	}
	return names
}

// Evaluator says what a configuration makes of events, without making any job.
type Evaluator struct {
	Rules *jobs.Rules // What it goes by.
	names names.Names
}

// NewEvaluator returns the Evaluator of a configuration.
func NewEvaluator(c *config.Config) (*Evaluator, error) {
	rules, err := NewRules(c, atlas.AccountNames(AtlasAccounts(c)), nil, nil)
	if err != nil {
		return nil, err
	}
	return &Evaluator{Rules: rules, names: names.New(c.NATS.Namespace)}, nil
}

// Evaluation is what a configuration makes of one event, fit to be shown.
type Evaluation struct {
	Event    string           `json:"event"`  // How the event is called.
	Result   jobs.EventResult `json:"result"` // As in the metrics; accepted where nothing is wrong.
	Policies []PolicyDecision `json:"policies"`
	Jobs     []EvaluatedJob   `json:"jobs"`
	Problems []string         `json:"problems,omitempty"` // What goes to the dead letters, and why.
}

// PolicyDecision is what one policy makes of the event.
type PolicyDecision struct {
	Policy  string `json:"policy"`
	Matches bool   `json:"matches"`
	Why     string `json:"why,omitempty"` // Why it does not match, or what erred.
	// Cost is how many steps of CEL the event has taken of what it may cost a policy. It may differ
	// between releases.
	Cost uint64 `json:"cost,omitempty"`
}

// EvaluatedJob is a job that the event would make.
type EvaluatedJob struct {
	Policy      string            `json:"policy,omitempty"` // Empty: a direct request.
	Kind        jobs.Kind         `json:"kind"`
	Account     string            `json:"account"`
	Target      string            `json:"target"`
	Params      map[string]string `json:"params"` // Secrets as fingerprints.
	Lane        jobs.Lane         `json:"lane"`
	Reason      string            `json:"reason,omitempty"`
	RequestedBy string            `json:"requested_by,omitempty"`
	ExpiresAt   time.Time         `json:"expires_at,omitzero"`
	DryRun      bool              `json:"dry_run,omitempty"`
}

// Sample is a payload that was not published.
type Sample struct {
	Name  string    // How it is called.
	Class string    // The last part of the subject.
	Data  []byte    // Plain JSON, or a CloudEvent in JSON.
	At    time.Time // When it would have been accepted.
	// Headers are those of its message. Default none.
	Headers map[string]string
}

// Sample evaluates a payload.
func (e *Evaluator) Sample(ctx context.Context, s Sample) Evaluation {
	header := nats.Header{nats.MsgIdHdr: {s.Name}}
	for name, value := range s.Headers {
		header.Add(name, value)
	}
	return e.Evaluate(ctx, s.Name, event.Message{Subject: e.names.Event(s.Class), Header: header, Data: s.Data, Seq: 1, At: s.At})
}

// published evaluates what was made to be published, under the name that it has.
func (e *Evaluator) published(ctx context.Context, s Sample) Evaluation {
	m := event.Message{Subject: e.names.Event(s.Class), Header: nats.Header{}, Data: s.Data, Seq: 1, At: s.At}
	for name, value := range s.Headers {
		m.Header.Set(name, value)
	}
	name := m.Subject
	if read, err := event.ReadReceived(e.names, m); err == nil {
		name = read.ID + " on " + m.Subject
	}
	return e.Evaluate(ctx, name, m)
}

// Evaluate evaluates a message, as if it had just been stored.
func (e *Evaluator) Evaluate(ctx context.Context, name string, m event.Message) Evaluation {
	out := Evaluation{Event: name, Policies: []PolicyDecision{}, Jobs: []EvaluatedJob{}}
	event, err := event.ReadReceived(e.names, m)
	var plan jobs.Plan
	if err != nil {
		plan.Problems = []error{err}
	} else {
		plan = e.Rules.Plan(ctx, event, m.At)
	}
	out.Result = plan.Result()
	for _, d := range plan.Decisions {
		shown := PolicyDecision{Policy: d.Policy, Matches: d.Matched, Why: d.Why, Cost: d.Cost}
		if d.Rejection != nil {
			shown.Why = d.Rejection.Field + ": " + d.Rejection.Detail
		}
		out.Policies = append(out.Policies, shown)
	}
	for _, one := range plan.Jobs {
		job := one.Job
		out.Jobs = append(out.Jobs, EvaluatedJob{
			Policy: job.Policy, Kind: job.Kind, Account: job.Account, Target: job.Target(), Params: job.Params.Shown(), Lane: job.Lane,
			Reason: job.Reason, RequestedBy: job.RequestedBy, ExpiresAt: job.ExpiresAt, DryRun: job.DryRun,
		})
	}
	for _, problem := range plan.Problems {
		out.Problems = append(out.Problems, problem.Error())
	}
	return out
}

// SecretFinder knows what the policies of a configuration take for secrets.
type SecretFinder struct {
	Rules *jobs.Rules
	Names names.Names
	Now   func() time.Time
}

// Secrets are the texts of an event that policies hand to jobs as secrets. Of a policy that refuses the event there is none: it
// may have taken all of it for secret.
func (f SecretFinder) Secrets(ctx context.Context, class string, data []byte, headers map[string]string) []secret.Value {
	at := f.Now()
	m := event.Message{Subject: f.Names.Event(class), Header: nats.Header{}, Data: data, Seq: 1, At: at}
	for name, value := range headers {
		m.Header.Set(name, value)
	}
	e, err := event.ReadReceived(f.Names, m)
	if err != nil {
		return nil
	}
	var found []secret.Value
	for _, d := range f.Rules.Plan(ctx, e, at).Decisions {
		if d.Rejection == nil {
			found = append(found, d.InClear...)
		}
	}
	return found
}

// Decided is the evaluation without what it has cost: what two configurations are compared by.
func (e Evaluation) Decided() Evaluation {
	e.Policies = slices.Clone(e.Policies)
	for i := range e.Policies {
		e.Policies[i].Cost = 0
	}
	return e
}

// Same reports whether two evaluations of an event are the same.
func (e Evaluation) Same(other Evaluation) bool {
	return reflect.DeepEqual(e.Decided(), other.Decided())
}

// Decisive is the evaluation without the policies that have nothing to do with the event.
func (e Evaluation) Decisive() Evaluation {
	policies := []PolicyDecision{}
	for _, p := range e.Policies {
		if p.Matches {
			policies = append(policies, p)
		}
	}
	e.Policies = policies
	return e
}
