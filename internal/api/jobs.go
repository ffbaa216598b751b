package api

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"

	"rekey/internal/event"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
)

// SourcePrefix begins the CloudEvents source of what clients ask for; the name of the client follows.
const SourcePrefix = "rekey/api/"

// maxKey bounds an Idempotency-Key, in bytes.
const maxKey = 255

// Submitted is the answer to a request that NATS has stored.
type Submitted struct {
	JobID   string `json:"job_id"`   // The job that it makes.
	EventID string `json:"event_id"` // Its Idempotency-Key, or a new id.
	// Duplicate says that a request of the same client and id has made the job before.
	Duplicate bool `json:"duplicate,omitempty"`
}

// submit asks for a job, and answers once NATS has stored the request.
func (s *Server) submit(c *call) error {
	id, err := c.key()
	if err != nil {
		return err
	}
	c.eventID = id
	doc, err := c.object()
	if err != nil {
		return err
	}
	done, err := s.ask(c, fleet.Ask{Source: SourcePrefix + c.client.Name, Sender: c.sender(), ID: id, Trace: c.r.Header.Get(event.HeaderTrace)}, doc)
	if err != nil {
		return err
	}
	c.w.Header().Set("Location", "/v1/jobs/"+done.JobID)
	writeJSON(c.w, http.StatusAccepted, "", Submitted{JobID: done.JobID, EventID: id, Duplicate: done.Duplicate})
	return nil
}

// ask publishes a request of the client for a job.
func (s *Server) ask(c *call, a fleet.Ask, doc jobs.Document) (fleet.Submitted, error) {
	doc.Fields = c.signed(doc.Fields)
	req, err := jobs.ParseRequest(doc)
	if err != nil {
		return fleet.Submitted{}, mistakes(http.StatusUnprocessableEntity, CodeInvalid, err)
	}
	if err := c.mayAsk(req); err != nil {
		return fleet.Submitted{}, err
	}
	ctx, cancel := c.within()
	defer cancel()
	if err := c.fleet.CheckRequest(ctx, doc.Fields); err != nil {
		return fleet.Submitted{}, mistakes(http.StatusUnprocessableEntity, CodeInvalid, err)
	}
	a.Fields = doc.Fields
	done, err := c.fleet.Ask(ctx, a)
	if err != nil {
		return done, c.notStored(err, a.ID, done.JobID)
	}
	return done, nil
}

// key is the event's id: the Idempotency-Key of the request, or a new one.
func (c *call) key() (string, error) {
	values := c.r.Header.Values("Idempotency-Key")
	if len(values) == 0 {
		return rand.Text(), nil
	}
	key := strings.TrimSpace(values[0])
	if len(key) > 1 && key[0] == '"' && key[len(key)-1] == '"' { // As draft-ietf-httpapi-idempotency-key-header has it.
		key = key[1 : len(key)-1]
	}
	if len(values) > 1 || key == "" || len(key) > maxKey || !isLine(key) {
		return "", mistakes(http.StatusBadRequest, CodeMalformed, &jobs.Malformed{
			Field: "Idempotency-Key", Detail: fmt.Sprintf("must be one text of 1 to %d bytes without control characters", maxKey),
		})
	}
	return key, nil
}

// signed is a request with the client as who asks. What the body says of that is kept beside it.
func (c *call) signed(fields map[string]any) map[string]any {
	signed := maps.Clone(fields)
	said, given := signed["requested_by"]
	if _, beside := signed["on_behalf_of"]; given && !beside {
		signed["on_behalf_of"] = said
	}
	signed["requested_by"] = c.client.Name
	return signed
}

// mayAsk reports, as a *Problem, that the client may not ask for a job of that kind and account.
func (c *call) mayAsk(req jobs.Request) error {
	if field := c.client.Allows(req.Kind, cmp.Or(req.Account, c.fleet.OnlyAccount())); field != "" {
		p := problem(http.StatusForbidden, CodeForbidden, "this client may not ask for jobs of this "+field)
		p.Field, p.Errors = field, []FieldError{{Field: field, Pointer: "/" + field, Detail: p.Detail}}
		return p
	}
	return nil
}

