package atlas

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/pace"
	"rekey/internal/proxy"
	"rekey/internal/secret"
)

// maxBody is how much of an answer's body is read, in bytes. The API's answers are far smaller.
const maxBody = 1 << 20

// Errors of an answer that has a status but no good body.
var (
	errCutOff  = errors.New("the answer was cut off")
	errTooLong = fmt.Errorf("the answer is longer than %d bytes", maxBody)
)

// endpoint is the destination of a request.
type endpoint struct {
	operation string // One of Operations.
	bucket    pace.Bucket
	rank      pace.Rank // How urgent it is.
	oauth     bool      // An OAuth endpoint counts every request; the Admin API authenticates before it counts.
	dryRun    bool      // Requests that would change something are stopped.
}

// exchange is one HTTP request and its answer.
type exchange struct {
	method, path string // Of the request; empty when none was sent.

	status int // 0 when no answer came.
	header http.Header
	body   []byte    // At most maxBody.
	at     time.Time // When the header of the answer arrived, or its absence was certain.
	// sent says that the request was written, or may have been.
	sent bool
	// err is why there is no answer, or no complete one.
	err error
	// ended says that err is the end of a context: ours after the timeout, or the caller's.
	ended bool
	// heldUntil is when the rate bucket has a token, if the request was not made for lack of one.
	heldUntil time.Time
	sample    pace.Sample // Of a request that was made.
	// stopped says that the request was not made because it would have changed something.
	stopped bool
}

// send makes one request, unless its rate bucket has no token for it, and reads the answer.
func (c *Client) send(ctx context.Context, to endpoint, req *http.Request) exchange {
	if to.dryRun && changes(req) {
		return exchange{at: time.Now(), stopped: true}
	}
	in := c.limiter.Enter(ctx, to.bucket, to.rank)
	start := time.Now()
	if !in.HeldUntil.IsZero() {
		return exchange{at: start, heldUntil: in.HeldUntil}
	}
	// A process that was paused continues before its timers fire: by now another worker may have the job.
	if end, ok := ctx.Deadline(); ok && !start.Before(end) {
		in.Cancel()
		return exchange{at: start, ended: true, err: context.DeadlineExceeded}
	}
	v := c.limiter.Sample(in, start)
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, c.errTimeout)
	defer cancel()
	var written atomic.Bool
	req = req.Clone(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		// The transport looks for another connection only when nothing was written to the last one:
		// neither DELETE nor POST can be replayed otherwise.
		GetConn:      func(string) { written.Store(false) },
		WroteHeaders: func() { written.Store(true) },
	}))
	req.Header.Set("User-Agent", c.userAgent)
	ex := c.roundTrip(ctx, req)
	ex.method, ex.path = req.Method, req.URL.EscapedPath() // CN=a/b is one segment.
	ex.sent = ex.status != 0 || written.Load()
	c.recorder.Request(to.operation, ex.code(), time.Since(start), c.trace(ctx))
	ex.sample = v
	if ex.asksWho(to) {
		c.limiter.Renew(v)
	} else {
		c.limiter.Answered(ctx, v, ex.aboutBucket(to))
	}
	return ex
}

func (c *Client) roundTrip(ctx context.Context, req *http.Request) exchange {
	resp, err := c.transport.RoundTrip(req)
	ex := exchange{at: time.Now()}
	if err != nil {
		ex.ended, ex.err = cause(ctx, err)
		if via := proxy.Of(req); via != "" && !ex.ended {
			ex.err = fmt.Errorf("through the proxy %s: %w", via, ex.err)
		}
		return ex
	}
	defer resp.Body.Close()
	ex.status, ex.header = resp.StatusCode, resp.Header
	ex.body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil && ctx.Err() != nil:
		ex.ended, ex.err = cause(ctx, err)
	case err != nil:
		ex.err = errCutOff
	case len(ex.body) > maxBody:
		ex.body, ex.err = ex.body[:maxBody], errTooLong
	}
	return ex
}

