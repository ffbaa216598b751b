package deliver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"rekey/internal/proxy"
	"rekey/internal/retryafter"
)

const (
	// timeout bounds one request to a store, from the connection to the end of the answer.
	timeout = 10 * time.Second
	// maxAnswer bounds an answer, in bytes. The largest is a Secret of Kubernetes, of 1 MiB in base64 and who manages it.
	maxAnswer      = 4 << 20
	maxHeaderBytes = 64 << 10
	idleTimeout    = 90 * time.Second
)

// newTransport returns a transport that trusts the authorities, those of the system when they are nil. It follows no redirect,
// as it is used without a client of package http: a token is for the configured server alone.
func newTransport(authorities *x509.CertPool) *http.Transport {
	t := &http.Transport{
		DialContext: (&net.Dialer{}).DialContext, ForceAttemptHTTP2: true, IdleConnTimeout: idleTimeout,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authorities},
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
	proxy.Use(t)
	return t
}

// reply is what a server answered.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// exchange makes one request and reads the answer, which is bounded in time and size.
func exchange(transport http.RoundTripper, req *http.Request) (reply, error) {
	ctx, cancel := context.WithTimeoutCause(req.Context(), timeout, fmt.Errorf("there was no answer within %s", timeout))
	defer cancel()
	resp, err := transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return reply{}, timedOut(ctx, err)
	}
	body, err := readBounded(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return reply{}, timedOut(ctx, err)
	}
	return reply{status: resp.StatusCode, header: resp.Header, body: body}, nil
}

// timedOut is an error, or the limit that caused it.
func timedOut(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func readBounded(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = fmt.Errorf("the answer is larger than %d MiB", maxAnswer>>20)
	}
	return body, err
}

// refusal is an answer that is not what was asked for.
type refusal struct {
	status  int
	text    string
	passes  bool
	retryAt time.Time
}

// newRefusal makes a refusal of an answer; text is what it says to a person, without a secret.
func newRefusal(status int, header http.Header, text string) *refusal {
	r := &refusal{status: status, text: text, passes: passes(status)}
	if at, ok := retryafter.Parse(header.Get("Retry-After"), header.Get("Date"), time.Now()); ok && r.passes {
		r.retryAt = at
	}
	return r
}

// passes reports whether what a status says may pass by itself.
func passes(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return status >= http.StatusInternalServerError
}

// Error has the status and what the server said.
func (r *refusal) Error() string {
	if r.text == "" {
		return fmt.Sprintf("HTTP %d", r.status)
	}
	return fmt.Sprintf("HTTP %d: %s", r.status, r.text)
}

// Retryable implements answer.
func (r *refusal) Retryable() bool { return r.passes }

// RetryAt implements answer.
func (r *refusal) RetryAt() time.Time { return r.retryAt }
