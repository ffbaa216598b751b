package atlas_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// tokenAPI is an API that counts the tokens it issues and knows which of them work.
type tokenAPI struct {
	lifetime int           // Of a token in seconds.
	delay    time.Duration // Of each answer about tokens.

	mu      sync.Mutex
	issued  int
	fail    *http.Response // Instead of a token.
	revoked map[string]bool
	used    []string // The tokens of the calls.
}

func (a *tokenAPI) RoundTrip(req *http.Request) (*http.Response, error) {
	if isTokenRequest(req) {
		select {
		case <-time.After(a.delay):
		case <-req.Context().Done():
			return nil, context.Cause(req.Context())
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if isTokenRequest(req) {
		if a.fail != nil {
			a.issued++
			return a.fail, nil
		}
		a.issued++
		return issue(fmt.Sprintf("token-%d", a.issued), a.lifetime), nil
	}
	token := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
	a.used = append(a.used, token)
	if a.revoked[token] {
		return reply(401, `{"error":401,"reason":"Unauthorized","detail":"You are not authorized for this resource."}`), nil
	}
	return reply(204, ""), nil
}

func (a *tokenAPI) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

func TestTokenShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &tokenAPI{lifetime: 3600, delay: time.Second}
		c := newClient(t, config(api))
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { revokeWorks(t, c, job(t, kinds.JWKSRevoke, "service")) })
		}
		wg.Wait()
		if api.issued != 1 || len(api.used) != 50 {
			t.Errorf("%d tokens for %d calls, want 1 for 50", api.issued, len(api.used))
		}
	})
}

func TestTokenRenewal(t *testing.T) {
	tests := []struct {
		name     string
		lifetime int
		advance  []time.Duration // Each is followed by one call.
		want     []string
	}{
		{name: "an hour: renewed 5 minutes before", lifetime: 3600, advance: []time.Duration{0, 55*time.Minute - 1, 1, time.Minute}, want: []string{"token-1", "token-1", "token-2", "token-2"}},
		{name: "10 minutes: renewed one before", lifetime: 600, advance: []time.Duration{0, 9*time.Minute - 1, 1}, want: []string{"token-1", "token-1", "token-2"}},
		{name: "a second", lifetime: 1, advance: []time.Duration{0, 900*time.Millisecond - 1, 1}, want: []string{"token-1", "token-1", "token-2"}},
		{name: "long expired", lifetime: 3600, advance: []time.Duration{0, 48 * time.Hour}, want: []string{"token-1", "token-2"}},
		{name: "none: 5 minutes", lifetime: 0, advance: []time.Duration{0, 270*time.Second - 1, 1}, want: []string{"token-1", "token-1", "token-2"}},
		{name: "negative: 5 minutes", lifetime: -30, advance: []time.Duration{0, 270*time.Second - 1, 1}, want: []string{"token-1", "token-1", "token-2"}},
		{name: "absurd: a day", lifetime: 1 << 40, advance: []time.Duration{0, 24*time.Hour - 5*time.Minute - 1, 1}, want: []string{"token-1", "token-1", "token-2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := &tokenAPI{lifetime: tt.lifetime}
				c := newClient(t, config(api))
				for _, d := range tt.advance {
					pass(d)
					revokeWorks(t, c, job(t, kinds.JWKSRevoke, "service"))
				}
				if diff := cmp.Diff(tt.want, api.used); diff != "" {
					t.Errorf("tokens of the calls (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestTokenRenewalFails: while the old token lives, a token endpoint that is down stops no call
// and is not asked at each call.
func TestTokenRenewalFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &tokenAPI{lifetime: 3600}
		c := newClient(t, config(api))
		j := job(t, kinds.JWKSRevoke, "service")
		revokeWorks(t, c, j)
		api.set(func() { api.fail = reply(503, "<html>") })
		pass(56 * time.Minute)
		for range 10 {
			revokeWorks(t, c, j)
		}
		if api.issued != 2 {
			t.Errorf("%d requests for tokens, want 2", api.issued)
		}
		pass(30 * time.Second)
		revokeWorks(t, c, j)
		if api.issued != 3 {
			t.Errorf("%d requests for tokens after the pause, want 3", api.issued)
		}
		pass(4 * time.Minute)
		if f := revokeFails(t, c, j); f.Reason != jobs.ReasonUnavailable || f.MaybeEffective {
			t.Errorf("with the token expired: %+v", f)
		}
		api.set(func() { api.fail = nil })
		revokeWorks(t, c, j)
	})
}

// TestTokenRenewalDelaysNoCall: during a renewal the old token serves.
func TestTokenRenewalDelaysNoCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &tokenAPI{lifetime: 3600}
		c := newClient(t, config(api))
		j := job(t, kinds.JWKSRevoke, "service")
		revokeWorks(t, c, j)
		api.set(func() { api.delay = 10 * time.Second })
		pass(56 * time.Minute)
		var wg sync.WaitGroup
		wg.Go(func() { revokeWorks(t, c, j) })
		synctest.Wait()
		start := time.Now()
		revokeWorks(t, c, j)
		if took := time.Since(start); took != 0 {
			t.Errorf("a call waited %s for the renewal", took)
		}
		wg.Wait()
		if diff := cmp.Diff([]string{"token-1", "token-1", "token-2"}, api.used); diff != "" {
			t.Errorf("tokens of the calls (-want +got):\n%s", diff)
		}
	})
}

