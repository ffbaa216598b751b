package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Beginnings of the subjects of JetStream's API and of keys in buckets, where no domain is set.
const (
	apiSubjects = "$JS.API."
	keySubjects = "$KV."
)

// InDomain is a subject of JetStream's API, or of a key in a bucket, as a client of a JetStream domain publishes it (NATS
// docs, "Leaf nodes": $JS.<domain>.API). Other subjects are the same in each domain, and all are where domain is "".
func InDomain(domain, subject string) string {
	if domain == "" {
		return subject
	}
	prefix := "$JS." + domain + ".API."
	switch {
	case strings.HasPrefix(subject, apiSubjects):
		return prefix + strings.TrimPrefix(subject, apiSubjects)
	case strings.HasPrefix(subject, keySubjects): // The server takes the prefix off again.
		return prefix + subject
	}
	return subject
}

// openJetStream returns the JetStream of a domain, or of the account's own servers where domain is "".
func openJetStream(nc *nats.Conn, domain string) (jetstream.JetStream, error) {
	timeout := jetstream.WithDefaultTimeout(requestTimeout)
	if domain == "" {
		return jetstream.New(nc, timeout)
	}
	return jetstream.NewWithDomain(nc, domain, timeout)
}

// Explain names the likely cause of an error where no JetStream answers: the client only knows that nothing did.
func (c *Conn) Explain(err error) error {
	switch {
	case !noJetStream(err):
		return err
	case c.domain != "":
		return fmt.Errorf("no JetStream answers in the domain %s (nats.domain): %w", c.domain, err)
	}
	return fmt.Errorf("no JetStream answers: it is off, or nats.domain must name the domain of the server that has the streams: %w", err)
}

// noJetStream reports whether the API of JetStream has nothing behind it.
func noJetStream(err error) bool {
	for _, one := range []error{nats.ErrNoResponders, jetstream.ErrJetStreamNotEnabled, jetstream.ErrJetStreamNotEnabledForAccount} {
		if errors.Is(err, one) {
			return true
		}
	}
	return false
}

// Request asks the JetStream API and returns the answer.
func (c *Conn) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, surveyTimeout, fmt.Errorf("no answer to %s within %s", subject, surveyTimeout))
	defer cancel()
	msg, err := c.nc.RequestWithContext(ctx, InDomain(c.domain, subject), data)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", subject, err)
	}
	return msg.Data, nil
}

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
