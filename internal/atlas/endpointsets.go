package atlas

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/pace"
)

// endpointSet is a set of endpoints that share rate buckets. With the scope, it is what the
// vendor calls an endpoint set id.
type endpointSet string

// The endpoint sets of no kind of job, and that of a federation, as the vendor documents them (Atlas Administration API rate
// limits; the OAuth endpoints name themselves in their refusals).
const (
	setOAuthToken endpointSet = "oauth_token"
	setRateLimits endpointSet = "rate_limits"
)

// setFederation is what reading of organizations and federations draws on.
var setFederation = endpointSet(kinds.Federation.Name)

// sets are all endpoint sets.
func sets() []kinds.Set {
	return slices.Concat(
		[]kinds.Set{{Name: string(setOAuthToken), Scope: ScopeAccount, Limit: kinds.OAuthLimit}},
		kinds.Sets(),
		[]kinds.Set{{Name: string(setRateLimits), Scope: ScopeAccount}},
	)
}

// Buckets lists the names of rate buckets for the Recorder and Config.RateLimits.
// They name sets of buckets, not single ones: ids would have no end.
func Buckets() []string {
	var names []string
	for _, s := range sets() {
		names = append(names, s.Name)
	}
	return names
}

// Scope says whose buckets an endpoint set has.
type Scope = kinds.Scope

// The scopes.
const (
	ScopeAccount      = kinds.ScopeAccount
	ScopeOrganization = kinds.ScopeOrganization
	ScopeProject      = kinds.ScopeProject
	ScopeAddress      = kinds.ScopeAddress
)

// RateLimit is what the operator knows of an endpoint set.
type RateLimit struct {
	// Limit is that of each bucket. The zero Limit leaves it to the API to say.
	Limit pace.Limit
	// Scope is whose buckets they are. Empty means the documented one.
	Scope Scope
}

// setRule is the documented nature of an endpoint set.
type setRule struct {
	scope Scope
	// limit is what the vendor publishes for all customers, at its own hosts; zero where accounts differ.
	limit pace.Limit
}

// rules is the one table of the endpoint sets.
func rules() map[endpointSet]setRule {
	table := map[endpointSet]setRule{}
	for _, s := range sets() {
		table[endpointSet(s.Name)] = setRule{scope: s.Scope, limit: pace.Limit(s.Limit)}
	}
	return table
}

// applied are the rules with what the configuration says instead.
func (cfg Config) applied() map[endpointSet]setRule {
	table := rules()
	for set, rule := range table {
		if !isVendor(cfg.BaseURL) {
			rule.limit = pace.Limit{}
		}
		if own, ok := cfg.RateLimits[string(set)]; ok && own.Scope != "" {
			rule.scope = own.Scope
		}
		table[set] = rule
	}
	return table
}

// sets are the endpoint sets as the limiter knows them.
func (cfg Config) sets(rules map[endpointSet]setRule) map[string]pace.Set {
	sets := map[string]pace.Set{}
	for name, rule := range rules {
		sets[string(name)] = pace.Set{Configured: cfg.RateLimits[string(name)].Limit, Published: rule.limit}
	}
	return sets
}

// isVendor reports whether the API is the vendor's own, not a stand-in or a gateway.
func isVendor(baseURL string) bool {
	for _, host := range []string{".mongodb.com", ".mongodbgov.com"} {
		if strings.HasSuffix(strings.TrimSuffix(baseURL, "/"), host) {
			return true
		}
	}
	return false
}

func (cfg Config) validateRateLimits() error {
	for name, own := range cfg.RateLimits {
		if !slices.Contains(Buckets(), name) {
			return fmt.Errorf("rate limit %q: the endpoint sets are %s", name, strings.Join(Buckets(), ", "))
		}
		if own.Limit != (pace.Limit{}) {
			if err := own.Limit.Validate(); err != nil {
				return fmt.Errorf("rate limit %s: %w", name, err)
			}
		}
		switch own.Scope {
		case "", ScopeAccount, ScopeOrganization, ScopeProject, ScopeAddress:
		default:
			return fmt.Errorf("rate limit %s: the scope must be account, organization, project or address", name)
		}
	}
	if !slices.Contains([]string{ReadAuto, ReadAlways, ReadNever}, cfg.ReadRateLimits) {
		return fmt.Errorf("reading of rate limits must be %s, %s or %s", ReadAuto, ReadAlways, ReadNever)
	}
	if cfg.UrgentShare < 0 || cfg.UrgentShare > 0.9 {
		return fmt.Errorf("the urgent share must be from 0 to 0.9")
	}
	return nil
}

// bucket returns the rate bucket of an endpoint set that a call draws on. An organization or
// project that the job does not name is stood for by its account.
func (c *Client) bucket(set endpointSet, a *account, job jobs.Job) pace.Bucket {
	b := pace.Bucket{Set: string(set)}
	switch scope := c.rules[set].scope; scope {
	case ScopeAddress:
		b.Entity = string(ScopeAddress)
	case ScopeAccount, ScopeOrganization, ScopeProject:
		b.Entity = job.Params.Get(scope.Entity())
	}
	if b.Entity == "" {
		b.Entity = a.identity()
	}
	return b
}

// rankOf is how urgent the job's lane makes its calls.
func rankOf(l jobs.Lane) pace.Rank {
	if at := slices.Index(jobs.Lanes(), l); at >= 0 {
		return pace.Rank(at)
	}
	return 0 // What has no lane, a token or a list, is what others wait for.
}

// Permit grants a permit to make the job's call now, or says when the job is to ask again. The call
// of a permit is counted: it is to be made at once.
func (c *Client) Permit(ctx context.Context, job jobs.Job) jobs.Permit {
	a, ok := c.account(job.Account)
	kind := kinds.Of(job.Kind)
	if !ok || kind.Name == "" {
		return jobs.Permit{} // Revoke says what is wrong.
	}
	// The request for a token draws on another bucket, but only a call without one has to wait for it.
	if a.isService() && !kind.Call.OwnSecret && a.tokens.empty(time.Now()) {
		if wait := c.limiter.Peek(ctx, c.tokenEndpoint(a).bucket); wait.At.After(time.Now()) && !c.tokenIsShared(ctx, a) {
			return jobs.Permit(wait)
		}
	}
	b := c.bucket(endpointSet(kind.Form(c.x509API, job.Params.Named).Set.Name), a, job)
	wait := c.take(ctx, a, b, rankOf(job.Lane))
	if wait.At.After(time.Now()) {
		c.recorder.CallDelayed(b.Set, string(job.Lane))
	}
	return jobs.Permit(wait)
}

// take takes a slot for the account where there are others, and then a token of the bucket.
func (c *Client) take(ctx context.Context, a *account, b pace.Bucket, rank pace.Rank) pace.Wait {
	if len(c.accounts.Load().names) < 2 {
		return c.limiter.Take(ctx, b, rank)
	}
	if wait := a.slots.Take(rank, c.slots); !wait.At.IsZero() {
		return wait
	}
	wait := c.limiter.Take(ctx, b, rank)
	if !wait.At.IsZero() {
		a.slots.Drop()
	}
	return wait
}
