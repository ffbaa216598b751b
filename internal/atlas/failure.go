package atlas

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"rekey/internal/jobs"
	"rekey/internal/proxy"
	"rekey/internal/retryafter"
	"rekey/internal/secret"
)

// failureFrom is the one place where an answer other than a success, or its absence,
// becomes a jobs.Failure. A rate limit also pauses the bucket that the request drew on.
// The texts of the API are scrubbed of the hidden secrets, and of all that are configured.
func (c *Client) failureFrom(ctx context.Context, to endpoint, ex exchange, hidden []secret.Value) *jobs.Failure {
	said, _ := parseProblem(ex.body)
	s := c.scrubber(hidden...)
	f := &jobs.Failure{Reason: classify(ex, said), Answer: ex.answer(s), Err: describe(ex, said, to, s)}
	f.Answer.Code = s.code(said.code)
	f.MaybeEffective = maybeEffective(ex, f.Reason)
	f.Unproven = f.Reason == jobs.ReasonNotFound && !said.admin
	if !ex.heldUntil.IsZero() {
		f.RetryAt = ex.heldUntil
		return f
	}
	if f.Reason == jobs.ReasonRateLimited || ex.status == http.StatusServiceUnavailable {
		c.applyRetryAfter(ctx, to, ex, said, f)
	}
	return f
}

// classify returns the reason of a failed answer. The first line that fits counts:
//
//	config        a proxy that refused the connection (3xx or 4xx to CONNECT): the API was not asked
//	rate_limited  429; an errorCode with RATE_LIMITED or OAuth's rate_limited, whatever the
//	              status (seen with 400); a request that was not made because of a pause
//	unavailable   no answer; the end of the context or the timeout before the end of the
//	              answer, unless its status is an error; 408; 425; any 5xx
//	protocol      any 3xx: redirects are not followed, credentials must not travel
//	unauthorized  401; OAuth's invalid_client
//	forbidden     403; OAuth's access_denied (the IP access list, or 100 live tokens)
//	invalid       an errorCode of VERSION_…: the version that we ask for is gone (410) or was
//	              never there, which says nothing about the target
//	not_found     404 and 410 with the Admin API's error document; any other 4xx with an
//	              errorCode that ends in NOT_FOUND
//	not_found     404 and 410 without any body. It is no evidence (Unproven): a gateway without
//	              a route answers like this, too
//	protocol      404 and 410 with another body: a proxy's page, a wrong base URL, an OAuth
//	              endpoint that is not there. Retrying is safer than giving up
//	conflict      409
//	invalid       any other 4xx
//	unavailable   OAuth's server_error and temporarily_unavailable with status 200
//	protocol      everything else: a success that the operation does not have, or one whose
//	              body is HTML, an error, longer than 1 MiB, cut off, or not the document that it should be
func classify(ex exchange, said problem) jobs.Reason {
	refused, proxied := errors.AsType[*proxy.RefusedError](ex.err)
	switch {
	case proxied && refused.Configured():
		return jobs.ReasonConfig
	case !ex.heldUntil.IsZero(), ex.status == http.StatusTooManyRequests, said.rateLimited():
		return jobs.ReasonRateLimited
	case ex.status == 0, ex.ended && ex.status < 400, ex.status >= 500 && ex.status <= 599,
		ex.status == http.StatusRequestTimeout, ex.status == http.StatusTooEarly:
		return jobs.ReasonUnavailable
	case ex.status >= 300 && ex.status <= 399:
		return jobs.ReasonProtocol
	case ex.status == http.StatusUnauthorized, said.code == "invalid_client":
		return jobs.ReasonUnauthorized
	case ex.status == http.StatusForbidden, said.code == "access_denied":
		return jobs.ReasonForbidden
	case ex.status >= 400 && ex.status <= 499:
		return classifyRefusal(ex, said)
	case said.code == "server_error", said.code == "temporarily_unavailable":
		return jobs.ReasonUnavailable
	}
	return jobs.ReasonProtocol
}

// classifyRefusal is the part of classify about 4xx that are neither 401 nor 403.
func classifyRefusal(ex exchange, said problem) jobs.Reason {
	absent := ex.status == http.StatusNotFound || ex.status == http.StatusGone
	switch {
	case strings.HasPrefix(said.code, "VERSION_"):
		return jobs.ReasonInvalid
	case said.admin && (absent || strings.HasSuffix(said.code, "NOT_FOUND")):
		return jobs.ReasonNotFound
	case absent && ex.err == nil && len(bytes.TrimSpace(ex.body)) == 0:
		return jobs.ReasonNotFound
	case absent:
		return jobs.ReasonProtocol
	case ex.status == http.StatusConflict:
		return jobs.ReasonConflict
	}
	return jobs.ReasonInvalid
}

