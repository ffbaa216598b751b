package atlas

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"go.uber.org/zap"

	"rekey/internal/credential"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/pace"
	"rekey/internal/proof"
	"rekey/internal/secret"
)

// Bounds of a check.
const (
	mostCheckPages = 50  // Of a list.
	mostEach       = 200 // Elements of a list of which each is read.
)

var _ proof.Reader = (*Client)(nil)

// Read implements proof.Reader.
func (c *Client) Read(ctx context.Context, job jobs.Job, check kinds.Check) (kinds.Seen, error) {
	k, failure := c.newCheck(job, check.Set.Name)
	if failure != nil {
		return kinds.Seen{}, failure
	}
	defer k.dropPermit()
	if check = check.On(k.form); check.Path == "" {
		return kinds.Seen{}, misconfigured(fmt.Errorf("what %s acts on cannot be read", job.Kind))
	}
	var seen kinds.Seen
	switch check.As {
	case kinds.AsToken:
		seen, failure = k.readAsToken(ctx, check)
	case kinds.AsClient:
		seen, failure = k.readAsClient(ctx, check)
	case kinds.AsAccount:
		seen, failure = k.readAsAccount(ctx, check)
	}
	if failure != nil {
		failure.MaybeEffective = false
		failure.Err = c.discreet(failure.Err)
		return kinds.Seen{}, failure
	}
	return seen, nil
}

// meaning reads what the target is beyond its id.
func (k *call) meaning(ctx context.Context) (map[string]string, error) {
	if meaning, ok, failure := k.listedMeaning(ctx); failure != nil {
		failure.Err = k.client.discreet(failure.Err)
		return nil, failure
	} else if ok {
		return meaning, nil
	}
	ex, failure := k.read(ctx)
	switch {
	case failure != nil && failure.Reason == jobs.ReasonNotFound:
		return nil, nil
	case failure != nil:
		failure.Err = k.client.discreet(failure.Err)
		return nil, failure
	}
	meaning, err := k.kind.Proof.Meaning(ex.body)
	if err != nil {
		return nil, &jobs.Failure{Reason: jobs.ReasonProtocol, Err: err, Answer: ex.answer(k.client.scrubber(k.hidden...))}
	}
	return meaning, nil
}

// meaningShare is the part of the time of a request that reading the meaning of a target may take, which must not hold up the call.
const meaningShare = 6

// keepMeaning has the meaning of the target recorded before the call, once for a job. Where that does not work, the call is made all the
// same: the proof then goes by the id alone.
func (k *call) keepMeaning(ctx context.Context) *jobs.Failure {
	read := "meaning of " + k.turn()
	if k.kind.Proof.Meaning == nil || k.job.KeepMeaning == nil || k.job.Meaning != nil || k.guarded.passed(read) {
		return nil
	}
	reading, cancel := context.WithTimeout(ctx, k.client.timeout/meaningShare)
	defer cancel()
	meaning, err := k.meaning(reading)
	if err != nil {
		k.client.log.Debug("the meaning of a target is not known", zap.String("job_id", k.job.ID), zap.Error(err))
	}
	if len(meaning) == 0 {
		if !notMade(err) {
			k.guarded.pass(read)
		}
		return nil
	}
	if err := k.job.KeepMeaning(ctx, meaning); err != nil {
		return &jobs.Failure{Reason: jobs.ReasonInterrupted, Err: err}
	}
	return nil
}

// notMade reports whether a read failed without a request: for lack of a permit, or because another one had just failed.
func notMade(err error) bool {
	failure, ok := errors.AsType[*jobs.Failure](err)
	return ok && (errors.Is(failure, errJustFailed) || failure.Reason == jobs.ReasonRateLimited && failure.Answer.Status == 0)
}

// newCheck is a read for a job, after its call, that draws on an endpoint set; empty: on that of the call.
func (c *Client) newCheck(job jobs.Job, set string) (*call, *jobs.Failure) {
	k, failure := c.newCall(job)
	if failure != nil {
		return nil, failure
	}
	k.found, k.unused = job.Search.Only(), false // No permit was granted for it.
	if set != "" {
		k.to.bucket = c.bucket(set, k.account, job)
	}
	k.to.operation, k.to.rank, k.to.oauth, k.to.dryRun = OperationRead, pace.RankCheck, false, false
	return k, nil
}

