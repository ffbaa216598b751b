package atlas_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/atlas"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/pace"
)

// limitedAPI answers 429 to the paths that end so, and everything else well.
type limitedAPI struct {
	mu      sync.Mutex
	limited string // End of a path; "" for none.
	calls   int
}

func (a *limitedAPI) limit(suffix string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.limited = suffix
}

func (a *limitedAPI) RoundTrip(req *http.Request) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls++
	switch {
	case a.limited != "" && strings.HasSuffix(req.URL.Path, a.limited):
		return reply(429, "", "Retry-After", "60"), nil
	case isTokenRequest(req):
		return issue(bearerToken, 3600), nil
	case strings.HasSuffix(req.URL.Path, "/revoke"):
		return reply(200, ""), nil
	case strings.HasSuffix(req.URL.Path, "/customerX509"):
		return reply(202, "{}"), nil
	}
	return reply(204, ""), nil
}

// TestPause: which other jobs a 429 holds up. Every job is of the service account, which has
// no token yet.
func TestPause(t *testing.T) {
	const otherProject, otherOrg = "111111111111111111111111", "222222222222222222222222"
	all := func(t *testing.T) map[string]jobs.Job {
		return map[string]jobs.Job{
			"token":         job(t, kinds.TokenRevoke, "service"),
			"jwks":          job(t, kinds.JWKSRevoke, "service"),
			"jwks by key":   job(t, kinds.JWKSRevoke, "key"),
			"idp":           job(t, kinds.IDPDelete, "service"),
			"mapping":       job(t, kinds.RoleMappingDelete, "service"),
			"x509":          job(t, kinds.X509Disable, "service"),
			"x509 by key":   job(t, kinds.X509Disable, "key"),
			"other project": jobWith(t, kinds.X509Disable, "service", map[string]any{"project_id": otherProject}),
			"other org": jobWith(t, kinds.RoleMappingDelete, "service", map[string]any{
				"federation_id": idA, "org_id": otherOrg, "role_mapping_id": idC,
			}),
		}
	}
	tests := []struct {
		name, limited string
		job           string
		want          []string
	}{
		{name: "token endpoint", limited: "/token", job: "jwks", want: []string{"idp", "jwks", "mapping", "other org", "other project", "x509"}},
		{name: "revocation endpoint", limited: "/revoke", job: "token", want: []string{"token"}},
		{name: "jwks", limited: "/jwks", job: "jwks", want: []string{"idp", "jwks"}},
		{name: "idp", limited: idB, job: "idp", want: []string{"idp", "jwks"}},
		{name: "mapping", limited: idC, job: "mapping", want: []string{"mapping"}},
		{name: "x509", limited: "/customerX509", job: "x509", want: []string{"x509", "x509 by key"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := &limitedAPI{limited: tt.limited}
				c := newClient(t, config(api))
				start := time.Now()
				revokeFails(t, c, all(t)[tt.job])
				var held []string
				for name, j := range all(t) {
					if until := c.Permit(t.Context(), j).NotBefore; until.Equal(start.Add(time.Minute)) {
						held = append(held, name)
					} else if !until.IsZero() {
						t.Errorf("%s is held until %s from now", name, time.Until(until))
					}
				}
				slices.Sort(held)
				if diff := cmp.Diff(tt.want, held); diff != "" {
					t.Errorf("held jobs (-want +got):\n%s", diff)
				}
				// No call leaves before the moment, although the runner may have let it pass.
				api.limit("")
				calls := api.calls
				pass(time.Minute - 1)
				f := revokeFails(t, c, all(t)[tt.job])
				if f.Reason != jobs.ReasonRateLimited || !f.RetryAt.Equal(start.Add(time.Minute)) || f.MaybeEffective || api.calls != calls {
					t.Errorf("during the pause: %+v (%v) after %d calls", f, f, api.calls-calls)
				}
				pass(1)
				if until := permit(t, c, all(t)[tt.job]); !until.IsZero() {
					t.Errorf("held until %s after the pause", until)
				}
				revokeWorks(t, c, all(t)[tt.job])
			})
		})
	}
}

