package bus

import (
	"errors"
	"strings"

	"github.com/nats-io/nats.go"
)

// ForbiddenError says that the server does not let us publish or subscribe to a subject.
type ForbiddenError struct {
	Subject   string
	Subscribe bool
}

// Error names the subject.
func (e *ForbiddenError) Error() string {
	if e.Subscribe {
		return e.Subject + " may not be subscribed to"
	}
	return e.Subject + " may not be published to"
}

// forbiddenBy reads what the server says, besides all answers, of a subject that we may not use. The question that was
// asked there gets no answer.
func forbiddenBy(err error) (*ForbiddenError, bool) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return nil, false
	}
	_, rest, _ := strings.Cut(err.Error(), `"`)
	forbidden := &ForbiddenError{Subscribe: strings.Contains(err.Error(), "Subscription")}
	forbidden.Subject, _, _ = strings.Cut(rest, `"`)
	return forbidden, true
}
