package api

import (
	"maps"
	"net/http"
	"reflect"
	"strings"

	"rekey/internal/event"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/openapi"
)

const (
	mediaJSON    = "application/json"
	mediaProblem = "application/problem+json"
)

// newDocument makes the OpenAPI document of the routes.
func newDocument() ([]byte, error) {
	types := openapi.NewTypes(map[reflect.Type][]string{
		reflect.TypeFor[jobs.Kind](): jobs.Names(jobs.Kinds()), reflect.TypeFor[jobs.Lane](): jobs.Names(jobs.Lanes()),
		reflect.TypeFor[jobs.State](): jobs.Names(jobs.States()), reflect.TypeFor[jobs.Outcome](): jobs.Names(jobs.Outcomes()),
		reflect.TypeFor[jobs.Origin](): jobs.Names(jobs.Origins()), reflect.TypeFor[jobs.Verdict](): jobs.Names(jobs.Verdicts()), reflect.TypeFor[Code](): jobs.Names(Codes()),
	}, map[reflect.Type]string{reflect.TypeFor[jobs.PublicRecord](): "Job", reflect.TypeFor[jobs.Operation](): "RecordedOperation"})
	d := openapi.Document{
		Title: "Rekey", Version: "1", Types: types,
		Description: "Revokes, deletes, disables and rotates credentials of MongoDB Atlas.",
		Default:     openapi.Answer{Description: "Why the request was not done.", Content: openapi.Content{Types: []string{mediaProblem}, Value: Problem{}}, Headers: map[string]string{"Retry-After": "Seconds after which the same request may be sent again."}},
		Security: map[string]openapi.Object{
			"token":       {"type": "http", "scheme": "bearer", "description": "A token of api.clients, or one of api.oidc's issuer."},
			"certificate": {"type": "mutualTLS", "description": "A client certificate with the name of a client."},
		},
	}
	for _, r := range routes() {
		op := r.doc(types)
		op.Method, op.Path, _ = strings.Cut(r.pattern, " ")
		op.Public = r.may == ""
		if r.may != "" {
			op.Description = strings.TrimSpace("Needs the permission `" + string(r.may) + "`. " + op.Description)
		}
		d.Operations = append(d.Operations, op)
	}
	return d.JSON()
}

// openAPI answers with the document.
func (s *Server) openAPI(c *call) error {
	data, err := s.document()
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", mediaJSON)
	_, _ = c.w.Write(data) // The client may have left.
	return nil
}

func answers(status int, description string, value any) map[int]openapi.Answer {
	return map[int]openapi.Answer{status: {Description: description, Content: openapi.Content{Types: []string{mediaJSON}, Value: value}}}
}

func inPath(name, description string, schema openapi.Object) openapi.Param {
	return openapi.Param{Name: name, In: "path", Description: description, Schema: schema}
}

func optional(name, description string, schema openapi.Object) openapi.Param {
	return openapi.Param{Name: name, In: "query", Description: description, Schema: schema}
}

func texts() openapi.Object { return openapi.Object{"type": "string", "maxLength": maxText} }

func enumOf[T ~string](set []T) openapi.Object {
	return openapi.Object{"type": "string", "enum": jobs.Names(set)}
}

var (
	jobID     = inPath("id", "The id of a job.", openapi.Object{"type": "string", "pattern": "^[0-9a-z]{26}$"})
	number    = inPath("n", "The number of a dead letter.", openapi.Object{"type": "integer", "minimum": 1})
	limitOf   = optional("limit", "How many at most.", openapi.Object{"type": "integer", "minimum": 1, "maximum": maxLimit, "default": defaultLimit})
	keyHeader = openapi.Param{Name: "Idempotency-Key", In: "header", Description: "The id of the event: the same twice is one job.", Schema: openapi.Object{"type": "string", "minLength": 1, "maxLength": maxKey}}
	traceIn   = openapi.Param{Name: event.HeaderTrace, In: "header", Description: "The trace that the job belongs to (W3C Trace Context).", Schema: texts()}
)

// JobRequest is the body of a request for a job.
type JobRequest struct {
	Kind        jobs.Kind         `json:"kind" doc:"What to do."`
	Params      map[string]string `json:"params" doc:"To what: the parameters of the kind."`
	Account     string            `json:"account,omitempty" doc:"Whose credentials make the call. May be left out when only one account is configured."`
	Lane        jobs.Lane         `json:"lane,omitempty" doc:"How soon. Default: normal."`
	Reason      string            `json:"reason,omitempty" doc:"Free text, shown in the result."`
	RequestedBy string            `json:"requested_by,omitempty" doc:"Who asks, as the client says. It is recorded as on_behalf_of."`
	OnBehalfOf  string            `json:"on_behalf_of,omitempty" doc:"The same, if requested_by is something else."`
	ExpiresAt   string            `json:"expires_at,omitempty" doc:"RFC 3339. The job is not attempted after it."`
	Coalesce    bool              `json:"coalesce,omitempty" doc:"false asks for a job of its own although an unfinished one has the same target."`
	Proof       bool              `json:"proof,omitempty" doc:"false asks for no check of what the job did."`
	DryRun      bool              `json:"dry_run,omitempty" doc:"Everything but the call that changes something."`
}

// jobRequest is the schema of JobRequest, with the names of all parameters.
func jobRequest(t *openapi.Types) openapi.Object {
	names := openapi.Object{}
	for _, k := range kinds.All() {
		for _, name := range k.ParamNames() {
			names[name] = openapi.Object{"type": "string"}
		}
	}
	return t.Strict(JobRequest{}, map[string]openapi.Object{"params": {"type": "object", "properties": names, "additionalProperties": false}})
}

