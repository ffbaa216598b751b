package atlas

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/pace"
	"rekey/internal/secret"
)

// Token describes an account's bearer token, without its value.
type Token struct {
	// Shared says that another worker has fetched the token, so that the secret was not used.
	Shared  bool
	Expires time.Time
}

// Token gets the bearer token of a service account: the fleet's, or else one of its own.
func (c *Client) Token(ctx context.Context, name string) (Token, *jobs.Failure) {
	a, ok := c.account(name)
	if !ok || !a.isService() {
		return Token{}, misconfigured(fmt.Errorf("%q is no service account", name))
	}
	shared := c.tokenIsShared(ctx, a)
	if _, failure := a.tokens.get(ctx); failure != nil {
		return Token{}, failure
	}
	return Token{Shared: shared, Expires: a.tokens.expires()}, nil
}

// codeNoRole is the errorCode of a 401 that is about a role: the API knows who calls.
const codeNoRole = "USER_UNAUTHORIZED"

// LacksRole reports whether a failure means that the account was authenticated and lacks a role. A 403 without an errorCode
// comes from a proxy in between, not from the API.
func LacksRole(f *jobs.Failure) bool {
	return f.Answer.Code == codeNoRole ||
		f.Reason == jobs.ReasonForbidden && f.Answer.Code != "" && !strings.Contains(f.Answer.Code, "ACCESS_LIST")
}

// Look reads the target of a job as the job's account, and changes nothing. It returns nil when the target is there. Of a
// token nothing can be read.
func (c *Client) Look(ctx context.Context, job jobs.Job) *jobs.Failure {
	k, failure := c.newCall(job)
	if failure != nil {
		return failure
	}
	defer k.dropPermit()
	if failure := k.find(ctx); failure != nil {
		return failure
	}
	_, failure = k.read(ctx)
	return failure
}

// Paths that show in which organizations an account has which role.
const (
	pathOrgs       = "/api/atlas/v2/orgs"
	pathFederation = "/api/atlas/v2/orgs/%s/federationSettings"
	firstVersion   = "2023-01-01"
)

// maxOrgs is in how many organizations an account's role is looked at.
const maxOrgs = 20

// Organization is one that an account belongs to.
type Organization struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Owner says that the account is an Organization Owner there: it could read what is for owners only.
	Owner bool `json:"-"`
	// Federation is the one that the organization is connected to; empty when there is none, or it is not known.
	Federation string `json:"-"`
	// Failure is why the role is not known; nil when it is.
	Failure *jobs.Failure `json:"-"`
}

// Organizations returns the organizations of an account, at most 20, with the account's role there. It is known from
// reading the federation settings, which takes the role Organization Owner, as changing them does.
func (c *Client) Organizations(ctx context.Context, name string) ([]Organization, *jobs.Failure) {
	a, ok := c.account(name)
	if !ok {
		return nil, misconfigured(fmt.Errorf("account %q is not configured", name))
	}
	var page struct {
		Results []Organization `json:"results"`
	}
	if failure := c.get(ctx, a, pathOrgs, &page); failure != nil {
		return nil, failure
	}
	list := slices.DeleteFunc(page.Results, func(o Organization) bool { return !kinds.IsID(o.ID) })
	list = list[:min(len(list), maxOrgs)]
	for i := range list {
		var federation struct {
			ID string `json:"id"`
		}
		failure := c.get(ctx, a, fmt.Sprintf(pathFederation, list[i].ID), &federation)
		switch {
		case failure == nil:
			list[i].Owner, list[i].Federation = true, federation.ID
		case failure.Reason == jobs.ReasonNotFound: // It may see that there is no federation.
			list[i].Owner = true
		case !LacksRole(failure):
			list[i].Failure = failure
		}
	}
	return list, nil
}

// get reads a document of the API as an account.
func (c *Client) get(ctx context.Context, a *account, path string, document any) *jobs.Failure {
	to := endpoint{operation: OperationRead, bucket: c.bucket(kinds.Federation.Name, a, jobs.Job{})}
	body, failure := c.getAt(ctx, a, kinds.Resource{Path: path, Version: firstVersion}, to)
	if failure != nil {
		return failure
	}
	if err := json.Unmarshal(body, document); err != nil {
		return &jobs.Failure{Reason: jobs.ReasonProtocol, Err: errors.New("the document cannot be read: " + jsonMistake(err))}
	}
	return nil
}

// getAt reads the bytes of a document of the API as an account.
func (c *Client) getAt(ctx context.Context, a *account, r kinds.Resource, to endpoint) ([]byte, *jobs.Failure) {
	k := &call{client: c, account: a, unused: true, to: to, op: operation{method: http.MethodGet, Resource: r, set: to.bucket.Set}}
	defer k.dropPermit()
	ex, failure := k.request(ctx)
	if failure != nil {
		return nil, failure
	}
	if ex.status != http.StatusOK || ex.err != nil {
		return nil, k.failure(ctx, ex)
	}
	return ex.body, nil
}

// SecretEnd returns when the secret ends with which a service account of the configuration authenticates, as the API says, and how that secret
// was found among the account's. The error is a *jobs.Failure. Its reads are of the rank of checks: jobs go before them.
func (c *Client) SecretEnd(ctx context.Context, name string) (ends time.Time, found string, _ error) {
	a, ok := c.account(name)
	if !ok || !a.isService() {
		return time.Time{}, "", misconfigured(fmt.Errorf("%q is no service account", name))
	}
	value, err := a.readSecret(c.lookupEnv)
	if err != nil {
		return time.Time{}, "", misconfigured(err)
	}
	held, failure := c.ownSecrets(ctx, a)
	if failure != nil {
		failure.Err = c.discreet(failure.Err)
		return time.Time{}, "", failure
	}
	one, found := inUse(held, value)
	if found == "" {
		return time.Time{}, "", &jobs.Failure{Reason: jobs.ReasonNotFound, Err: errors.New("the API shows no secret of the account that may be the one in use")}
	}
	return one.ExpiresAt, found, nil
}

