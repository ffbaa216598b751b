package atlas_test

import (
	"testing"
	"testing/synctest"
	"time"

	"rekey/internal/atlas"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/pace"
)

// TestLateLeave: a leave that is used long after it was given does not count on its token. The
// call takes another one, also one that is kept for urgent jobs, and waits when there is none.
func TestLateLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &limitedAPI{}
		cfg := config(api)
		cfg.UrgentShare = 0.5
		cfg.RateLimits = map[string]atlas.RateLimit{"federation_account": {Limit: pace.Limit{Capacity: 3, Refill: 1, Every: time.Hour}}}
		c := newClient(t, cfg)
		j := job(t, kinds.JWKSRevoke, "key")
		j.Lane = jobs.LaneBulk
		if at := permit(t, c, j); !at.IsZero() {
			t.Fatalf("held until %s", at)
		}
		pass(5 * time.Second)
		revokeWorks(t, c, j) // With a kept token.
		if at := permit(t, c, j); at.IsZero() {
			t.Error("a bulk job was given the last kept token")
		}
		j.Lane = jobs.LaneUrgent
		if at := permit(t, c, j); !at.IsZero() {
			t.Fatalf("held until %s", at)
		}
		pass(5 * time.Second)
		calls := api.calls
		f := revokeFails(t, c, j)
		if f.Reason != jobs.ReasonRateLimited || !f.RetryAt.After(time.Now().Add(50*time.Minute)) || api.calls != calls {
			t.Errorf("%v, to be attempted again in %s, after %d calls", f, time.Until(f.RetryAt), api.calls-calls)
		}
	})
}