// TestPausedTokenBucket holds bearer jobs only while they would need a token.
func TestPausedTokenBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &limitedAPI{}
		c := newClient(t, config(api))
		j := job(t, kinds.JWKSRevoke, "service")
		revokeWorks(t, c, j)
		api.limit("/token")
		pass(56 * time.Minute) // The renewal is refused and pauses the bucket.
		revokeWorks(t, c, j)
		if until := permit(t, c, j); !until.IsZero() {
			t.Errorf("held for %s although there is a token", time.Until(until))
		}
		calls := api.calls
		pass(31 * time.Second)
		revokeWorks(t, c, j)
		if got := api.calls - calls; got != 1 {
			t.Errorf("%d calls during the pause, want 1 without a renewal", got)
		}
		pass(3*time.Minute + 28*time.Second)
		revokeWorks(t, c, j) // Refused again, a second before the token ends.
		pass(2 * time.Second)
		if got := time.Until(c.Permit(t.Context(), j).NotBefore); got != time.Minute+58*time.Second {
			t.Errorf("held for %s without a token, want 1m58s: it was the second refusal in a row", got)
		}
	})
}

func TestRunAlone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newClient(t, config(&limitedAPI{})).Run(ctx); err != nil {
		t.Errorf("Run() = %v", err)
	}
}

func TestRecorder(t *testing.T) {
	rec := newRecorder()
	failed := false
	cfg := config(transportFunc(func(req *http.Request) (*http.Response, error) {
		switch {
		case isTokenRequest(req):
			return issue(bearerToken, 3600), nil
		case !failed:
			failed = true
			return nil, errors.New("connection refused")
		}
		return reply(429, "", "RateLimit-Remaining", "7", "RateLimit-Limit", "10", "Retry-After", "30"), nil
	}))
	cfg.Recorder = rec
	c := newClient(t, cfg)
	revokeFails(t, c, job(t, kinds.X509Disable, "service"))
	revokeFails(t, c, job(t, kinds.X509Disable, "service"))
	if diff := cmp.Diff([]string{"token 200", "x509.disable error", "x509.disable 429"}, rec.seen()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]float64{"x509_project": 7}, rec.tokens); diff != "" {
		t.Errorf("tokens (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]time.Duration{"x509.disable": 30 * time.Second}, rec.waits); diff != "" {
		t.Errorf("waits (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"token", "read", "rate_limits", "token.revoke", "jwks.revoke", "x509.disable", "idp.delete", "role_mapping.delete",
		"service_account_secret.delete", "service_account.delete", "api_key.delete", "database_user.delete", "database_user.scramble",
		"org_user.remove", "project_user.remove", "service_account_secret.rotate", "api_key.rotate",
	}, atlas.Operations()); diff != "" {
		t.Errorf("Operations() (-want +got):\n%s", diff)
	}
	if !slices.Contains(atlas.Buckets(), "x509_project") || len(atlas.Buckets()) != 17 {
		t.Errorf("Buckets() = %v", atlas.Buckets())
	}
}

// TestFullBuckets: a bucket whose limit is known is shown as full before the first call.
func TestFullBuckets(t *testing.T) {
	rec := newRecorder()
	cfg := config(&limitedAPI{})
	cfg.BaseURL, cfg.Recorder = "https://cloud.mongodb.com", rec
	cfg.RateLimits = map[string]atlas.RateLimit{
		"x509_project": {Limit: pace.Limit{Capacity: 20, Refill: 5, Every: time.Minute}},
		"oauth_token":  {Limit: pace.Limit{Capacity: 4, Refill: 4, Every: time.Minute}},
	}
	newClient(t, cfg)
	want := map[string]float64{"x509_project": 20, "oauth_token": 4, "oauth_revoke": 10}
	if diff := cmp.Diff(want, rec.tokens); diff != "" {
		t.Errorf("tokens (-want +got):\n%s", diff)
	}
}

func TestTurnOfUnknown(t *testing.T) {
	c := newClient(t, config(&limitedAPI{}))
	for _, j := range []jobs.Job{{Kind: kinds.JWKSRevoke, Account: "stranger"}, {Kind: "x", Account: "key"}} {
		if until := permit(t, c, j); !until.IsZero() {
			t.Errorf("%v is held until %s", j, until)
		}
	}
}