// maybeEffective reports whether the request may have done what it asked for:
//
//	no answer            if the request was, or may have been, written
//	a rate limit         no
//	4xx                  no: the API says that it did nothing
//	503                  no: "currently unable to handle the request" (RFC 9110 section 15.6.4)
//	2xx, 3xx, other 5xx  yes: 500 can come after the deed, 502 and 504 are a proxy's
func maybeEffective(ex exchange, reason jobs.Reason) bool {
	switch {
	case ex.status == 0:
		return ex.sent
	case reason == jobs.ReasonRateLimited, ex.status == http.StatusServiceUnavailable:
		return false
	}
	return ex.status < 400 || ex.status > 499
}

// describe is what happened in words for a person, without secrets and without URLs.
func describe(ex exchange, said problem, to endpoint, s scrubber) error {
	switch {
	case !ex.heldUntil.IsZero():
		return fmt.Errorf("rate bucket %s has no permit for this call before %s; no request was made",
			to.bucket.Key(), ex.heldUntil.UTC().Format(time.RFC3339))
	case ex.status == 0 && ex.ended:
		return fmt.Errorf("no answer: %w", ex.err) // The causes are ours, and callers look for them.
	case ex.status == 0:
		if refused, ok := errors.AsType[*proxy.RefusedError](ex.err); ok {
			return fmt.Errorf("the API was not asked: %w", refused)
		}
		return errors.New("no answer: " + s.text(fmt.Sprint(ex.err)))
	}
	text := fmt.Sprintf("HTTP %d", ex.status)
	if code := s.code(said.code); code != "" {
		text += " " + code
	}
	text += elaborate(ex, said, to, s)
	if ex.err != nil {
		return fmt.Errorf("%s (%w)", text, ex.err)
	}
	return errors.New(text)
}

// elaborate adds what is known beyond status and errorCode.
func elaborate(ex exchange, said problem, to endpoint, s scrubber) string {
	switch {
	case said.detail != "":
		return ": " + s.text(said.detail)
	case said.admin || said.code != "":
		return ""
	case ex.status >= 300 && ex.status <= 399:
		return ": redirects are not followed"
	case ex.status == http.StatusProxyAuthRequired:
		return ": a proxy in between wants a user and password in HTTPS_PROXY"
	case isHTML(ex):
		return " with a page of HTML"
	case ex.status < 300 && ex.err != nil:
		return ", but the body could not be read"
	case ex.status < 300:
		return ", which is no answer to " + to.operation
	}
	return " without an error document"
}

// silentPause is how long a bucket is paused by a rate limit that does not say how long: as long as the first backoff of a
// job.
const silentPause = time.Second

// applyRetryAfter pauses the bucket for as long as the API asks, and notes it in the failure. A rate limit that asks for no
// wait pauses the bucket for a moment all the same.
func (c *Client) applyRetryAfter(ctx context.Context, to endpoint, ex exchange, said problem, f *jobs.Failure) {
	limited := f.Reason == jobs.ReasonRateLimited
	at, ok, odd := retryAt(ex, said)
	c.noteOdd(to, odd)
	if !ok {
		if limited {
			c.limiter.Refused(ctx, ex.sample, ex.at, ex.at.Add(silentPause), said.limit)
		}
		return
	}
	if latest := ex.at.Add(c.limiter.MaxRetryAfter()); at.After(latest) {
		c.log.Warn("the API's Retry-After exceeds retry.retry_after_cap; waiting for the cap", zap.String("operation", to.operation),
			zap.Duration("asked", at.Sub(ex.at)), zap.Time("retry_at", latest))
		at, f.RetryAfterCapped = latest, true
	}
	c.recorder.RetryAfter(to.operation, at.Sub(ex.at))
	if limited {
		f.RetryAt = c.limiter.Refused(ctx, ex.sample, ex.at, at, said.limit)
	} else {
		f.RetryAt = c.limiter.Closed(ctx, ex.sample, at)
	}
}

// retryAt returns when the API accepts the next request. The header counts; where it is
// missing or invalid, the error document. Of several headers the longest counts. odd is an
// invalid one, "" when there is none.
func retryAt(ex exchange, said problem) (latest time.Time, found bool, odd string) {
	for _, value := range ex.header.Values("Retry-After") {
		at, ok := retryafter.Parse(value, ex.header.Get("Date"), ex.at)
		if ok && at.After(latest) {
			latest = at
		}
		if found = found || ok; !ok {
			odd = value
		}
	}
	if !found {
		latest, found = retryafter.Parse(said.wait, "", ex.at)
	}
	return latest, found, odd
}

// noteOdd logs once that a Retry-After is invalid, and what counts instead.
func (c *Client) noteOdd(to endpoint, value string) {
	if value == "" || c.oddNoted.Swap(true) {
		return
	}
	const most = 60 // Runes: longer than any date.
	c.log.Warn("the API's Retry-After is neither seconds nor a date; using the error document or the backoff (logged once)",
		zap.String("operation", to.operation), zap.String("value", shorten(c.scrubber().text(value), most)))
}
