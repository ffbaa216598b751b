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
	k := &call{client: c, account: a, unused: true, op: operation{
		method: http.MethodGet, Resource: kinds.Resource{Path: path, Version: firstVersion}, set: kinds.Federation.Name,
	}}
	k.to = endpoint{operation: OperationRead, bucket: c.bucket(kinds.Federation.Name, a, jobs.Job{})}
	defer k.dropPermit()
	ex, failure := k.request(ctx)
	if failure != nil {
		return failure
	}
	if ex.status != http.StatusOK || ex.err != nil {
		return k.failure(ctx, ex)
	}
	if err := json.Unmarshal(ex.body, document); err != nil {
		return &jobs.Failure{Reason: jobs.ReasonProtocol, Err: errors.New("the document cannot be read: " + jsonMistake(err))}
	}
	return nil
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
