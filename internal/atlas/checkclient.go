package atlas

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
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
	client := k.value(k.kind.Ends.Account)
	pair := url.QueryEscape(client) + ":" + url.QueryEscape(leaked.Reveal())
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(pair))
	revoke := k.asClient(client, kinds.PathTokenRevoke, kinds.OAuthRevoke, 0)
	// A token that could not be revoked soon must not be made.
	if wait := k.client.limiter.Peek(ctx, revoke.to.bucket); wait.At.After(time.Now()) {
		return kinds.Seen{}, k.client.failureFrom(ctx, revoke.to, exchange{heldUntil: wait.At}, k.hidden)
	}
	mint := k.asClient(client, check.Path, check.Set, k.to.rank)
	mint.body.Text = url.Values{"grant_type": {"client_credentials"}}.Encode()
	ex, failure := mint.send(ctx, basic)
	if failure != nil {
		return kinds.Seen{}, failure
	}
	if ex.status/100 == 2 {
		return k.revokeMinted(ctx, revoke, basic, ex)
	}
	said, isError := parseProblem(ex.body)
	seen := kinds.Seen{Status: ex.status, Code: k.client.scrubber(k.hidden...).code(said.code)}
	if ex.err == nil && isError && !ex.limited() && (ex.status == http.StatusUnauthorized || ex.status == http.StatusForbidden) {
		return seen, nil
	}
	failure = k.client.failureFrom(ctx, mint.to, ex, k.hidden)
	if failure.Reason == jobs.ReasonNotFound {
		failure.Reason = jobs.ReasonProtocol // The endpoint was not found.
	}
	return kinds.Seen{}, failure
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

// revokeMinted revokes the token of an answer. It goes on when the check is given up: the token works until it is revoked.
func (k *call) revokeMinted(ctx context.Context, revoke *call, basic string, ex exchange) (kinds.Seen, *jobs.Failure) {
	var minted struct {
		Token string `json:"access_token"`
	}
	// A body that was cut off may hold the token all the same; without one there is nothing to revoke.
	if err := json.Unmarshal(ex.body, &minted); err != nil || minted.Token == "" {
		return kinds.Seen{}, &jobs.Failure{Reason: jobs.ReasonProtocol, Err: errors.New("the answer to a request for a token holds none")}
	}
	k.hide(secret.New(minted.Token))
	revoke.hidden = k.hidden
	revoke.body.Text = url.Values{"token": {minted.Token}, "token_type_hint": {"access_token"}}.Encode()
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), revokeWithin, errors.New("revoking a token took too long"))
	defer cancel()
	var last *jobs.Failure
	for attempt := range revokeAttempts {
		if attempt > 0 && backoff.Sleep(ctx, max(backoff.Delay(time.Second, revokeWithin, attempt), time.Until(last.RetryAt))) != nil {
			break
		}
		answer, failure := revoke.send(ctx, basic)
		if failure == nil && answer.status == http.StatusOK && answer.err == nil {
			return kinds.Seen{Status: http.StatusOK}, nil
		}
		if last = failure; last == nil {
			last = k.client.failureFrom(ctx, revoke.to, answer, revoke.hidden)
		}
	}
	k.client.log.Error("a check got a bearer token with a leaked secret that still works, and could not revoke it; it ends by itself within an hour",
		zap.String("job_id", k.job.ID), zap.String("kind", string(k.job.Kind)), zap.Error(k.client.discreet(last)))
	return kinds.Seen{Status: http.StatusOK}, nil
}
