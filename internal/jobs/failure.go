package jobs

import (
	"fmt"
	"time"
)

// Reason is why an attempt did not succeed. The set is closed.
type Reason string

// The reasons of a failed attempt. ReasonNone marks one that worked.
const (
	ReasonNone         Reason = "none"
	ReasonRateLimited  Reason = "rate_limited"
	ReasonUnavailable  Reason = "unavailable"
	ReasonUnauthorized Reason = "unauthorized"
	ReasonForbidden    Reason = "forbidden"
	ReasonNotFound     Reason = "not_found"
	ReasonConflict     Reason = "conflict"
	ReasonInvalid      Reason = "invalid"
	ReasonProtocol     Reason = "protocol"
	ReasonConfig       Reason = "config"
	ReasonInterrupted  Reason = "interrupted"
)

// reasons is the one table of what a reason means for the job.
var reasons = map[Reason]struct {
	retry bool // Another attempt can help.
	free  bool // It spends no attempt.
}{
	ReasonRateLimited:  {retry: true, free: true},
	ReasonInterrupted:  {retry: true, free: true},
	ReasonUnavailable:  {retry: true},
	ReasonConflict:     {retry: true}, // Two changes at once: one of them comes later.
	ReasonProtocol:     {retry: true}, // A proxy's page, a cut answer: passes.
	ReasonConfig:       {retry: true}, // A secret file that is mounted late; the operator can mend it.
	ReasonUnauthorized: {},
	ReasonForbidden:    {},
	ReasonNotFound:     {},
	ReasonInvalid:      {},
}

// Reasons lists all reasons, ReasonNone first.
func Reasons() []Reason {
	return []Reason{
		ReasonNone, ReasonRateLimited, ReasonUnavailable, ReasonUnauthorized, ReasonForbidden, ReasonNotFound,
		ReasonConflict, ReasonInvalid, ReasonProtocol, ReasonConfig, ReasonInterrupted,
	}
}

// Retryable reports whether another attempt can help.
func (r Reason) Retryable() bool { return reasons[r].retry }

// Free reports whether the attempt is not counted against the limit.
func (r Reason) Free() bool { return reasons[r].free }

// Failure is an attempt that did not succeed, as the adapter that made the call
// understood it.
type Failure struct {
	Reason Reason
	// RetryAt is the moment before which the API wants no further call; zero when it said nothing.
	RetryAt time.Time
	// RetryAfterCapped says that the API named a later moment than is believed.
	RetryAfterCapped bool
	// MaybeEffective says that the call may have taken effect although no good answer came.
	MaybeEffective bool
	// Unproven says of ReasonNotFound that it may not be the API's own word: it refuses the
	// job, and never proves that the target is gone.
	Unproven bool
	// Answer is what the API said, as far as it said anything.
	Answer Answer
	// Err tells a person what happened. It holds no secret.
	Err error
}

// Error tells what happened.
func (f *Failure) Error() string { return fmt.Sprintf("%s: %v", f.Reason, f.Err) }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Answer is what is kept of a call and of the API's answer.
type Answer struct {
	// Method and Path are what was sent, last if it took several requests; empty when nothing
	// was. No path of the API holds a secret.
	Method, Path string
	// Status is the HTTP status, 0 when no answer came.
	Status int
	// Code is the API's errorCode, or OAuth's error; empty on success.
	Code string
	// RequestID is the API's own id of the request, where it gives one.
	RequestID string
	// DryRun says that the call was not made, and that nothing has changed.
	DryRun bool
	// Unchanged says of a step of a rotation that it changed nothing at the API.
	Unchanged bool
	// Detail tells a person more of it; of a dry run, what was not done.
	Detail string
}

// Malformed is one mistake in an event. It names the field, and the line of the payload
// where that is known (0 where not), and never repeats a value.
type Malformed struct {
	Field  string
	Line   int
	Detail string
}

// Error names line, field and mistake.
func (m *Malformed) Error() string {
	text := m.Detail
	if m.Field != "" {
		text = m.Field + ": " + text
	}
	if m.Line > 0 {
		return fmt.Sprintf("line %d: %s", m.Line, text)
	}
	return text
}