// TestTokenWaitersAreIndependent: one caller's end is not the others' and the last caller's
// end is that of the request.
func TestTokenWaitersAreIndependent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &tokenAPI{lifetime: 3600, delay: 20 * time.Second}
		c := newClient(t, config(api))
		j := job(t, kinds.JWKSRevoke, "service")
		stopping := errors.New("stopping")
		first, cancel := context.WithCancelCause(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := c.Revoke(first, j)
			f, ok := errors.AsType[*jobs.Failure](err)
			if !ok || f.Reason != jobs.ReasonUnavailable || f.MaybeEffective || !errors.Is(err, stopping) {
				t.Errorf("the cancelled call: %v", err)
			}
		})
		synctest.Wait()
		wg.Go(func() { revokeWorks(t, c, j) })
		synctest.Wait()
		cancel(stopping)
		wg.Wait()
		if api.issued != 1 {
			t.Errorf("%d requests for tokens, want 1", api.issued)
		}

		start := time.Now()
		pass(2 * time.Hour)
		only, cancelOnly := context.WithTimeoutCause(t.Context(), time.Second, stopping)
		defer cancelOnly()
		if _, err := c.Revoke(only, j); !errors.Is(err, stopping) {
			t.Errorf("the only call: %v", err)
		}
		if took := time.Since(start) - 2*time.Hour; took != time.Second {
			t.Errorf("the only call took %s", took)
		}
		revokeWorks(t, c, j) // Nothing of the abandoned request is in the way.
	})
}

func TestTokenFailureIsNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &tokenAPI{delay: time.Second, fail: reply(500, "")}
		c := newClient(t, config(api))
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				f := revokeFails(t, c, job(t, kinds.JWKSRevoke, "service"))
				f.Err = fmt.Errorf("call %d: %w", i, f.Err) // The runner does this; the race detector looks on.
			})
		}
		wg.Wait()
		if api.issued != 1 {
			t.Errorf("%d requests for tokens, want 1", api.issued)
		}
	})
}

func TestFreshTokenOn401(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &tokenAPI{lifetime: 3600, delay: time.Second, revoked: map[string]bool{"token-1": true}}
		c := newClient(t, config(api))
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { revokeWorks(t, c, job(t, kinds.JWKSRevoke, "service")) })
		}
		wg.Wait()
		if api.issued != 2 || len(api.used) != 40 {
			t.Errorf("%d tokens for %d calls, want 2 for 40", api.issued, len(api.used))
		}
	})
}

// TestLate401: a 401 that comes when others have fetched a fresh token already costs none.
func TestLate401(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &tokenAPI{lifetime: 3600, revoked: map[string]bool{"token-1": true}}
		late := true
		c := newClient(t, config(transportFunc(func(req *http.Request) (*http.Response, error) {
			if !isTokenRequest(req) && late {
				late = false
				pass(10 * time.Second)
			}
			return api.RoundTrip(req)
		})))
		j := job(t, kinds.JWKSRevoke, "service")
		var wg sync.WaitGroup
		wg.Go(func() { revokeWorks(t, c, j) })
		synctest.Wait()
		revokeWorks(t, c, j)
		wg.Wait()
		if diff := cmp.Diff([]string{"token-1", "token-2", "token-1", "token-2"}, api.used); diff != "" {
			t.Errorf("tokens of the calls (-want +got):\n%s", diff)
		}
	})
}

func TestFreshTokenIsRefused(t *testing.T) {
	api := &tokenAPI{lifetime: 3600, revoked: map[string]bool{"token-1": true, "token-2": true}}
	c := newClient(t, config(api))
	f := revokeFails(t, c, job(t, kinds.JWKSRevoke, "service"))
	if f.Reason != jobs.ReasonUnauthorized || f.MaybeEffective || f.Answer.Status != 401 {
		t.Errorf("got %+v (%v)", f, f)
	}
	if want := "HTTP 401: You are not authorized for this resource."; f.Err.Error() != want {
		t.Errorf("error %q, want %q", f.Err, want)
	}
	if diff := cmp.Diff([]string{"token-1", "token-2"}, api.used); diff != "" {
		t.Errorf("tokens of the calls (-want +got):\n%s", diff)
	}
	if err := c.CheckAccounts(t.Context()); err == nil || !strings.Contains(err.Error(), "account service: its last authentication was refused: HTTP 401") {
		t.Errorf("CheckAccounts() = %v", err)
	}
	revokeWorks(t, c, job(t, kinds.JWKSRevoke, "service"))
	if err := c.CheckAccounts(t.Context()); err != nil {
		t.Errorf("CheckAccounts() after a success = %v", err)
	}
}

// TestFreshTokenCannotBeHad: the failure is that of the token endpoint.
func TestFreshTokenCannotBeHad(t *testing.T) {
	api := &tokenAPI{lifetime: 3600}
	c := newClient(t, config(api))
	revokeWorks(t, c, job(t, kinds.JWKSRevoke, "service"))
	api.revoked = map[string]bool{"token-1": true}
	api.fail = reply(403, `{"error":"access_denied","error_description":"100 tokens."}`)
	f := revokeFails(t, c, job(t, kinds.JWKSRevoke, "service"))
	if want := "fetching a bearer token: HTTP 403 access_denied: 100 tokens."; f.Reason != jobs.ReasonForbidden || f.Err.Error() != want {
		t.Errorf("got %v, want %s", f, want)
	}
}
