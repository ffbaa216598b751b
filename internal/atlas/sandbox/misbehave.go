package sandbox

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// redirectPath is where the redirect fault points. It answers 200 and is in the journal.
	redirectPath = controlPrefix + "redirected"
	// endlessBytes is how much an endless body sends before it only keeps the caller waiting.
	endlessBytes = 16 << 20
	endlessChunk = 32 << 10
	// faultText is the detail of an error that a fault makes up.
	faultText = "A fault was injected into the sandbox."
)

// htmlPage is what a proxy in front of Atlas sends when there is no answer behind it.
const htmlPage = "<!DOCTYPE html>\n<html><head><title>Service Unavailable</title></head>\n" +
	"<body><h1>Service Unavailable</h1><p>Please try again later.</p></body></html>\n"

// misbehave answers the call with the fault. Where a caller gets no whole answer, it panics with
// http.ErrAbortHandler, on which net/http closes the connection.
func (s *Sandbox) misbehave(w http.ResponseWriter, c *call, in *injected) {
	f := &in.fault
	if !wait(c.request.Context(), f.Delay) {
		panic(http.ErrAbortHandler) // The caller is gone, or the sandbox stops. Nothing happened.
	}
	if status := f.statusKind(); status != 0 {
		s.deliverFault(w, c, f, s.faultAnswer(c, f, status))
		return
	}
	switch f.Kind {
	case FaultReset:
		s.record(c, 0, f.Kind)
		reset(w)
	case FaultResetAfter:
		s.resetAfter(w, c, in)
	case FaultSlow:
		s.deliverFault(w, c, f, s.perform(c))
	case FaultHTML:
		a := answer{status: cmp.Or(f.Status, http.StatusServiceUnavailable), header: http.Header{}, body: []byte(htmlPage)}
		a.header.Set("Content-Type", "text/html; charset=utf-8")
		s.retryAfter(a.header, f)
		s.deliverFault(w, c, f, a)
	case FaultCut:
		a := s.faultDocument(c, f)
		s.record(c, a.status, f.Kind)
		a.cut(w, c)
	case FaultEndless:
		a := s.faultDocument(c, f)
		s.record(c, a.status, f.Kind)
		a.endless(w, c)
	case FaultRedirect:
		a := c.empty(http.StatusTemporaryRedirect)
		a.header.Set("Location", redirectPath)
		s.deliverFault(w, c, f, a)
	}
}

// wait waits for d, and is false when ctx was done first.
func wait(ctx context.Context, d time.Duration) bool {
	if d == 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// deliverFault writes an answer that a fault had a part in.
func (s *Sandbox) deliverFault(w http.ResponseWriter, c *call, f *Fault, a answer) {
	s.record(c, a.status, f.Kind)
	a.write(w, c)
}

// resetAfter does what was asked, and loses the answer if that succeeded.
func (s *Sandbox) resetAfter(w http.ResponseWriter, c *call, in *injected) {
	a := s.perform(c)
	if a.status >= http.StatusMultipleChoices || !s.spend(in) {
		s.deliver(w, c, a)
		return
	}
	s.record(c, 0, FaultResetAfter)
	reset(w)
}

// reset ends the connection without an answer: with a TCP reset where it can be had.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2, or no connection at all.
	}
	raw := conn
	if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok {
		raw = wrapped.NetConn()
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		// Without lingering the kernel resets. If that cannot be set, closing has to do.
		_ = tcp.SetLinger(0)
	}
	_ = raw.Close()
}

// faultAnswer is the answer with the status, as Atlas shapes it for the operation.
func (s *Sandbox) faultAnswer(c *call, f *Fault, status int) answer {
	var a answer
	switch {
	case status < http.StatusBadRequest:
		a = c.empty(status)
	case status == http.StatusUnauthorized && !c.oauth() && f.ErrorCode == "":
		a = s.refused(c)
	case c.oauth():
		text := faultText
		if status == http.StatusTooManyRequests {
			text = oauthRateText(c.request.URL.Path, s.buckets.limits[BucketToken])
		}
		a = c.refuseOAuth(status, cmp.Or(f.ErrorCode, oauthCode(status)), text)
	case status == http.StatusTooManyRequests:
		a = s.faultRateLimited(c, f)
	default:
		a = c.refuse(status, cmp.Or(f.ErrorCode, adminCode(status)), faultText)
	}
	s.retryAfter(a.header, f)
	return a
}

