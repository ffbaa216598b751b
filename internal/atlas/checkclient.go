package atlas

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"

	"rekey/internal/backoff"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/pace"
	"rekey/internal/secret"
)

// Bounds of the revocation of a token that a check got.
const (
	revokeAttempts = 4
	revokeWithin   = time.Minute
	revokeGrace    = 5 * time.Second // A worker that stops waits no longer.
)

// readAsClient asks for a bearer token with the leaked secret itself. One that it gets is revoked at once.
func (k *call) readAsClient(ctx context.Context, check kinds.Check) (kinds.Seen, *jobs.Failure) {
	leaked, failure := k.leaked(ctx)
	if failure != nil {
		return kinds.Seen{}, failure
	}
	if k.kind.Ends == nil || k.value(k.kind.Ends.Account) == "" {
		return kinds.Seen{}, misconfigured(errors.New("the account of the leaked secret is not known"))
	}
	seen, _, failure := k.tryClient(ctx, k.value(k.kind.Ends.Account), leaked, check)
	return seen, failure
}

// Works reports whether a credential works: it asks for a bearer token, which is revoked at once, or reads what the login names. The time
// is that of the last answer by the API's clock. The error is a *jobs.Failure: then it is not known.
func (c *Client) Works(ctx context.Context, job jobs.Job, l kinds.Login) (works bool, at time.Time, err error) {
	account, ok := c.account(job.Account)
	if !ok {
		return false, at, misconfigured(fmt.Errorf("account %q is not configured", job.Account))
	}
	k := &call{client: c, job: job, account: account, kind: kinds.Of(job.Kind)}
	k.hide(l.Secret)
	k.to.rank = rankOf(job.Lane)
	if l.Read.Path != "" {
		return k.readAsKey(ctx, l)
	}
	seen, at, failure := k.tryClient(ctx, l.Identity, l.Secret, kinds.Check{Resource: kinds.Resource{Path: kinds.PathToken}, Set: kinds.OAuthToken})
	if failure != nil {
		failure.MaybeEffective = false
		failure.Err = c.discreet(failure.Err)
		return false, at, failure
	}
	switch {
	case seen.Status == http.StatusUnauthorized && seen.Code == "invalid_client":
		return false, at, nil
	case seen.Status == http.StatusOK, seen.Status == http.StatusForbidden && seen.Code == "access_denied": // It has 100 tokens already.
		return true, at, nil
	}
	return false, at, &jobs.Failure{Reason: jobs.ReasonProtocol, Err: fmt.Errorf("HTTP %d %s does not show whether the secret works", seen.Status, seen.Code)}
}

// tryClient asks for a bearer token with a client's secret, and revokes it at once.
func (k *call) tryClient(ctx context.Context, client string, value secret.Value, check kinds.Check) (kinds.Seen, time.Time, *jobs.Failure) {
	pair := url.QueryEscape(client) + ":" + url.QueryEscape(value.Reveal())
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(pair))
	revoke := k.asClient(client, kinds.PathTokenRevoke, kinds.OAuthRevoke, 0)
	// A token that could not be revoked soon must not be made.
	if wait := k.client.limiter.Peek(ctx, revoke.to.bucket); wait.At.After(time.Now()) {
		return kinds.Seen{}, time.Time{}, k.client.failureFrom(ctx, revoke.to, exchange{heldUntil: wait.At}, k.hidden)
	}
	mint := k.asClient(client, check.Path, check.Set, k.to.rank)
	mint.body.Text = url.Values{"grant_type": {"client_credentials"}}.Encode()
	ex, failure := mint.send(ctx, basic)
	if failure != nil {
		return kinds.Seen{}, time.Time{}, failure
	}
	if ex.status/100 == 2 {
		return k.revokeMinted(ctx, revoke, basic, ex)
	}
	said, isError := parseProblem(ex.body)
	seen := kinds.Seen{Status: ex.status, Code: k.client.scrubber(k.hidden...).code(said.code)}
	if ex.err == nil && isError && !ex.limited() && (ex.status == http.StatusUnauthorized || ex.status == http.StatusForbidden) {
		return seen, dateOf(ex), nil
	}
	failure = k.client.failureFrom(ctx, mint.to, ex, k.hidden)
	if failure.Reason == jobs.ReasonNotFound {
		failure.Reason = jobs.ReasonProtocol // The endpoint was not found.
	}
	return kinds.Seen{}, time.Time{}, failure
}

