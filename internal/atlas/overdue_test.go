package atlas_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// overdue is a context whose deadline has passed and whose timer has not fired yet, as that of
// a process which goes on after it stood still.
type overdue struct{ context.Context } //nolint:containedctx // It is one.

func (overdue) Deadline() (time.Time, bool) { return time.Now().Add(-time.Second), true }

// TestOverdueAttemptMakesNoCall: by then the job may be another worker's.
func TestOverdueAttemptMakesNoCall(t *testing.T) {
	t.Parallel()
	for _, kind := range []jobs.Kind{kinds.TokenRevoke, kinds.JWKSRevoke} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			client := newClient(t, config(transportFunc(func(req *http.Request) (*http.Response, error) {
				if isTokenRequest(req) { // Which is for all jobs.
					return issue("token", 3600), nil
				}
				t.Error("a request was made")
				return nil, context.DeadlineExceeded
			})))
			answer, err := client.Revoke(overdue{t.Context()}, job(t, kind, "service"))
			failure := failureOf(t, answer, err)
			if failure.Reason != jobs.ReasonUnavailable || failure.MaybeEffective {
				t.Errorf("the failure is %+v", failure)
			}
		})
	}
}