// faultDocument is the answer of the kinds whose point is the body, which so is never empty.
func (s *Sandbox) faultDocument(c *call, f *Fault) answer {
	status := cmp.Or(f.Status, http.StatusInternalServerError)
	if status >= http.StatusBadRequest {
		return s.faultAnswer(c, f, status)
	}
	a := c.reply(status, "application/json", map[string]string{"message": faultText})
	s.retryAfter(a.header, f)
	return a
}

// refused is the 401 that fits the way in which the call authenticates.
func (s *Sandbox) refused(c *call) answer {
	if c.entry.Auth == AuthBearer {
		c.header.Set("WWW-Authenticate", `Bearer realm="`+realm+`", error="invalid_token"`)
		return c.notAuthorized()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.challenge(c, false)
}

// faultRateLimited is a 429 that names the wait of the fault. Without one, or with an errorCode of
// its own, it names none, since every part of the vendor's 429 may be missing.
func (s *Sandbox) faultRateLimited(c *call, f *Fault) answer {
	seconds, ok := s.waitSeconds(f)
	if !ok || c.route.bucket == nil || f.ErrorCode != "" {
		detail := "Rate limit exceeded for " + strings.TrimPrefix(c.entry.Path, "/") + "."
		return c.refuse(http.StatusTooManyRequests, cmp.Or(f.ErrorCode, codeRateLimited), detail)
	}
	limit := s.buckets.limits[c.route.bucket(c)]
	c.header.Set("RateLimit-Limit", strconv.Itoa(limit.Capacity))
	c.header.Set("RateLimit-Remaining", "0")
	return c.rateLimited(limit, seconds)
}

// adminCode is the errorCode that goes with a status.
func adminCode(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "VALIDATION_ERROR"
	case http.StatusForbidden:
		return "IP_ADDRESS_NOT_ON_ACCESS_LIST"
	case http.StatusNotFound:
		return codeNotFound
	case http.StatusConflict:
		return "CONFLICT"
	case http.StatusServiceUnavailable:
		return "SERVICE_UNAVAILABLE"
	default:
		return "UNEXPECTED_ERROR"
	}
}

// oauthCode is the OAuth error that goes with a status.
func oauthCode(status int) string {
	switch {
	case status == http.StatusUnauthorized:
		return "invalid_client"
	case status == http.StatusForbidden:
		return "access_denied"
	case status == http.StatusTooManyRequests:
		return "rate_limited"
	case status >= http.StatusInternalServerError:
		return "server_error"
	default:
		return "invalid_request"
	}
}

// waitSeconds is how long the fault's RetryAfter asks to wait, if it can be understood.
func (s *Sandbox) waitSeconds(f *Fault) (int, bool) {
	if text, ok := strings.CutPrefix(f.RetryAfter, datePrefix); ok {
		d, err := time.ParseDuration(text)
		return wholeSeconds(d), err == nil
	}
	seconds, err := strconv.Atoi(f.RetryAfter)
	return seconds, err == nil
}

// retryAfter sets the Retry-After header to what the fault says, if anything.
func (s *Sandbox) retryAfter(header http.Header, f *Fault) {
	value := f.RetryAfter
	if text, ok := strings.CutPrefix(value, datePrefix); ok {
		d, err := time.ParseDuration(text)
		if err != nil {
			return // The text was checked when the fault was injected.
		}
		at := s.now().Add(d)
		if whole := at.Truncate(time.Second); whole.Before(at) {
			at = whole.Add(time.Second)
		}
		value = at.UTC().Format(http.TimeFormat)
	}
	if value != "" {
		header.Set("Retry-After", value)
	}
}

// cut sends the headers and half of the body.
func (a answer) cut(w http.ResponseWriter, c *call) {
	a.writeHeader(w, c)
	_, _ = w.Write(a.body[:len(a.body)/2])
	// The half must be on its way before the connection is closed. If the caller is gone, so be it.
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// endless sends the body again and again, and then nothing until the caller leaves.
func (a answer) endless(w http.ResponseWriter, c *call) {
	a.header.Set("X-Request-Id", c.id)
	maps.Copy(w.Header(), a.header)
	w.WriteHeader(a.status)
	chunk := bytes.Repeat(append(a.body, '\n'), 1+endlessChunk/len(a.body))
	for sent := 0; sent < endlessBytes; sent += len(chunk) {
		if _, err := w.Write(chunk); err != nil || c.request.Context().Err() != nil {
			panic(http.ErrAbortHandler)
		}
	}
	_ = http.NewResponseController(w).Flush()
	<-c.request.Context().Done()
	panic(http.ErrAbortHandler)
}
