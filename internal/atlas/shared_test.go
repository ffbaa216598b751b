package atlas_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"rekey/internal/atlas"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/pace"
)

const keyBucket = "federation_account/abcdefgh" // Of jobs on the JWKS by the API key.

// TestPausesAreShared: a pause of one worker holds for all, and foreign states do no harm.
func TestPausesAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newStore()
		cfg := config(&limitedAPI{limited: "/jwks"})
		cfg.Pace = shared
		first, second := newClient(t, cfg), newClient(t, cfg)
		defer runs(t, first)()
		defer runs(t, second)()
		synctest.Wait()
		j := job(t, kinds.JWKSRevoke, "key")
		revokeFails(t, first, j)
		if got := time.Until(second.Permit(t.Context(), j).NotBefore); got != time.Minute {
			t.Errorf("the other worker is held for %s, want 1m", got)
		}
		if diff := cmp.Diff([]string{keyBucket}, shared.keys()); diff != "" {
			t.Errorf("buckets (-want +got):\n%s", diff)
		}
		hear := func(key string, until time.Time, revision uint64) {
			var s pace.State
			s.Close(until)
			for _, changed := range shared.listeners {
				changed(key, s, revision)
			}
		}
		hear(keyBucket, time.Now().Add(1000*time.Hour), 9)
		if got := time.Until(second.Permit(t.Context(), j).NotBefore); got != 6*time.Hour {
			t.Errorf("after an absurd pause: held for %s, want 6h", got)
		}
		hear(keyBucket, time.Now().Add(-time.Hour), 8)
		if got := time.Until(second.Permit(t.Context(), j).NotBefore); got != 6*time.Hour {
			t.Errorf("after an older state: held for %s, want 6h", got)
		}
		for _, key := range []string{"no key\n", "", "no_set/abcdefgh", "x509_project/" + strings.Repeat("x", 300)} {
			hear(key, time.Now().Add(time.Hour), 1)
		}
		pass(6 * time.Hour)
		if at := permit(t, second, j); !at.IsZero() {
			t.Errorf("held until %s after the pause", at)
		}
	})
}

// TestPauseFromBefore: a pause from before a restart holds for the first call, however early
// that is.
func TestPauseFromBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newStore()
		var s pace.State
		s.Close(time.Now().Add(time.Minute))
		if _, err := shared.Save(t.Context(), keyBucket, s, 0); err != nil {
			t.Fatal(err)
		}
		api := &limitedAPI{}
		cfg := config(api)
		cfg.Pace = shared
		c := newClient(t, cfg)
		asked := make(chan jobs.Permit)
		go func() { asked <- c.Permit(t.Context(), job(t, kinds.JWKSRevoke, "key")) }()
		synctest.Wait() // It waits for what the others know.
		start := time.Now()
		defer runs(t, c)()
		if got := (<-asked).NotBefore; !got.Equal(start.Add(time.Minute)) {
			t.Errorf("not before %s, want the end of the pause", got)
		}
		if f := revokeFails(t, c, job(t, kinds.JWKSRevoke, "key")); f.Reason != jobs.ReasonRateLimited || api.calls != 0 {
			t.Errorf("%v after %d calls", f, api.calls)
		}
	})
}

// TestClocks: a worker whose clock is behind the shared one by 90 to 100 ms makes no call early,
// and tells the others of no pause that is too short.
func TestClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newStore()
		shared.least, shared.most = 90*time.Millisecond, 100*time.Millisecond
		cfg := config(&limitedAPI{limited: "/jwks"})
		cfg.Pace = shared
		c := newClient(t, cfg)
		defer runs(t, c)()
		start, j := time.Now(), job(t, kinds.JWKSRevoke, "key")
		revokeFails(t, c, j)
		s := shared.states[keyBucket]
		if got := s.Paused(start).Sub(start); got != time.Minute+shared.most {
			t.Errorf("on the shared clock the bucket is closed for %s", got)
		}
		if got := c.Permit(t.Context(), j).NotBefore.Sub(start); got != time.Minute+10*time.Millisecond {
			t.Errorf("on ours it is closed for %s", got)
		}
	})
}

// TestStoreFails: the local estimate holds, and the log says it once.
func TestStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared, rec := newStore(), newRecorder()
		shared.mend(errors.New("no KV"))
		core, logs := observer.New(zap.InfoLevel)
		cfg := config(&limitedAPI{limited: "/jwks"})
		cfg.Pace, cfg.Logger, cfg.Recorder = shared, zap.New(core), rec
		cfg.RateLimits = map[string]atlas.RateLimit{"x509_project": {Limit: pace.Limit{Capacity: 3, Refill: 1, Every: time.Hour}}}
		c := newClient(t, cfg)
		defer runs(t, c)()
		j := job(t, kinds.JWKSRevoke, "key")
		for range 3 {
			revokeFails(t, c, j)
			if got := time.Until(c.Permit(t.Context(), j).NotBefore); got < time.Minute {
				t.Errorf("held for %s, want at least 1m", got)
			}
			pass(10 * time.Minute)
		}
		x509, calls := job(t, kinds.X509Disable, "key"), 0
		for permit(t, c, x509).IsZero() {
			calls++
		}
		if calls != 3 {
			t.Errorf("by its own estimate the bucket took %d calls, want 3", calls)
		}
		if n := logs.Len(); n != 1 || rec.shared || !strings.Contains(fmt.Sprint(logs.All()[0].ContextMap()["error"]), "no KV") {
			t.Errorf("%d lines in the log, shared is %t: %v", n, rec.shared, logs.All())
		}
		shared.mend(nil)
		pass(time.Hour + time.Second) // A second, for the calls may have been under way.
		if at := permit(t, c, x509); !at.IsZero() || logs.Len() != 2 || !rec.shared || shared.saves == 0 {
			t.Errorf("after the store came back: held until %s, %d lines in the log, shared is %t", at, logs.Len(), rec.shared)
		}
		shared.mend(errors.New("no KV again"))
		pass(time.Hour)
		permit(t, c, x509)
		if n := logs.Len(); n != 3 {
			t.Errorf("%d lines in the log after the second breakdown, want 3", n)
		}
	})
}

// TestStoreIsSilent: the first call waits a limited time for the states of the other workers.
func TestStoreIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(&limitedAPI{})
		cfg.Pace = newStore()
		c := newClient(t, cfg) // Its Run does not run.
		start := time.Now()
		revokeWorks(t, c, job(t, kinds.JWKSRevoke, "key"))
		if got := time.Since(start); got != 2*time.Second {
			t.Errorf("the first call waited %s, want 2s", got)
		}
		revokeWorks(t, c, job(t, kinds.JWKSRevoke, "key"))
		if got := time.Since(start); got != 2*time.Second {
			t.Errorf("the second call waited, too")
		}
	})
}

// TestPauseAfterTheEnd: what the API said holds for all, although the attempt was cut off.
func TestPauseAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		shared, api := newStore(), &limitedAPI{limited: "/jwks"}
		cfg := config(transportFunc(func(req *http.Request) (*http.Response, error) {
			cancel()
			return api.RoundTrip(req)
		}))
		cfg.Pace = shared
		c := newClient(t, cfg)
		defer runs(t, c)()
		answer, err := c.Revoke(ctx, job(t, kinds.JWKSRevoke, "key"))
		failureOf(t, answer, err)
		if diff := cmp.Diff([]string{keyBucket}, shared.keys()); diff != "" {
			t.Errorf("buckets (-want +got):\n%s", diff)
		}
	})
}