// readAsAccount reads as the job's account.
func (k *call) readAsAccount(ctx context.Context, check kinds.Check) (kinds.Seen, *jobs.Failure) {
	// The log is read before the state, and the state after it, not out of a cache: a beginning in the log with a state of before it would
	// look like the end.
	var log []logEvent
	var unlogged *jobs.Failure
	age := min(check.Age, logFresh)
	if len(check.Events) > 0 {
		log, unlogged = k.client.eventsOf(ctx, k.job, check.Events, k.job.AcceptedAt)
		age = 0
	}
	var seen kinds.Seen
	var failure *jobs.Failure
	if check.List {
		seen, failure = k.seeShared(ctx, check.Resource, age)
	} else {
		seen, failure = k.see(ctx, check.Resource)
	}
	if failure == nil && check.Each.Path != "" {
		failure = k.seeEach(ctx, check, &seen)
	}
	if failure != nil {
		return kinds.Seen{}, failure
	}
	// What the log says comes on top: without it a later look shows as much.
	seen.Logged = len(check.Events) > 0 && unlogged == nil
	for _, e := range log {
		seen.Log = append(seen.Log, kinds.LogEvent{Type: e.Type, At: e.Created, Cluster: e.Cluster})
	}
	return seen, nil
}

// see reads one resource as the job's account.
func (k *call) see(ctx context.Context, r kinds.Resource) (kinds.Seen, *jobs.Failure) {
	reader := *k
	reader.op, reader.body = operation{method: http.MethodGet, Resource: r, set: k.to.bucket.Set}, kinds.Body{}
	ex, failure := reader.request(ctx)
	k.unused, k.hidden = reader.unused, reader.hidden
	if failure != nil {
		return kinds.Seen{}, failure
	}
	seen, failure := k.judgeable(ctx, ex)
	switch {
	case failure != nil:
		k.noteAuthentication(failure)
	// The API did not accept the account's credentials: that says nothing of the target.
	case ex.status == http.StatusUnauthorized && !ex.lacksRole(), ex.status == http.StatusForbidden && strings.Contains(seen.Code, "ACCESS_LIST"):
		failure = k.failure(ctx, ex)
		k.noteAuthentication(failure)
	default:
		k.account.admit()
		if ex.status == http.StatusOK {
			failure = k.foreign(r, ex)
		}
	}
	return seen, failure
}

// judgeable is an answer that says something about the target. Pages of proxies, rate limits, and errors of the server do not.
func (k *call) judgeable(ctx context.Context, ex exchange) (kinds.Seen, *jobs.Failure) {
	said, isError := parseProblem(ex.body)
	seen := kinds.Seen{Status: ex.status, Date: dateOf(ex), Code: k.client.scrubber(k.hidden...).code(said.code)}
	body := bytes.TrimSpace(ex.body)
	var good bool
	switch {
	case ex.err != nil, ex.limited(), isHTML(ex):
	case ex.status == http.StatusOK:
		good = !isError && len(body) > 0 && body[0] == '{' && json.Valid(body)
		seen.Document = body
	case ex.status == http.StatusUnauthorized:
		good = true
	case ex.status == http.StatusForbidden:
		good = isError // Else it is that of a proxy.
	case ex.status == http.StatusNotFound || ex.status == http.StatusGone:
		good = classify(ex, said) == jobs.ReasonNotFound && said.admin
		seen.Status = http.StatusNotFound
	}
	if good {
		return seen, nil
	}
	failure := k.failure(ctx, ex)
	if failure.Reason == jobs.ReasonNotFound { // Without the API's error document it is no evidence.
		failure.Reason = jobs.ReasonProtocol
	}
	return seen, failure
}