// readAsKey reads what an API key must be able to read, as that key.
func (k *call) readAsKey(ctx context.Context, l kinds.Login) (works bool, at time.Time, err error) {
	key := &account{Account: Account{Name: l.Identity, PublicKey: l.Identity}} // It is not configured.
	reader := *k
	reader.account = key
	reader.op = operation{method: http.MethodGet, Resource: l.Read, set: kinds.System.Name}
	reader.to = endpoint{operation: OperationRead, bucket: k.client.bucket(kinds.System.Name, key, jobs.Job{}), rank: k.to.rank}
	ex, failure := reader.digestWith(ctx, l.Secret)
	if failure != nil {
		failure.MaybeEffective, failure.Err = false, k.client.discreet(failure.Err)
		return false, at, failure
	}
	seen, failure := reader.judgeable(ctx, ex)
	switch {
	case failure == nil && seen.Status == http.StatusOK:
		return true, dateOf(ex), nil
	case failure == nil && seen.Status == http.StatusUnauthorized && !ex.lacksRole():
		return false, dateOf(ex), nil
	case failure == nil:
		failure = reader.failure(ctx, ex)
	}
	failure.Err = k.client.discreet(failure.Err)
	return false, at, failure
}

// asClient is a request to an OAuth endpoint as another client than the job's account.
func (k *call) asClient(client, path string, set kinds.Set, rank pace.Rank) *call {
	one := *k
	one.op = operation{method: http.MethodPost, Resource: kinds.Resource{Path: path}, set: set.Name}
	bucket := k.client.bucket(set.Name, k.account, jobs.Job{})
	if k.client.sets[set.Name].Scope == kinds.ScopeAccount {
		bucket.Entity = client
	}
	one.to = endpoint{operation: OperationToken, bucket: bucket, rank: rank, oauth: true}
	one.body = kinds.Body{MediaType: "application/x-www-form-urlencoded"}
	return &one
}

// revokeMinted revokes the token of an answer. When the check is given up it goes on, for revokeGrace: the token works until it is revoked.
func (k *call) revokeMinted(ctx context.Context, revoke *call, basic string, ex exchange) (kinds.Seen, time.Time, *jobs.Failure) {
	var minted struct {
		Token string `json:"access_token"`
	}
	// A body that was cut off may hold the token all the same; without one there is nothing to revoke.
	if err := json.Unmarshal(ex.body, &minted); err != nil || minted.Token == "" {
		return kinds.Seen{}, time.Time{}, &jobs.Failure{Reason: jobs.ReasonProtocol, Err: errors.New("the answer to a request for a token holds none")}
	}
	k.hide(secret.New(minted.Token))
	revoke.hidden = k.hidden
	revoke.body.Text = url.Values{"token": {minted.Token}, "token_type_hint": {"access_token"}}.Encode()
	given := ctx
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(given), revokeWithin, errors.New("revoking a token took too long"))
	defer cancel()
	defer context.AfterFunc(given, func() { time.AfterFunc(revokeGrace, cancel) })()
	var last *jobs.Failure
	for attempt := range revokeAttempts {
		if attempt > 0 && backoff.Sleep(ctx, max(backoff.Delay(time.Second, revokeWithin, attempt), time.Until(last.RetryAt))) != nil {
			break
		}
		answer, failure := revoke.send(ctx, basic)
		if failure == nil && answer.status == http.StatusOK && answer.err == nil {
			return kinds.Seen{Status: http.StatusOK}, dateOf(answer), nil
		}
		if last = failure; last == nil {
			last = k.client.failureFrom(ctx, revoke.to, answer, revoke.hidden)
		}
	}
	k.client.log.Error("a bearer token that was got to see whether a secret works could not be revoked; it ends by itself within an hour",
		zap.String("job_id", k.job.ID), zap.String("kind", string(k.job.Kind)), zap.Error(k.client.discreet(last)))
	return kinds.Seen{Status: http.StatusOK}, dateOf(ex), nil
}
