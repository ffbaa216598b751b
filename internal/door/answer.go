package door

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strconv"
	"time"
)

// Result is what became of a request. The set is closed.
type Result string

// The results.
const (
	ResultAccepted     Result = "accepted"     // Its events are stored.
	ResultIgnored      Result = "ignored"      // It asks for nothing, as a sender's test of the address does.
	ResultUnauthorized Result = "unauthorized" // The signature, token or certificate is missing or wrong, or too old.
	ResultMalformed    Result = "malformed"    // It cannot be understood.
	ResultUnavailable  Result = "unavailable"  // It could not be stored, and must be sent again.
	ResultUnmatched    Result = "unmatched"    // Of an event that was accepted: it is no direct request, and no policy matches it. Intake counts it.
)

// Results lists all results.
func Results() []Result {
	return []Result{ResultAccepted, ResultIgnored, ResultUnauthorized, ResultMalformed, ResultUnavailable, ResultUnmatched}
}

// retryAfter is what a sender is asked to wait while an event cannot be stored.
const retryAfter = 10 * time.Second

// Refusal is why a request is not taken in. Its text names nothing that was in the request.
type Refusal struct {
	Status int
	Result Result
	Detail string // Shown to the sender, and in the log.
	// Code is the error code of senders that know some.
	Code string
	// Header is added to the answer.
	Header http.Header
	// Err is the cause, for the log alone.
	Err error
}

// Error is the detail, with the cause.
func (r *Refusal) Error() string {
	if r.Err != nil {
		return r.Detail + ": " + r.Err.Error()
	}
	return r.Detail
}

// Unwrap is the cause.
func (r *Refusal) Unwrap() error { return r.Err }

// unauthorized refuses what the sender has not signed.
func unauthorized(detail string) *Refusal {
	return &Refusal{Status: http.StatusUnauthorized, Result: ResultUnauthorized, Detail: detail}
}

// malformed refuses what cannot be understood, and never will be.
func malformed(detail string) *Refusal {
	return &Refusal{Status: http.StatusBadRequest, Result: ResultMalformed, Detail: detail}
}

// unavailable refuses what can be sent again later.
func unavailable(detail string, cause error) *Refusal {
	return &Refusal{
		Status: http.StatusServiceUnavailable, Result: ResultUnavailable, Detail: detail, Err: cause,
		Header: http.Header{"Retry-After": {strconv.Itoa(int(retryAfter.Seconds()))}},
	}
}

// refusalOf is an error as a Refusal. Any other error is of this side, and may pass.
func refusalOf(err error) *Refusal {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r
	}
	return unavailable("the request could not be handled", err)
}

// problem is the body of a refusal (RFC 9457).
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"` // As the problems of the API have it.
	Detail string `json:"detail"`
}

// codes are those of problems, by status.
var codes = map[int]string{
	http.StatusUnauthorized: "unauthorized", http.StatusForbidden: "forbidden", http.StatusNotFound: "not_found", http.StatusMethodNotAllowed: "method",
	http.StatusRequestTimeout: "too_slow", http.StatusRequestEntityTooLarge: "too_large", http.StatusUnsupportedMediaType: "media_type",
	http.StatusServiceUnavailable: "unavailable", http.StatusBadRequest: "malformed",
}

// refuse answers with a refusal, as a problem document.
func refuse(w http.ResponseWriter, r *Refusal) {
	maps.Copy(w.Header(), r.Header)
	writeJSON(w, r.Status, "application/problem+json", problem{
		Type: "about:blank", Title: http.StatusText(r.Status), Status: r.Status, Code: codes[r.Status], Detail: r.Detail,
	})
}

// writeJSON answers with a document. An error is the client's connection: it has left.
func writeJSON(w http.ResponseWriter, status int, contentType string, value any) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) //nolint:errchkjson // Texts and numbers; see above.
}
