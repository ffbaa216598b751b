package atlas

import (
	"cmp"
	"context"
	"fmt"
	"net/http"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// OperationRead is the operation of looking at a target without changing it, in metrics.
const OperationRead = "read"

// dryRun does everything for the job but the request that would change something: it authenticates, looks at the target,
// and prepares the request as far as the transport, which stops it.
func (k *call) dryRun(ctx context.Context) (jobs.Answer, *jobs.Failure) {
	seen, failure := k.look(ctx)
	if failure != nil {
		return jobs.Answer{}, failure
	}
	if failure := k.guard(ctx); failure != nil {
		return jobs.Answer{}, failure
	}
	unused := k.unused // Looking may have used the permit; a stopped request does not.
	ex, failure := k.request(ctx)
	k.unused = unused
	switch {
	case failure != nil:
		return jobs.Answer{}, failure
	case !ex.stopped:
		return jobs.Answer{}, k.client.failureFrom(ctx, k.to, ex, k.hidden)
	}
	return jobs.Answer{DryRun: true, Detail: fmt.Sprintf("dry run: %s %s was not sent; %s", k.op.method, k.op.Fill(k.value), seen)}, nil
}

// look authenticates as the job's account and describes the target.
func (k *call) look(ctx context.Context) (string, *jobs.Failure) {
	if k.form.Read.Path == "" {
		return k.lookBlindly(ctx)
	}
	ex, failure := k.read(ctx)
	shown := cmp.Or(k.form.Shows, "the target")
	switch {
	case failure == nil:
		return fmt.Sprintf("%s is there (HTTP %d)", shown, ex.status), nil
	case ex.status == 0: // There was no answer.
	case failure.Reason == jobs.ReasonNotFound:
		return fmt.Sprintf("%s was not found (HTTP %d)", shown, ex.status), nil
	case failure.Reason == jobs.ReasonInvalid, ex.status == http.StatusNotImplemented:
		return fmt.Sprintf("%s could not be read (HTTP %d)", shown, ex.status), nil
	}
	return "", failure
}

// lookBlindly is look for a target that cannot be read: it checks the secrets of the job and the account.
func (k *call) lookBlindly(ctx context.Context) (string, *jobs.Failure) {
	if k.op.call.OwnSecret && !k.account.isService() {
		return "", nil // The request itself fails for it.
	}
	if _, failure := k.secrets(ctx); failure != nil { // Before any request.
		return "", failure
	}
	if !k.account.isService() {
		return "the target cannot be read", nil
	}
	if _, failure := k.account.tokens.get(ctx); failure != nil {
		return "", failure
	}
	return "the account's credentials are good", nil
}

// read makes the request that looks at the job's target, and changes nothing.
func (k *call) read(ctx context.Context) (exchange, *jobs.Failure) {
	if k.form.Read.Path == "" {
		return exchange{}, misconfigured(fmt.Errorf("what %s acts on cannot be read", k.job.Kind))
	}
	if k.seen == nil {
		ex, failure := k.readResource(ctx, k.form.Read)
		k.seen = &reading{ex, failure}
	}
	return k.seen.exchange, k.seen.failure
}

// reading is what came of looking at a target.
type reading struct {
	exchange
	failure *jobs.Failure
}

// readResource reads something that the job's parameters name.
func (k *call) readResource(ctx context.Context, r kinds.Resource) (exchange, *jobs.Failure) {
	reader := *k
	reader.op = operation{method: http.MethodGet, Resource: r, set: k.op.set}
	reader.to.operation, reader.body = OperationRead, kinds.Body{}
	ex, failure := reader.request(ctx)
	k.unused, k.hidden = reader.unused, reader.hidden
	if failure != nil {
		return exchange{}, failure
	}
	if ex.status/100 == 2 && ex.err == nil {
		k.account.admit()
		if foreign := k.foreign(r, ex); foreign != nil {
			return ex, foreign
		}
		return ex, nil
	}
	failure = k.client.failureFrom(ctx, reader.to, ex, reader.hidden)
	failure.MaybeEffective = false
	k.noteAuthentication(failure)
	return ex, failure
}

// foreign is the failure of an answer whose document is not that of the resource that was asked for. Nil: it is, or does not say.
func (k *call) foreign(r kinds.Resource, ex exchange) *jobs.Failure {
	why := r.Foreign(ex.body, k.value)
	if why == "" {
		return nil
	}
	return &jobs.Failure{Reason: jobs.ReasonProtocol, Answer: ex.answer(k.client.scrubber(k.hidden...)), Err: fmt.Errorf("HTTP %d: %s", ex.status, why)}
}

// changes reports whether a request would change something at the API.
func changes(req *http.Request) bool {
	return req.Method != http.MethodGet && req.Method != http.MethodHead
}
