package stores

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rekey/internal/bus"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/kv"
	"rekey/internal/policy"
)

// rulesKey is where the rules of the fleet stand in their bucket.
const rulesKey = "intake"

// Rules are the rules of intake as a worker has loaded them last. They hold no secret:
// expressions, and what accounts are called.
type Rules struct {
	Worker   string           `json:"worker"`
	LoadedAt time.Time        `json:"loaded_at"`
	Accounts []policy.Account `json:"accounts"`
	Policies []policy.Rule    `json:"policies"`
	Intake   Intake           `json:"intake"`
	DryRun   bool             `json:"dry_run,omitempty"`
	// Rotations are the rotations by their names.
	Rotations map[string]Rotation `json:"rotations,omitempty"`
	// Others are what other workers have loaded shortly before: while a change of the configuration spreads, one that still has the old file may
	// start last.
	Others []Known `json:"others,omitempty"`
}

// Rotation is what a rotation is about, and as which account it calls.
type Rotation struct {
	Account  string `json:"account"`
	ClientID string `json:"client_id,omitempty"`
	APIKeyID string `json:"api_key_id,omitempty"`
}

// rotationsOf are the rotations of a configuration.
func rotationsOf(c *config.Config) map[string]Rotation {
	rotations := map[string]Rotation{}
	for _, r := range c.Rotations {
		rotations[r.Name] = Rotation{Account: c.AccountOf(r), ClientID: r.ClientID, APIKeyID: r.APIKeyID}
	}
	return rotations
}

// Intake is what of the configuration's intake decides about events.
type Intake struct {
	Unmatched    string        `json:"unmatched"`
	MaxEventAge  time.Duration `json:"max_event_age,omitempty"`
	MaxClockSkew time.Duration `json:"max_clock_skew"`
	Limits       jobs.Limits   `json:"limits,omitzero"`
}

// NewRules are those of a configuration that a worker has loaded.
func NewRules(c *config.Config, worker string, now time.Time) Rules {
	return Rules{
		Worker: worker, LoadedAt: now.UTC(), Accounts: c.PolicyAccounts(), Policies: c.Policies.List, DryRun: c.Worker.DryRun,
		Rotations: rotationsOf(c),
		Intake: Intake{
			Unmatched: c.Intake.Unmatched, MaxEventAge: c.Intake.MaxEventAge, MaxClockSkew: c.Intake.MaxClockSkew, Limits: c.Intake.Limits,
		},
	}
}

// Config makes a configuration of the rules, as far as they go.
func (f Rules) Config(namespace string) *config.Config {
	c := config.Default()
	c.NATS.Namespace = namespace
	c.Policies.List, c.Worker.DryRun = f.Policies, f.DryRun
	c.Intake.Unmatched, c.Intake.MaxEventAge, c.Intake.MaxClockSkew = f.Intake.Unmatched, f.Intake.MaxEventAge, f.Intake.MaxClockSkew
	c.Intake.Limits = f.Intake.Limits
	for _, a := range f.Accounts {
		c.Atlas.Accounts = append(c.Atlas.Accounts, config.Account{Name: a.Name, ClientID: a.ClientID}) // No call is made.
	}
	for name, r := range f.Rotations {
		c.Rotations = append(c.Rotations, config.Rotation{Name: name, Account: r.Account, ClientID: r.ClientID, APIKeyID: r.APIKeyID})
	}
	return c
}

// rulesOf is the bucket of the rules.
func rulesOf(c *bus.Conn) *kv.Store[Rules] { return bus.Store[Rules](c, c.Names().Rules()) }

// ShowRules notes the rules that a worker has loaded, beside those of others. What cannot be decoded is replaced.
func ShowRules(ctx context.Context, c *bus.Conn, rules Rules) error {
	for {
		before, revision, err := rulesOf(c).Load(ctx, rulesKey)
		if errors.Is(err, kv.ErrUndecodable) {
			return rulesOf(c).Put(ctx, rulesKey, rules)
		}
		if err != nil {
			return err
		}
		if rules.Others = nil; revision > 0 {
			rules.Others = before.Of(rules.Worker, rules.LoadedAt)
		}
		if err := rules.fit(); err != nil {
			return err
		}
		if _, err := rulesOf(c).Save(ctx, rulesKey, rules, revision); !errors.Is(err, jobs.ErrConflict) {
			return err
		}
	}
}

// LoadRules returns the rules that a worker has loaded last, or jobs.ErrNotFound.
func LoadRules(ctx context.Context, c *bus.Conn) (Rules, error) {
	rules, revision, err := rulesOf(c).Load(ctx, rulesKey)
	if err == nil && revision == 0 {
		err = jobs.ErrNotFound
	}
	if err != nil {
		return rules, fmt.Errorf("reading by which rules the fleet goes: %w", err)
	}
	return rules, nil
}
