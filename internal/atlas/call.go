package atlas

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/secret"
)

// call is one attempt at one job.
type call struct {
	client  *Client
	job     jobs.Job
	account *account
	guarded *guarded
	kind    kinds.Kind
	form    kinds.Form
	op      operation
	seen    *reading   // Its target, once it was looked at.
	body    kinds.Body // Of the request; the zero Body: none.
	to      endpoint
	found   map[string]string // Ids that no parameter has.
	// unused says that the permit to call was not used: no request was made, or only one that the API
	// answered with a question about who calls.
	unused bool
	// hidden are the secrets that this call has used. The API's texts are scrubbed of them, and of all that are configured.
	hidden []secret.Value
}

// Revoke makes the call of the job. The error is a *jobs.Failure. Several jobs may
// be revoked at once; each request takes at most the configured timeout, all of them together
// as long as ctx allows.
func (c *Client) Revoke(ctx context.Context, job jobs.Job) (jobs.Answer, error) {
	k, failure := c.newCall(job)
	if failure != nil {
		return jobs.Answer{}, failure
	}
	defer k.account.slots.Use()()
	defer k.dropPermit()
	answer, failure := k.run(ctx)
	if failure != nil {
		failure.Err = c.discreet(failure.Err)
		return jobs.Answer{}, failure
	}
	return answer, nil
}

// discreetError is an error whose text is free of secrets.
type discreetError struct {
	error
	text string
}

// Error is the text without secrets.
func (e discreetError) Error() string { return e.text }

// Unwrap returns the error as it was, for callers who look for its kind.
func (e discreetError) Unwrap() error { return e.error }

// discreet is an error without the secrets that are configured, wherever its text comes from.
func (c *Client) discreet(err error) error {
	text := err.Error()
	if clean := c.scrubber().scrub(text); clean != text {
		return discreetError{err, clean}
	}
	return err
}

// run makes the request and concludes from its answer; a dry run stops before it.
func (k *call) run(ctx context.Context) (jobs.Answer, *jobs.Failure) {
	if failure := k.find(ctx); failure != nil {
		return jobs.Answer{}, failure
	}
	if k.to.dryRun {
		return k.dryRun(ctx)
	}
	if failure := k.guard(ctx); failure != nil {
		return jobs.Answer{}, failure
	}
	if failure := k.keepMeaning(ctx); failure != nil {
		return jobs.Answer{}, failure
	}
	ex, failure := k.request(ctx)
	if failure != nil {
		return jobs.Answer{}, failure
	}
	return k.conclude(ctx, ex)
}

func (c *Client) newCall(job jobs.Job) (*call, *jobs.Failure) {
	a, ok := c.account(job.Account)
	if !ok {
		return nil, misconfigured(fmt.Errorf("account %q is not configured", job.Account))
	}
	kind := kinds.Of(job.Kind)
	if kind.Call.Method == "" && kind.Rotates == nil {
		return nil, misconfigured(fmt.Errorf("there is no call for jobs of kind %q", job.Kind))
	}
	k := &call{client: c, job: job, account: a, guarded: c.accounts.Load().guarded, kind: kind, form: kind.Form(c.x509API, job.Params.Named), unused: true}
	k.op = callOf(kind, k.form)
	k.to = endpoint{
		operation: string(job.Kind), bucket: c.bucket(k.op.set, a, job), rank: rankOf(job.Lane),
		oauth: kind.Call.OwnSecret, dryRun: c.dryRun || job.DryRun,
	}
	return k, nil
}

// request makes the request with the account's authentication: with its secret itself where the kind requires that, else
// with a bearer token or HTTP Digest.
func (k *call) request(ctx context.Context) (exchange, *jobs.Failure) {
	if k.op.call.OwnSecret && !k.account.isService() {
		return exchange{}, misconfigured(fmt.Errorf("%s needs a service account; %s is an API key", k.job.Kind, k.account.Name))
	}
	if failure := k.fillBody(ctx); failure != nil {
		return exchange{}, failure
	}
	switch {
	case k.op.call.OwnSecret:
		return k.basic(ctx)
	case k.account.isService():
		return k.bearer(ctx)
	}
	return k.digest(ctx)
}

