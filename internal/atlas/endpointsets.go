package atlas

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/pace"
)

// setRateLimits is the name of the endpoint set that belongs to no kind of job.
const setRateLimits = "rate_limits"

// endpointSets are all endpoint sets.
func endpointSets() []kinds.Set {
	return append(kinds.Sets(), kinds.Set{Name: setRateLimits, Scope: kinds.ScopeAccount})
}

// Buckets lists the names of rate buckets for the Recorder and Config.RateLimits.
// They name sets of buckets, not single ones: ids would have no end.
func Buckets() []string {
	var names []string
	for _, s := range endpointSets() {
		names = append(names, s.Name)
	}
	return names
}

// RateLimit is the configured limit of an endpoint set.
type RateLimit struct {
	// Limit is that of each bucket. The zero Limit leaves it to the API.
	Limit pace.Limit
	// Scope is to which entity the buckets belong. Empty means the documented one.
	Scope kinds.Scope
}

// sets are the endpoint sets as the configuration has them, by name.
func (cfg Config) sets() map[string]kinds.Set {
	table := map[string]kinds.Set{}
	for _, set := range endpointSets() {
		if !isVendor(cfg.BaseURL) {
			set.Limit = kinds.Limit{}
		}
		set.Scope = cmp.Or(cfg.RateLimits[set.Name].Scope, set.Scope)
		table[set.Name] = set
	}
	return table
}

// limits are the configured and published limits of the endpoint sets.
func (cfg Config) limits(sets map[string]kinds.Set) map[string]pace.Set {
	limits := map[string]pace.Set{}
	for name, set := range sets {
		limits[name] = pace.Set{Configured: cfg.RateLimits[name].Limit, Published: pace.Limit(set.Limit)}
	}
	return limits
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
		case "", kinds.ScopeAccount, kinds.ScopeOrganization, kinds.ScopeProject, kinds.ScopeAddress:
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

// bucket returns the rate bucket of an endpoint set that a call draws on. The account replaces an organization or project
// that the job does not name.
func (c *Client) bucket(set string, a *account, job jobs.Job) pace.Bucket {
	b := pace.Bucket{Set: set}
	switch scope := c.sets[set].Scope; scope {
	case kinds.ScopeAddress:
		b.Entity = string(kinds.ScopeAddress)
	case kinds.ScopeAccount, kinds.ScopeOrganization, kinds.ScopeProject:
		b.Entity = job.Params.Get(scope.Entity())
	}
	if b.Entity == "" {
		b.Entity = a.identity()
	}
	return b
}

// rankOf is the rank of a lane's calls.
func rankOf(l jobs.Lane) pace.Rank {
	if at := slices.Index(jobs.Lanes(), l); at >= 0 {
		return pace.Rank(at)
	}
	return 0 // Requests without a lane, for a token or a list: jobs wait for them.
}

// Permit grants a permit to make the job's call now, or returns when to ask again. The call
// of a permit is counted: it must be made at once.
func (c *Client) Permit(ctx context.Context, job jobs.Job) jobs.Permit {
	a, ok := c.account(job.Account)
	kind := kinds.Of(job.Kind)
	if !ok || kind.Call.Method == "" {
		return jobs.Permit{} // Revoke reports what is wrong.
	}
	if wait := c.tokenWait(ctx, a, &kind); wait.At.After(time.Now()) {
		return jobs.Permit(wait)
	}
	b := c.bucket(kind.Form(c.x509API, job.Params.Named).Set.Name, a, job)
	wait := c.take(ctx, a, b, rankOf(job.Lane))
	if wait.At.After(time.Now()) {
		c.recorder.CallDelayed(b.Set, string(job.Lane))
	}
	return jobs.Permit(wait)
}

// PermitNow grants a permit to make the job's call now, or reports that there is none. The job has no turn planned then: it asks with
// Permit when it has its place in the queue.
func (c *Client) PermitNow(ctx context.Context, job jobs.Job) bool {
	a, ok := c.account(job.Account)
	kind := kinds.Of(job.Kind)
	if !ok || kind.Call.Method == "" {
		return true // Revoke reports what is wrong.
	}
	if c.tokenWait(ctx, a, &kind).At.After(time.Now()) {
		return false
	}
	b, rank := c.bucket(kind.Form(c.x509API, job.Params.Named).Set.Name, a, job), rankOf(job.Lane)
	if len(c.accounts.Load().list) < 2 {
		return c.limiter.TakeNow(ctx, b, rank)
	}
	if !a.slots.TakeNow(rank, c.slots) {
		return false
	}
	granted := c.limiter.TakeNow(ctx, b, rank)
	if !granted {
		a.slots.Drop()
	}
	return granted
}

// tokenWait is when the account's token can be requested, where a call has to wait for that. The request draws on another bucket, but
// only a call without a token has to wait for it.
func (c *Client) tokenWait(ctx context.Context, a *account, kind *kinds.Kind) pace.Wait {
	if !a.isService() || kind.Call.OwnSecret || !a.tokens.empty(time.Now()) {
		return pace.Wait{}
	}
	wait := c.limiter.Peek(ctx, c.tokenEndpoint(a).bucket)
	if !wait.At.After(time.Now()) || c.tokenIsShared(ctx, a) {
		return pace.Wait{}
	}
	return wait
}

// take takes a slot for the account where there are others, and then a token of the bucket.
func (c *Client) take(ctx context.Context, a *account, b pace.Bucket, rank pace.Rank) pace.Wait {
	if len(c.accounts.Load().list) < 2 {
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