// notStored is the problem of a request that NATS has not acknowledged.
func (c *call) notStored(err error, id, jobID string) error {
	_, malformed := errors.AsType[*jobs.Malformed](err)
	_, rejected := errors.AsType[*jobs.Rejection](err)
	var p *Problem
	switch {
	case malformed, rejected:
		return mistakes(http.StatusUnprocessableEntity, CodeInvalid, err)
	case errors.Is(err, fleet.ErrOtherRequest):
		p = problem(http.StatusConflict, CodeConflict, "a request with this Idempotency-Key was made before and asks for something else")
		p.Field = "Idempotency-Key"
	case errors.Is(err, fleet.ErrMaybeStored):
		p = problem(http.StatusServiceUnavailable, CodeUnknown, "NATS has not said in time whether it has stored the request: send it again with the Idempotency-Key "+
			id+", which makes no second job")
		p.retryAfter = retryLater
	default:
		p = unavailable("NATS has not stored the request: " + err.Error())
	}
	p.EventID, p.JobID = id, jobID
	return p
}

// errSlow is the cause of the end of a question that NATS did not answer.
var errSlow = fmt.Errorf("no answer within %s", askTimeout)

// job answers with the record of a job, at once or when what is waited for has come.
func (s *Server) job(c *call) error {
	wait, proof, err := c.wait()
	if err != nil {
		return err
	}
	id := c.r.PathValue("id")
	if wait > 0 {
		return s.await(c, fleet.Wait{JobID: id, Proof: proof}, wait)
	}
	ctx, cancel := c.within()
	defer cancel()
	record, err := c.find(ctx, id)
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, "", record)
	return nil
}

// find returns the record of a job that the client may see. The error is a *Problem where there is none.
func (c *call) find(ctx context.Context, id string) (jobs.PublicRecord, error) {
	if !isID(id) {
		return jobs.PublicRecord{}, noJob()
	}
	record, err := c.fleet.Job(ctx, id)
	if errors.Is(err, jobs.ErrNotFound) {
		return record, c.notMade(ctx, id)
	}
	if err == nil && !c.sees(&record) {
		return jobs.PublicRecord{}, noJob() // Whether there is one is not this client's business.
	}
	return record, err
}

// isID reports whether a text has the form of a job's id.
func isID(text string) bool {
	return len(text) == idLength && strings.Trim(text, "0123456789abcdefghijklmnopqrstuvwxyz") == ""
}

// idLength is how many characters the id of a job has.
var idLength = len(jobs.ID("", ""))

func noJob() *Problem {
	return problem(http.StatusNotFound, CodeNotFound, "there is no such job, or its event was not taken in yet: ?wait=30s waits for it")
}

// notMade says of a job without a record whether its request became a dead letter.
func (c *call) notMade(ctx context.Context, id string) error {
	letter, err := c.fleet.RequestLetter(ctx, id)
	switch {
	case errors.Is(err, jobs.ErrNotFound):
		return noJob()
	case err != nil:
		return err
	case !c.mayKnow(letter.Event.Source):
		return noJob()
	}
	return notAccepted(id, letter.Number, letter.Reason)
}

// notAccepted is the problem of a job whose request became a dead letter.
func notAccepted(id string, letter uint64, reason string) *Problem {
	p := problem(http.StatusNotFound, CodeNotAccepted, "the request for this job was not accepted: "+reason)
	p.JobID, p.DeadLetter = id, letter
	return p
}

// maxWait is how long an answer waits at most.
const maxWait = 5 * time.Minute

