package proof

import (
	"errors"
	"testing"

	"rekey/internal/jobs"
)

// TestUnread: a look that was not made has not failed.
func TestUnread(t *testing.T) {
	t.Parallel()
	held := errors.New("rate bucket a has no permit; no request was made")
	for want, failure := range map[string]*jobs.Failure{
		"nothing was read: rate bucket a has no permit; no request was made": {Reason: jobs.ReasonRateLimited, Err: held},
		"the read failed: rate_limited: HTTP 429":                            {Reason: jobs.ReasonRateLimited, Answer: jobs.Answer{Status: 429}, Err: errors.New("HTTP 429")},
		"the read failed: unavailable: no answer":                            {Reason: jobs.ReasonUnavailable, Err: errors.New("no answer")},
	} {
		if got := unread(failure); got != want {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
}