// newRequest builds the request without its authentication.
func (k *call) newRequest(ctx context.Context) (*http.Request, *jobs.Failure) {
	url := k.client.baseURL + k.op.Fill(k.value)
	req, err := http.NewRequestWithContext(ctx, k.op.method, url, strings.NewReader(k.body.Text))
	if err != nil {
		return nil, misconfigured(fmt.Errorf("building the request of %s: %w", k.job.Kind, withoutURL(err)))
	}
	req.Header.Set("Accept", k.op.Accept())
	if k.body.MediaType != "" {
		req.Header.Set("Content-Type", k.body.MediaType)
	}
	return req, nil
}

// send sends the request with this value of the header Authorization.
func (k *call) send(ctx context.Context, authorization string) (exchange, *jobs.Failure) {
	req, failure := k.newRequest(ctx)
	if failure != nil {
		return exchange{}, failure
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	return k.exchange(ctx, req), nil
}

// exchange makes the request, for which the permit is used.
func (k *call) exchange(ctx context.Context, req *http.Request) exchange {
	ex := k.client.send(ctx, k.to, req)
	k.unused = ex.asksWho(k.to)
	return ex
}

// dropPermit ends a permit that was not used.
func (k *call) dropPermit() {
	if k.unused {
		k.client.limiter.Drop(k.to.bucket, k.to.rank)
	}
}

// ownSecret reads the account's secret.
func (k *call) ownSecret() (secret.Value, *jobs.Failure) {
	value, err := k.account.readSecret(k.client.lookupEnv)
	if err != nil {
		return secret.Value{}, misconfigured(err)
	}
	k.hide(value)
	return value, nil
}

func (k *call) hide(value secret.Value) { k.hidden = append(k.hidden, value) }

// conclude turns the answer into that of a success, or into a failure.
func (k *call) conclude(ctx context.Context, ex exchange) (jobs.Answer, *jobs.Failure) {
	if slices.Contains(k.op.call.Success, ex.status) && ex.err == nil && k.op.goodBody(ex) {
		k.account.admit()
		return ex.answer(k.client.scrubber(k.hidden...)), nil
	}
	failure := k.failure(ctx, ex)
	k.noteAuthentication(failure)
	return jobs.Answer{}, failure
}

// failure turns the answer into a failure, without any secret that it may repeat.
func (k *call) failure(ctx context.Context, ex exchange) *jobs.Failure {
	return k.client.failureFrom(ctx, k.to, ex, k.hidden)
}

// goodBody reports whether a body can be that of a success: not a page of HTML, no error document,
// and a document where the operation has one. RFC 7009 section 2.2 has clients ignore any other body.
func (o operation) goodBody(ex exchange) bool {
	body := bytes.TrimSpace(ex.body)
	if isHTML(ex) || o.call.Document && len(body) > 0 && (body[0] != '{' || !json.Valid(body)) {
		return false
	}
	_, isError := parseProblem(ex.body)
	return !isError
}

// noteAuthentication remembers whether the failure is about the account's credentials.
func (k *call) noteAuthentication(failure *jobs.Failure) {
	switch {
	case failure.Answer.Code == codeNoRole: // The credentials are good.
		k.account.admit()
	case failure.Reason == jobs.ReasonUnauthorized:
		k.account.refuse(failure.Err)
	case failure.Reason == jobs.ReasonForbidden:
		// Of the API itself, this is about the resource, unless it is about where we call from.
		if k.op.call.OwnSecret || strings.Contains(failure.Answer.Code, "ACCESS_LIST") {
			k.account.refuse(failure.Err)
		}
	case failure.Reason == jobs.ReasonNotFound, failure.Reason == jobs.ReasonConflict:
		k.account.admit()
	}
}

// misconfigured is the failure of a call that could not be made because of the configuration.
func misconfigured(err error) *jobs.Failure {
	return &jobs.Failure{Reason: jobs.ReasonConfig, Err: err}
}

// OperationToken is the operation of fetching a bearer token, in metrics. The other
// operations, but OperationRead, have the names of the kinds.
const OperationToken = "token"

// Operations lists the names of all operations for the Recorder.
func Operations() []string {
	return slices.Concat([]string{OperationToken, OperationRead, OperationRateLimits}, jobs.Names(kinds.Calling()), jobs.Names(jobs.RotatingKinds()))
}

// operation is one request to the API.
type operation struct {
	method string
	kinds.Resource
	// call is the call of a kind; the zero Call for any other request.
	call kinds.Call
	// set is the endpoint set whose rate buckets the operation draws on.
	set string
}

// callOf is the call of a kind in one of its forms.
func callOf(k kinds.Kind, f kinds.Form) operation {
	return operation{method: k.Call.Method, Resource: f.Change, call: k.Call, set: f.Set.Name}
}
