package door

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/nats-io/nuid"
)

// sample is a body that is to be signed as the sender would.
type sample struct {
	id     string // Of the delivery.
	secret string // The door's first.
	body   []byte
	now    time.Time
}

// Sign returns a request with a body to a door, signed now as its sender would, with the first of the door's secrets. The error
// wraps ErrNoDoor where there is no such door.
func (a *Doors) Sign(ctx context.Context, name string, body []byte, header http.Header) (*http.Request, error) {
	d, ok := a.doors[name]
	if !ok {
		return nil, fmt.Errorf("%w %q", ErrNoDoor, name)
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, Path+name, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	q.Header.Set("Content-Type", "application/json")
	maps.Copy(q.Header, header)
	s := sample{id: nuid.Next(), body: body, now: d.cfg.Now()}
	for _, ref := range []struct {
		key  string
		read func() ([]string, error)
	}{
		{KeySecret, func() ([]string, error) { return d.secretsIn(d.Secret) }},
		{KeyToken, func() ([]string, error) { return d.secretsIn(d.Token) }},
		{KeyPassword, func() ([]string, error) { return d.secretsIn(d.Password) }},
	} {
		if !slices.Contains(KeysOf(d.Type).Required, ref.key) {
			continue
		}
		all, err := ref.read()
		if err != nil {
			return nil, err
		}
		s.secret = all[0]
	}
	return q, d.sender.sign(q, s)
}

// stateWith is a connection whose client has a certificate with a name.
func stateWith(name string) *tls.ConnectionState {
	return &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{Subject: pkix.Name{CommonName: name}}}}}
}

// Answer is what a door says to a request.
type Answer struct {
	Status int         `json:"status"`
	Header http.Header `json:"-"`
	Body   []byte      `json:"-"`
}

// Try hands a request to the door that it was signed for.
func (a *Doors) Try(q *http.Request, name string) Answer {
	answer := &Answer{Status: http.StatusOK, Header: http.Header{}}
	a.doors[name].ServeHTTP(collector{answer}, q)
	return *answer
}

// collector keeps an answer.
type collector struct{ answer *Answer }

// Header implements http.ResponseWriter.
func (c collector) Header() http.Header { return c.answer.Header }

// WriteHeader implements http.ResponseWriter.
func (c collector) WriteHeader(status int) { c.answer.Status = status }

// Write implements http.ResponseWriter.
func (c collector) Write(data []byte) (int, error) {
	c.answer.Body = append(c.answer.Body, data...)
	return len(data), nil
}
