package notify

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// Class is what a failed request says about what to do. The set is closed.
type Class string

// The classes of failures.
const (
	// ClassUnavailable is a receiver that cannot take anything now: no answer, 5xx, 408, 425, 429, or an
	// address that cannot be read. All that is for it waits, and only age gives up.
	ClassUnavailable Class = "unavailable"
	// ClassRefused is a receiver that does not want this one: 3xx and other 4xx. Some more attempts are
	// made, because an operator may mend it meanwhile.
	ClassRefused Class = "refused"
	// ClassInvalid is a receiver that will not take this one however often it is sent, as its vendor documents.
	ClassInvalid Class = "invalid"
	// ClassPartly is a mail that some of its recipients refused, and others have.
	ClassPartly Class = "partly"
	// ClassGone is a receiver that wants nothing any more: 410.
	ClassGone Class = "gone"
)

// Failure is a request that did not work.
type Failure struct {
	Class   Class
	Status  int       // HTTP status; 0 where no answer came.
	RetryAt time.Time // Before it the receiver wants nothing; zero where it did not say.
	Err     error     // For people; it holds neither the address nor a secret.
}

// Error tells what happened.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// failure makes a Failure of an answer; word is what it says.
func (t *Receiver) failure(resp *http.Response, word string, now time.Time) *Failure {
	f := &Failure{Class: t.classOf(resp.StatusCode), Status: resp.StatusCode}
	text := fmt.Sprintf("HTTP %d", resp.StatusCode)
	if word != "" {
		text += ": " + word
	}
	if f.Class == ClassUnavailable {
		var odd bool
		if f.RetryAt, odd = t.retryAt(resp.Header, now); odd {
			text += " (its Retry-After is neither seconds nor a date)"
		}
	}
	f.Err = errors.New(text)
	return f
}

// final are the answers after which a vendor says that a request is not to be repeated:
// https://developer.pagerduty.com/docs/events-api-v2-overview#response-codes--retry-logic,
// https://docs.opsgenie.com/docs/response. A workflow of Teams answers so to a card that it cannot read or that is too large.
var final = map[Type][]int{
	TypePagerDuty: {http.StatusBadRequest},
	TypeOpsgenie:  {http.StatusBadRequest, http.StatusUnprocessableEntity},
	TypeTeams:     {http.StatusBadRequest, http.StatusRequestEntityTooLarge},
}

func (t *Receiver) classOf(status int) Class {
	switch status {
	case http.StatusGone:
		return ClassGone
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return ClassUnavailable
	}
	switch {
	case status >= http.StatusInternalServerError:
		return ClassUnavailable
	case slices.Contains(final[t.Type], status):
		return ClassInvalid
	}
	return ClassRefused
}