// ownSecrets reads the secrets of a service account, as that account: it looks for itself in the organizations that it sees.
func (c *Client) ownSecrets(ctx context.Context, a *account) ([]kinds.HeldSecret, *jobs.Failure) {
	body, failure := c.getAt(ctx, a, kinds.Resource{Path: pathOrgs, Version: firstVersion}, c.lowest(kinds.Federation, a, ""))
	if failure != nil {
		return nil, failure
	}
	var page struct {
		Results []Organization `json:"results"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return nil, &jobs.Failure{Reason: jobs.ReasonProtocol, Err: errors.New("the organizations cannot be read: " + jsonMistake(err))}
	}
	last := &jobs.Failure{Reason: jobs.ReasonNotFound, Err: errors.New("the account sees no organization that it is of")}
	for _, o := range page.Results[:min(len(page.Results), maxOrgs)] {
		if !kinds.IsID(o.ID) {
			continue
		}
		r, set := kinds.AccountOfOrg(o.ID, a.ClientID)
		body, failure := c.getAt(ctx, a, r, c.lowest(set, a, o.ID))
		if failure != nil {
			if last = failure; failure.Reason == jobs.ReasonNotFound || LacksRole(failure) {
				continue
			}
			return nil, failure
		}
		held, err := kinds.ReadAccount(body)
		if err != nil || !strings.EqualFold(held.Account, a.ClientID) {
			return nil, &jobs.Failure{Reason: jobs.ReasonProtocol, Err: errors.New("the API answers with no such service account")}
		}
		return held.Secrets, nil
	}
	return nil, last
}

// maxWatchedPages is how many pages of a list of what is watched are read.
const maxWatchedPages = 20

// WatchedEnd returns when the last certificate or secret of what is watched ends; the zero time: the API lists none. Certificates that have
// expired are not listed. The error is a *jobs.Failure. Its reads are of the rank of checks.
func (c *Client) WatchedEnd(ctx context.Context, name string, watched kinds.Watched) (last time.Time, _ error) {
	a, ok := c.account(name)
	if !ok {
		return time.Time{}, misconfigured(fmt.Errorf("account %q is not configured", name))
	}
	r, set := watched.List()
	for number := 1; number <= maxWatchedPages; number++ {
		body, failure := c.getAt(ctx, a, r.Page(number, pageSize), c.lowest(set, a, watched.Entity()))
		if failure != nil {
			failure.Err = c.discreet(failure.Err)
			return time.Time{}, failure
		}
		ends, err := watched.Ends(body)
		if err != nil {
			return time.Time{}, &jobs.Failure{Reason: jobs.ReasonProtocol, Err: err}
		}
		for _, at := range ends {
			if at.After(last) {
				last = at
			}
		}
		if len(ends) < pageSize {
			return last, nil
		}
	}
	return time.Time{}, &jobs.Failure{Reason: jobs.ReasonProtocol, Err: errors.New("the API lists more certificates or secrets than are read")}
}

// lowest is where reads go that all else goes before.
func (c *Client) lowest(set kinds.Set, a *account, entity string) endpoint {
	bucket := c.bucket(set.Name, a, jobs.Job{})
	if scope := c.sets[set.Name].Scope; entity != "" && scope == set.Scope && scope != kinds.ScopeAccount {
		bucket.Entity = entity
	}
	return endpoint{operation: OperationRead, bucket: bucket, rank: pace.RankCheck}
}

// inUse finds the secret of a value by what the API shows of each, or else takes the latest, and says how; empty: no secret fits.
func inUse(held []kinds.HeldSecret, value secret.Value) (one kinds.HeldSecret, found string) {
	fit := slices.DeleteFunc(slices.Clone(held), func(s kinds.HeldSecret) bool { return !s.MayBe(value.Reveal()) })
	if len(fit) == 0 {
		return kinds.HeldSecret{}, ""
	}
	one = slices.MaxFunc(fit, func(x, y kinds.HeldSecret) int { return x.CreatedAt.Compare(y.CreatedAt) })
	if len(fit) == 1 && one.Masked != "" {
		return one, "by the end of its value"
	}
	return one, "as the latest one that it may be"
}

// ReadRateLimits reads the API's list of rate limits as an account, and returns the number of endpoint sets in it.
func (c *Client) ReadRateLimits(ctx context.Context, name string) (int, error) {
	a, ok := c.account(name)
	if !ok {
		return 0, misconfigured(fmt.Errorf("account %q is not configured", name))
	}
	told, err := c.readRateLimits(ctx, a)
	return len(told), err
}

// Preview reads what a job would hit, as the job's account, and changes nothing. What could not be read says why.
func (c *Client) Preview(ctx context.Context, job jobs.Job) []kinds.Fact {
	var known []kinds.Fact
	for _, look := range kinds.Of(job.Kind).Preview {
		facts, err := c.look(ctx, job, look)
		if err != nil {
			facts = []kinds.Fact{{Name: look.About, Text: "not known: " + c.discreet(err).Error()}}
		}
		known = append(known, facts...)
	}
	return known
}

// look makes one read of a preview.
func (c *Client) look(ctx context.Context, job jobs.Job, look kinds.Look) ([]kinds.Fact, error) {
	k, failure := c.newCall(job)
	if failure != nil {
		return nil, failure
	}
	defer k.dropPermit()
	ex, failure := k.readResource(ctx, look.Resource)
	if failure != nil {
		return nil, failure
	}
	return look.Facts(ex.body)
}