func docSubmit(t *openapi.Types) openapi.Operation {
	return openapi.Operation{
		ID: "submitJob", Summary: "Ask for a job", Params: []openapi.Param{keyHeader, traceIn},
		Description: "The answer comes once NATS has stored the request.",
		Body:        &openapi.Content{Types: []string{mediaJSON}, Value: jobRequest(t)},
		Answers: map[int]openapi.Answer{http.StatusAccepted: {
			Description: "NATS has stored the request.", Content: openapi.Content{Types: []string{mediaJSON}, Value: Submitted{}}, Headers: map[string]string{"Location": "Where the job is."},
		}},
	}
}

func docList(*openapi.Types) openapi.Operation {
	return openapi.Operation{
		ID: "listJobs", Summary: "List and search jobs, the latest accepted first", Answers: answers(http.StatusOK, "Jobs.", JobList{}),
		Params: []openapi.Param{
			optional("state", "Only jobs in this state.", enumOf(jobs.States())), optional("kind", "Only jobs of this kind.", enumOf(jobs.Kinds())),
			optional("outcome", "Only jobs with this outcome.", enumOf(jobs.Outcomes())),
			optional("verdict", "Only jobs whose proof says this.", enumOf(jobs.Verdicts())), optional("target", "Only jobs whose target contains this.", texts()),
			optional("q", "Only jobs whose record says this, in letters of any case.", texts()),
			optional("since", "Only jobs accepted since then: an age like 24h or 7d, or a time (RFC 3339).", texts()),
			limitOf, optional("after", "Go on behind this job, the last of an earlier list.", texts()),
		},
	}
}

func docJob(*openapi.Types) openapi.Operation {
	found := answers(http.StatusOK, "The record of the job; with wait, once it has its outcome, or the verdict on its target.", jobs.PublicRecord{})
	maps.Copy(found, answers(http.StatusAccepted, "The time to wait is over, and what is waited for has not come. Without a record, no worker has taken in its event yet.", openapi.Object{
		"type": "object", "properties": openapi.Object{"job_id": openapi.Object{"type": "string"}, "state": enumOf(jobs.States())}, "required": []string{"job_id"},
	}))
	return openapi.Operation{
		ID: "getJob", Summary: "Look at a job, or wait for its outcome", Answers: found,
		Params: []openapi.Param{
			jobID, optional("wait", "How long to wait, up to 5m, such as 30s.", texts()),
			optional("until", "What to wait for.", openapi.Object{"type": "string", "enum": jobs.Names(fleet.Untils()), "default": string(fleet.UntilOutcome)}),
		},
	}
}

// operated is what is done to a job or a dead letter.
func operated(id, summary string, of openapi.Param, value any) func(*openapi.Types) openapi.Operation {
	return func(t *openapi.Types) openapi.Operation {
		return openapi.Operation{
			ID: id, Summary: summary, Params: []openapi.Param{of}, BodyOptional: true,
			Body: &openapi.Content{Types: []string{mediaJSON}, Value: t.Strict(Operation{}, nil)}, Answers: answers(http.StatusOK, "It is done.", value),
		}
	}
}

func docLetters(*openapi.Types) openapi.Operation {
	return openapi.Operation{
		ID: "listDeadLetters", Summary: "List dead letters, the latest first", Params: []openapi.Param{limitOf},
		Answers: answers(http.StatusOK, "Dead letters.", LetterList{}),
	}
}

func docEvent(*openapi.Types) openapi.Operation {
	return openapi.Operation{
		ID: "publishEvent", Summary: "Publish an event", Params: []openapi.Param{
			inPath("class", "Its class, such as incident.", openapi.Object{"type": "string", "maxLength": 260}), keyHeader, traceIn,
		},
		Description: "A CloudEvent in structured mode, the data of one whose attributes are in headers (ce-), or any JSON.",
		Body:        &openapi.Content{Types: []string{mediaJSON, event.CloudEventsJSON}, Value: openapi.Object{}},
		Answers:     answers(http.StatusAccepted, "NATS has stored the event.", Published{}),
	}
}

func docStatus(*openapi.Types) openapi.Operation {
	return openapi.Operation{ID: "getStatus", Summary: "Look at the workers and at what waits for them", Answers: answers(http.StatusOK, "What is seen.", Status{})}
}

func docOpenAPI(*openapi.Types) openapi.Operation {
	return openapi.Operation{ID: "getOpenAPI", Summary: "This document", Answers: answers(http.StatusOK, "The document.", openapi.Object{"type": "object"})}
}

var (
	docCancel = operated("cancelJob", "End a job before its next attempt", jobID, jobs.PublicRecord{})
	docRetry  = operated("retryJob", "Retry a job", jobID, jobs.PublicRecord{})
	docReplay = operated("replayDeadLetter", "Replay a dead letter", number, fleet.Replayed{})
	docDrop   = operated("dropDeadLetter", "Delete a dead letter", number, Dropped{})
)

// Codes lists all codes of problems.
func Codes() []Code {
	return []Code{
		CodeUnauthorized, CodeForbidden, CodeRateLimited, CodeNotFound, CodeNotAccepted, CodeMethod, CodeMediaType, CodeTooLarge, CodeTooSlow,
		CodeMalformed, CodeInvalid, CodeConflict, CodeUnavailable, CodeUnknown, CodeInternal, CodeCrossOrigin,
	}
}
