package api

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"rekey/internal/jobs"
)

// Problem is why a request was not done, as RFC 9457 has it.
type Problem struct {
	Type   string `json:"type"`   // about:blank: Code says which problem it is.
	Title  string `json:"title"`  // What the status is called.
	Status int    `json:"status"` // The status of the answer.
	Code   Code   `json:"code"`
	Detail string `json:"detail"`
	// Field is the first of Errors.
	Field      string       `json:"field,omitempty"`
	Errors     []FieldError `json:"errors,omitempty"`
	JobID      string       `json:"job_id,omitempty"`      // The job that the problem is about.
	EventID    string       `json:"event_id,omitempty"`    // The id of the event; with it, the same request can be sent again.
	DeadLetter uint64       `json:"dead_letter,omitempty"` // The number of the dead letter that says more.

	retryAfter time.Duration
	challenge  bool // The client is to say who it is.
}

// FieldError is one mistake in a request.
type FieldError struct {
	Field   string `json:"field,omitempty"`
	Pointer string `json:"pointer,omitempty"` // The field as RFC 6901 writes it.
	Line    int    `json:"line,omitempty"`    // Of the body, from 1.
	Detail  string `json:"detail"`
}

// Code is which problem it is. The set is closed.
type Code string

// The codes of problems.
const (
	CodeUnauthorized Code = "unauthorized" // The client is not known.
	CodeForbidden    Code = "forbidden"    // The client is known, and may not do it.
	CodeRateLimited  Code = "rate_limited" // The client has made too many requests.
	CodeNotFound     Code = "not_found"    // There is no such job, dead letter or route.
	CodeNotAccepted  Code = "not_accepted" // The event of the job became a dead letter.
	CodeMethod       Code = "method"       // The route has another method.
	CodeMediaType    Code = "media_type"   // The body is of another type.
	CodeTooLarge     Code = "too_large"    // The body is too large.
	CodeTooSlow      Code = "too_slow"     // The body did not come in time.
	CodeMalformed    Code = "malformed"    // The body or query cannot be read.
	CodeInvalid      Code = "invalid"      // What it asks for cannot be done by any worker.
	CodeConflict     Code = "conflict"     // The job, or another request of the same id, has done something else.
	CodeUnavailable  Code = "unavailable"  // NATS cannot be reached, or takes nothing. Nothing was done.
	CodeUnknown      Code = "unknown"      // NATS did not say whether it has taken the request.
	CodeInternal     Code = "internal"     // A fault of Rekey.
	CodeCrossOrigin  Code = "cross_origin" // A browser sent it for another site.
)

// retryLater is when a client should ask again for what NATS did not take.
const retryLater = 5 * time.Second

// problem is one of a status, with what it says about it.
func problem(status int, code Code, detail string) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: detail}
}

// Error is what it is about.
func (p *Problem) Error() string { return p.Detail }

// mistakes is the problem of a request that has mistakes in its fields: an error that joins *jobs.Malformed and *jobs.Rejection.
func mistakes(status int, code Code, err error) *Problem {
	p := problem(status, code, "")
	var texts []string
	for _, one := range flat(err) {
		texts = append(texts, one.Error())
		e := FieldError{Detail: one.Error()}
		if m, ok := errors.AsType[*jobs.Malformed](one); ok {
			e = FieldError{Field: m.Field, Line: m.Line, Detail: m.Detail}
		} else if r, ok := errors.AsType[*jobs.Rejection](one); ok {
			e = FieldError{Field: r.Field, Detail: r.Detail}
		}
		if e.Field != "" {
			e.Pointer = "/" + strings.ReplaceAll(e.Field, ".", "/")
		}
		p.Errors = append(p.Errors, e)
	}
	p.Detail, p.Field = strings.Join(texts, "; "), p.Errors[0].Field
	return p
}

// flat lists what errors.Join has joined.
func flat(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, one := range joined.Unwrap() {
		all = append(all, flat(one)...)
	}
	return all
}

// write answers with the problem.
func (p *Problem) write(w http.ResponseWriter) {
	if p.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((p.retryAfter+time.Second-1)/time.Second)))
	}
	if p.challenge {
		w.Header().Set("WWW-Authenticate", `Bearer realm="rekey"`)
	}
	writeJSON(w, p.Status, "application/problem+json", p)
}

// writeJSON answers with a value. A client that does not take the answer has left.
func writeJSON(w http.ResponseWriter, status int, contentType string, value any) {
	body, err := json.Marshal(value)
	if err != nil { // Of our own types: none of them holds what cannot be encoded.
		status, body = http.StatusInternalServerError, []byte(`{"type":"about:blank","title":"Internal Server Error","status":500,"code":"internal","detail":"the answer cannot be encoded"}`)
		contentType = "application/problem+json"
	}
	w.Header().Set("Content-Type", cmp.Or(contentType, "application/json"))
	w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // The client may have left.
}