// seeList reads all pages of a list.
func (k *call) seeList(ctx context.Context, r kinds.Resource) (kinds.Seen, *jobs.Failure) {
	var all kinds.Seen
	have := map[string]bool{}
	for number := 1; number <= mostCheckPages; number++ {
		seen, failure := k.see(ctx, r.Page(number, pageSize))
		if failure != nil {
			return kinds.Seen{}, failure
		}
		if seen.Status != http.StatusOK {
			return seen, nil
		}
		p, ok := parsePage(seen.Document)
		if !ok {
			return kinds.Seen{}, k.unreadable("it is no JSON of the documented form")
		}
		before := len(all.Elements)
		for _, element := range p.Results { // The end of a page comes once more where something was added before it.
			if !have[string(element)] {
				have[string(element)] = true
				all.Elements = append(all.Elements, element)
			}
		}
		all.Status = seen.Status
		switch have := len(all.Elements); {
		case len(p.Results) > 0 && have == before:
			return kinds.Seen{}, k.unreadable("a page repeats what is on those before it")
		case len(p.Results) == 0 && have < p.TotalCount:
			return kinds.Seen{}, k.unreadable(fmt.Sprintf("it ends after %d of %d elements", have, p.TotalCount))
		case len(p.Results) == 0, p.TotalCount > 0 && have >= p.TotalCount, p.TotalCount == 0 && len(p.Results) < pageSize:
			return all, nil
		}
	}
	return kinds.Seen{}, k.unreadable("it has no end")
}

func (k *call) unreadable(why string) *jobs.Failure {
	return &jobs.Failure{Reason: jobs.ReasonProtocol, Err: fmt.Errorf("a list of the API cannot be read: %s", why)}
}

// listPage is a page of a list of the API.
type listPage struct {
	Results    []json.RawMessage `json:"results"`
	TotalCount int               `json:"totalCount"`
}

// parsePage reads a page, and reports whether it is one.
func parsePage(body []byte) (listPage, bool) {
	var p listPage
	return p, json.Unmarshal(body, &p) == nil && p.Results != nil
}

// seeEach reads what there is of each element of a list, as far as there are not too many.
func (k *call) seeEach(ctx context.Context, check kinds.Check, seen *kinds.Seen) *jobs.Failure {
	for _, element := range seen.Elements[:min(len(seen.Elements), mostEach)] {
		var fields map[string]json.RawMessage
		var id string
		if json.Unmarshal(element, &fields) != nil || json.Unmarshal(fields[check.EachID], &id) != nil || id == "" || len(id) > 64 {
			return k.unreadable("an element has no " + check.EachID)
		}
		one := *k
		one.found = map[string]string{kinds.ParamEach: id}
		read, failure := one.see(ctx, check.Each)
		k.unused, k.hidden = one.unused, one.hidden
		if failure != nil {
			return failure
		}
		seen.Each = append(seen.Each, read.Document)
	}
	return nil
}

// leaked is the job's secret itself.
func (k *call) leaked(ctx context.Context) (secret.Value, *jobs.Failure) {
	secrets, failure := k.secrets(ctx)
	if failure != nil {
		return secret.Value{}, failure
	}
	for _, p := range k.kind.Secrets() {
		if value, ok := secrets[p.Name]; ok {
			return value, nil
		}
	}
	return secret.Value{}, misconfigured(fmt.Errorf("the job of kind %s has no secret to read with", k.job.Kind))
}

// readAsToken reads with the leaked bearer token itself: it goes to the configured API and nowhere else. Where the API does not have
// a resource, the next one is read.
func (k *call) readAsToken(ctx context.Context, check kinds.Check) (kinds.Seen, *jobs.Failure) {
	token, failure := k.leaked(ctx)
	if failure != nil {
		return kinds.Seen{}, failure
	}
	resources := append([]kinds.Resource{check.Resource}, check.Else...)
	for i, r := range resources {
		k.op = operation{method: http.MethodGet, Resource: r, set: check.Set.Name}
		ex, failure := k.send(ctx, "Bearer "+token.Reveal())
		if failure != nil {
			return kinds.Seen{}, failure
		}
		if i < len(resources)-1 && unknownResource(ex.status) {
			continue
		}
		seen, failure := k.judgeable(ctx, ex)
		switch {
		case ex.lacksRole(): // The API knows who calls.
			seen.Status = http.StatusForbidden
		case ex.status == http.StatusForbidden && ex.err == nil && !ex.limited(): // Wherever it comes from, it shows nothing.
			failure = nil
		}
		seen.Document, seen.Ends = nil, credential.Ends(token.Reveal())
		return seen, failure
	}
	return kinds.Seen{}, nil
}

// unknownResource reports whether a status may mean that the API does not have what was asked for.
func unknownResource(status int) bool {
	switch status {
	case http.StatusNotFound, http.StatusGone, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented:
		return true
	}
	return false
}