// wait is how long the client wants to wait, 0 where it does not, and whether for the verdict on the target.
func (c *call) wait() (wait time.Duration, proof bool, err error) {
	q, err := c.query("wait", "until")
	if err != nil {
		return 0, false, err
	}
	until, err := oneOf("until", q, fleet.Untils())
	if err != nil {
		return 0, false, mistakes(http.StatusBadRequest, CodeMalformed, err)
	}
	if !q.Has("wait") {
		if q.Has("until") {
			return 0, false, inQuery("until", "needs wait as well, such as wait=30s")
		}
		return 0, false, nil
	}
	wait, err = time.ParseDuration(q.Get("wait"))
	if err != nil || wait < 0 || wait > maxWait {
		return 0, false, inQuery("wait", "must be a duration of up to 5m, such as 30s")
	}
	return wait, until == fleet.UntilProof, nil
}

// await answers when what is waited for has come, or with 202 and the job's record when the time is over.
func (s *Server) await(c *call, w fleet.Wait, wait time.Duration) error {
	id := w.JobID
	if !isID(id) {
		return noJob()
	}
	if !s.waiting.Enter(c.client.Name) {
		return unavailable("too many requests wait for jobs; ask without wait")
	}
	defer s.waiting.Leave(c.client.Name)
	// An error says that the connection has no deadlines, which is as good.
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Now().Add(wait + answerTimeout))
	ctx, cancel := context.WithTimeoutCause(c.r.Context(), wait, errWaited)
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()
	w.JobID = c.visible(ctx, id)
	record, err := c.fleet.Await(ctx, w)
	refused, isRefused := errors.AsType[*fleet.NotAcceptedError](err)
	switch {
	case isRefused && c.mayKnow(refused.Letter.Event.Source):
		return notAccepted(id, refused.Letter.Number, refused.Letter.Reason)
	case isRefused, errors.Is(err, jobs.ErrNotFound), err == nil && !c.sees(&record):
		return noJob()
	case err == nil:
		writeJSON(c.w, http.StatusOK, "", record)
		return nil
	case ctx.Err() == nil:
		return err
	}
	return s.notYet(c, w)
}

// errWaited is the cause of the end of a wait.
var errWaited = errors.New("the time to wait is over")

// Pending is a job that has no record yet: no worker has taken in its event.
type Pending struct {
	JobID string `json:"job_id"`
}

// notYet answers that what was waited for has not come: 202.
func (s *Server) notYet(c *call, w fleet.Wait) error {
	ctx, cancel := c.within()
	defer cancel()
	record, err := c.fleet.Job(ctx, w.JobID)
	switch {
	case errors.Is(err, jobs.ErrNotFound):
		writeJSON(c.w, http.StatusAccepted, "", Pending{JobID: c.r.PathValue("id")})
		return nil
	case err != nil:
		return err
	case !c.sees(&record):
		return noJob()
	}
	status := http.StatusAccepted
	if w.Over(&record) { // Just now.
		status = http.StatusOK
	}
	writeJSON(c.w, status, "", record)
	return nil
}

// cancel asks a job to end before its next attempt.
func (s *Server) cancel(c *call) error {
	return c.operate(jobs.ActionCancel, c.fleet.Cancel)
}

// retry queues a job once more.
func (s *Server) retry(c *call) error {
	return c.operate(jobs.ActionRetry, c.fleet.Retry)
}

// operate does something to a job, and answers with its record.
func (c *call) operate(action jobs.Action, do func(context.Context, string, jobs.Operation) (jobs.PublicRecord, error)) error {
	op, err := c.operation(action)
	if err != nil {
		return err
	}
	ctx, cancel := c.within()
	defer cancel()
	known, err := c.find(ctx, c.r.PathValue("id"))
	if err != nil {
		return err
	}
	record, err := do(ctx, known.JobID, op)
	switch {
	case errors.Is(err, jobs.ErrSucceeded), errors.Is(err, jobs.ErrEnded), errors.Is(err, jobs.ErrRunning):
		p := problem(http.StatusConflict, CodeConflict, err.Error())
		p.JobID = known.JobID
		return p
	case err != nil && !errors.Is(err, jobs.ErrAsked): // A repeat, as after a lost answer, is answered as the first one.
		return err
	}
	writeJSON(c.w, http.StatusOK, "", record)
	return nil
}
