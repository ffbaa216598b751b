package atlas

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// Ask makes one request of a job that takes several, as the job's account. The error is a *jobs.Failure; it says whether the request
// may have taken effect.
func (c *Client) Ask(ctx context.Context, job jobs.Job, a kinds.Ask) (kinds.Told, error) {
	account, ok := c.account(job.Account)
	if !ok {
		return kinds.Told{}, misconfigured(fmt.Errorf("account %q is not configured", job.Account))
	}
	defer account.slots.Use()()
	k := &call{client: c, job: job, account: account, kind: kinds.Of(job.Kind), body: a.Body}
	k.op = operation{method: a.Method, Resource: kinds.Resource{Path: a.Fill(a.Value), Version: a.Version}, set: a.Set.Name}
	k.to = k.endpointOf(a.Set, a.Value(a.Set.Scope.Entity()))
	k.to.dryRun = c.dryRun || job.DryRun
	ex, failure := k.request(ctx)
	if failure == nil {
		k.noteUse(ex)
		failure = k.unlike(ctx, ex, a)
	}
	if failure != nil {
		failure.Err = c.discreet(failure.Err)
		failure.MaybeEffective = failure.MaybeEffective && a.Method != http.MethodGet
		return kinds.Told{}, failure
	}
	return kinds.Told{Status: ex.status, Document: bytes.TrimSpace(ex.body), Date: dateOf(ex)}, nil
}

// endpointOf is where requests of an endpoint set go that draw on the bucket of an entity; empty: of the account.
func (k *call) endpointOf(set kinds.Set, entity string) endpoint {
	bucket := k.client.bucket(set.Name, k.account, jobs.Job{})
	if scope := k.client.sets[set.Name].Scope; entity != "" && scope == set.Scope && scope != kinds.ScopeAccount {
		bucket.Entity = entity
	}
	return endpoint{operation: string(k.job.Kind), bucket: bucket, rank: rankOf(k.job.Lane)}
}

// unlike is the failure of an answer that is not that of a success: another status, or another body than a JSON object or none.
func (k *call) unlike(ctx context.Context, ex exchange, a kinds.Ask) *jobs.Failure {
	body := bytes.TrimSpace(ex.body)
	_, isError := parseProblem(ex.body)
	wantsBody := ex.status != http.StatusNoContent
	good := slices.Contains(a.Success, ex.status) && ex.err == nil && !isError && !isHTML(ex) &&
		(!wantsBody && len(body) == 0 || len(body) > 0 && body[0] == '{' && json.Valid(body))
	switch {
	case ex.stopped:
		return misconfigured(errors.New("a dry run changes nothing"))
	case good:
		return nil
	}
	failure := k.failure(ctx, ex)
	k.noteAuthentication(failure)
	return failure
}

// noteUse notes that the API knows the account.
func (k *call) noteUse(ex exchange) {
	if ex.status/100 == 2 && ex.err == nil {
		k.account.admit()
	}
}

// dateOf is the time of an answer by the API's clock; zero where it does not say it.
func dateOf(ex exchange) time.Time {
	at, err := http.ParseTime(ex.header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}