// asksWho reports whether the answer is a refused authentication that the API has not counted, after which another request
// may follow. The Admin API authenticates before it counts; the OAuth endpoints count everything.
func (ex exchange) asksWho(to endpoint) bool {
	return ex.status == http.StatusUnauthorized && !ex.lacksRole() && !to.oauth
}

// lacksRole reports whether the API has authenticated the account and answers with a 401 that a role is missing.
func (ex exchange) lacksRole() bool {
	said, _ := parseProblem(ex.body)
	return ex.status == http.StatusUnauthorized && said.code == codeNoRole
}

// answer is the part of the exchange that is kept, without secrets.
func (ex exchange) answer(s scrubber) jobs.Answer {
	return jobs.Answer{Method: ex.method, Path: ex.path, Status: ex.status, RequestID: s.requestID(ex.header)}
}

// limited reports whether the answer is that of a rate limit.
func (ex exchange) limited() bool {
	said, _ := parseProblem(ex.body)
	return ex.status == http.StatusTooManyRequests || said.rateLimited()
}

// aboutBucket is what the answer says of its rate bucket.
func (ex exchange) aboutBucket(to endpoint) pace.Answer {
	limited := ex.limited()
	return pace.Answer{
		Capacity: headerCount(ex.header, "RateLimit-Limit"), Left: headerCount(ex.header, "RateLimit-Remaining"),
		Limited: limited, Accepted: ex.status != 0 && ex.status != http.StatusServiceUnavailable && !limited,
		ListsLimits: to.bucket.Set == setRateLimits,
	}
}

// maxCount bounds the counts of calls that are believed of answers.
const maxCount = 1_000_000

// headerCount is a header that is a count, or -1.
func headerCount(header http.Header, name string) int {
	n, err := strconv.Atoi(strings.TrimSpace(header.Get(name)))
	if err != nil || n < 0 || n > maxCount {
		return -1
	}
	return n
}

// code is the status as a label.
func (ex exchange) code() string {
	if ex.status == 0 {
		return "error"
	}
	return strconv.Itoa(ex.status)
}

// cause returns whether the context of a request ended, and why there is no answer.
func cause(ctx context.Context, err error) (ended bool, _ error) {
	if ctx.Err() != nil {
		return true, context.Cause(ctx)
	}
	return false, withoutURL(err)
}

// withoutURL takes URLs out of an error: they can hold a proxy's password.
func withoutURL(err error) error {
	for {
		urlErr, ok := errors.AsType[*url.Error](err)
		if !ok {
			return err
		}
		err = urlErr.Err
	}
}

// Limits of the transport. The timeout of a request bounds all of them together.
const (
	dialTimeout      = 10 * time.Second
	handshakeTimeout = 10 * time.Second
	keepAlive        = 30 * time.Second
	idleTimeout      = 90 * time.Second
	maxHeaderBytes   = 256 << 10
	maxCAFile        = 4 << 20
)

// newTransport returns a transport for many requests to one host. Being used directly, and
// not through an http.Client, it has no way to follow a redirect or to keep a cookie.
func newTransport(cfg Config) (*http.Transport, error) {
	roots, err := trustedRoots(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive}
	transport := &http.Transport{
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true, // An own DialContext or TLS settings would turn it off.
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout:    handshakeTimeout,
		MaxIdleConns:           cfg.Concurrency,
		MaxIdleConnsPerHost:    cfg.Concurrency,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true, // Answers are small, and their limit counts decompressed bytes.
	}
	proxy.Use(transport)
	return transport, nil
}

// trustedRoots returns the system's authorities and those of the file, or nil, which means
// the system's, when there is no file.
func trustedRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := secret.ReadFile(file, maxCAFile)
	if err != nil {
		return nil, fmt.Errorf("reading the CA file %s: %w", file, err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("reading the system's certificate authorities: %w", err)
	}
	if !roots.AppendCertsFromPEM([]byte(pem)) {
		return nil, fmt.Errorf("reading the CA file %s: there is no certificate in it", file)
	}
	return roots, nil
}
