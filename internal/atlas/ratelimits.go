package atlas

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"rekey/internal/backoff"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/pace"
)

// OperationRateLimits is the operation of reading the API's rate limits, in metrics.
const OperationRateLimits = "rate_limits"

// Values of Config.ReadRateLimits.
const (
	ReadAuto   = "auto"
	ReadAlways = "always"
	ReadNever  = "never"
)

// Times between two readings of the limits, the second after one that failed.
const (
	readEvery = 12 * time.Hour
	readRetry = time.Hour
)

// pathRateLimits lists the limits of all endpoint sets. It is documented with the scope and the
// endpoints of each.
const pathRateLimits = "/api/atlas/v2/rateLimits"

// scopeNames are the scopes as the API calls them.
func scopeNames() map[kinds.Scope]string {
	return map[kinds.Scope]string{kinds.ScopeAccount: "USER", kinds.ScopeOrganization: "ORGANIZATION", kinds.ScopeProject: "GROUP", kinds.ScopeAddress: "IP"}
}

// readLimits reads the API's limits until ctx ends: at the start where that is configured, when
// an answer shows that there are unknown limits, and every few hours.
func (c *Client) readLimits(ctx context.Context) {
	if c.readMode == ReadNever {
		return
	}
	wait := time.Duration(0)
	if c.readMode == ReadAuto && !isVendor(c.baseURL) {
		select {
		case <-ctx.Done():
			return
		case <-c.limiter.RefreshLimits():
		}
	}
	for {
		if backoff.Sleep(ctx, wait) != nil {
			return
		}
		wait = readEvery
		if !c.readAll(ctx) {
			wait = readRetry
		}
	}
}

// readAll reads the limits as every account, and reports whether all were read. Where accounts have
// different limits of one set, the slower one counts: headers correct it for accounts with more.
func (c *Client) readAll(ctx context.Context) bool {
	limits, all := map[string]pace.Limit{}, true
	for _, cfg := range c.accounts.Load().list {
		a, ok := c.account(cfg.Name)
		if !ok {
			continue
		}
		read, err := c.readRateLimits(ctx, a)
		if err != nil {
			all = false
			c.log.Debug("the rate limits cannot be read", zap.String("account", cfg.Name), zap.Error(err))
		}
		for set, limit := range read {
			if have, ok := limits[set]; !ok || limit.Spacing() > have.Spacing() {
				limits[set] = limit
			}
		}
	}
	c.limiter.List(limits)
	return all
}

// readRateLimits returns the limits of the endpoint sets as the API lists them for an account.
func (c *Client) readRateLimits(ctx context.Context, a *account) (map[string]pace.Limit, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*c.timeout)
	defer cancel()
	k := &call{client: c, account: a, unused: true, op: operation{
		method: http.MethodGet, Resource: kinds.Resource{Path: pathRateLimits, Version: "2025-03-12"}, set: setRateLimits,
	}}
	k.to = endpoint{operation: OperationRateLimits, bucket: c.bucket(setRateLimits, a, jobs.Job{})}
	defer k.dropPermit()
	ex, failure := k.request(ctx)
	if failure != nil {
		return nil, failure
	}
	if ex.status != http.StatusOK || ex.err != nil {
		return nil, k.failure(ctx, ex) // It does not count against the account: many accounts may not read this.
	}
	return c.parseRateLimits(ex.body)
}

// listed is an endpoint set as the API lists it.
type listed struct {
	Scope     string `json:"scope"`
	Endpoints []struct {
		Method string `json:"method"`
		Path   string `json:"path"`
	} `json:"endpoints"`
	Capacity count `json:"capacity"`
	Refill   count `json:"refillRate"`
	Seconds  count `json:"refillDurationSeconds"`
}

// count is a number, or an object with the value that applies and the default.
type count int

// UnmarshalJSON reads either form.
func (n *count) UnmarshalJSON(data []byte) error {
	var plain int
	if json.Unmarshal(data, &plain) == nil {
		*n = count(plain)
		return nil
	}
	var applied struct {
		Value *int `json:"value"`
	}
	if err := json.Unmarshal(data, &applied); err != nil || applied.Value == nil {
		return errors.New("it is neither a number nor has a value")
	}
	*n = count(*applied.Value)
	return nil
}

// parameter is a placeholder for an id in a path: the API names it differently.
var parameter = regexp.MustCompile(`\{[^}]*\}`)

// parseRateLimits finds our endpoint sets in the list, by their calls. A set with another scope than
// that of its buckets is left out.
func (c *Client) parseRateLimits(body []byte) (map[string]pace.Limit, error) {
	var document struct {
		Results []listed `json:"results"`
	}
	if err := json.Unmarshal(body, &document); err != nil {
		return nil, fmt.Errorf("the list of rate limits cannot be read: %s", jsonMistake(err))
	}
	limits := map[string]pace.Limit{}
	for _, op := range slices.Concat(c.changes(), checks()) {
		for _, l := range document.Results {
			limit := pace.Limit{Capacity: int(l.Capacity), Refill: int(l.Refill), Every: time.Duration(l.Seconds) * time.Second}
			if l.covers(op) && l.Scope == scopeNames()[c.sets[op.set].Scope] && limit.Validate() == nil {
				limits[op.set] = limit
			}
		}
	}
	return limits, nil
}

// changes are the calls of all kinds.
func (c *Client) changes() []operation {
	var list []operation
	for _, k := range kinds.All() {
		for _, f := range k.FormsOf(c.x509API) {
			if k.Becomes == nil {
				list = append(list, callOf(k, f))
			}
		}
	}
	return list
}

// checks are the reads of endpoint sets that no call draws on.
func checks() []operation {
	get := func(set kinds.Set, r kinds.Resource) operation {
		r.Path, _, _ = strings.Cut(r.Path, "?")
		return operation{method: http.MethodGet, Resource: r, set: set.Name}
	}
	list := []operation{get(kinds.EventsOrg, logOf{id: "{}"}.resource()), get(kinds.EventsProject, logOf{id: "{}", project: true}.resource())}
	for _, k := range kinds.All() {
		for _, check := range k.Proof.Checks {
			if check.Path != "" && check.As != kinds.AsClient {
				list = append(list, get(check.Set, check.Resource))
			}
		}
	}
	return list
}

// covers reports whether the operation is one of the set's endpoints.
func (l listed) covers(op operation) bool {
	for _, e := range l.Endpoints {
		if e.Method == op.method && parameter.ReplaceAllString(e.Path, "{}") == parameter.ReplaceAllString(op.Path, "{}") {
			return true
		}
	}
	return false
}

// jsonMistake describes a mistake without the content.
func jsonMistake(err error) string {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		return wrong.Field + " has the wrong type"
	}
	return "it is no JSON of the documented form"
}
