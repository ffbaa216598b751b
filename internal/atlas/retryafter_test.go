package atlas_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// TestOddRetryAfter: a header that makes no sense is ignored, and said once.
func TestOddRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.WarnLevel)
		cfg := config(transportFunc(func(*http.Request) (*http.Response, error) {
			return reply(503, "", "Retry-After", "soon, "+clientSecret), nil
		}))
		cfg.Logger = zap.New(core)
		c := newClient(t, cfg)
		for range 3 {
			if f := revokeFails(t, c, job(t, kinds.TokenRevoke, "service")); !f.RetryAt.IsZero() {
				t.Errorf("RetryAt is %s", f.RetryAt)
			}
		}
		lines := logs.All()
		if len(lines) != 1 || lines[0].ContextMap()["value"] != "soon, [secret]" || lines[0].ContextMap()["operation"] != "token.revoke" {
			t.Errorf("logged %v, want one line with the value", lines)
		}
	})
}

// TestRetryAfter is how long failures ask to wait, and what that does to the bucket.
func TestRetryAfter(t *testing.T) {
	const limited = "RATE_LIMITED_TOKEN_BUCKET"
	detail := "Rate limit exceeded for api/atlas/v2/orgs. Please retry after 55 seconds. Request capacity: 10."
	tests := []struct {
		name       string
		kind       jobs.Kind // Default kinds.JWKSRevoke.
		status     int
		headers    []string
		body       string
		want       time.Duration // Of RetryAt; 0 for none, or now.
		wantPause  time.Duration
		wantCapped bool
	}{
		{name: "429 seconds", status: 429, headers: []string{"Retry-After", "3"}, want: 3 * time.Second, wantPause: 3 * time.Second},
		{name: "503 seconds", status: 503, headers: []string{"Retry-After", "3"}, want: 3 * time.Second, wantPause: 3 * time.Second},
		{name: "400 that is a rate limit", status: 400, headers: []string{"Retry-After", "3"}, body: adminProblem(400, limited, "x"), want: 3 * time.Second, wantPause: 3 * time.Second},
		{name: "500 is not obeyed", status: 500, headers: []string{"Retry-After", "3"}},
		{name: "409 is not obeyed", status: 409, headers: []string{"Retry-After", "3"}},
		{name: "429 date", status: 429, headers: []string{"Retry-After", "Sat, 01 Jan 2000 00:01:00 GMT"}, want: time.Minute, wantPause: time.Minute},
		{name: "429 decimals", status: 429, headers: []string{"Retry-After", "2.1"}, want: 3 * time.Second, wantPause: 3 * time.Second},
		{name: "429 date in UTC", status: 429, headers: []string{"Retry-After", "Sat, 01 Jan 2000 00:01:00 UTC"}, want: time.Minute, wantPause: time.Minute},
		{name: "503 date with +0000", status: 503, headers: []string{"Retry-After", "Sat, 01 Jan 2000 00:01:00 +0000"}, want: time.Minute, wantPause: time.Minute},
		{name: "429 obsolete date", status: 429, headers: []string{"Retry-After", "Saturday, 01-Jan-00 00:01:00 GMT"}, want: time.Minute, wantPause: time.Minute},
		{name: "429 decimals in the text", status: 429, body: adminProblem(429, limited, "Please retry after 2.5 seconds."), want: 3 * time.Second, wantPause: 3 * time.Second},
		{name: "429 several", status: 429, headers: []string{"Retry-After", "3", "Retry-After", "x", "Retry-After", "9", "Retry-After", "4"}, want: 9 * time.Second, wantPause: 9 * time.Second},
		{name: "429 zero", status: 429, headers: []string{"Retry-After", "0"}},
		{name: "429 past", status: 429, headers: []string{"Retry-After", "Sat, 01 Jan 1999 00:01:00 GMT"}},
		{name: "429 silent", status: 429, wantPause: time.Second},
		{name: "429 garbage", status: 429, headers: []string{"Retry-After", "-3"}, wantPause: time.Second},
		{name: "503 silent", status: 503},
		{name: "429 capped", status: 429, headers: []string{"Retry-After", "999999999999999999999"}, want: 6 * time.Hour, wantPause: 6 * time.Hour, wantCapped: true},
		{name: "429 at the cap", status: 429, headers: []string{"Retry-After", "21600"}, want: 6 * time.Hour, wantPause: 6 * time.Hour},
		{name: "429 parameters", status: 429, body: adminProblem(429, limited, "x", "api/atlas/v2/orgs", 55, 10, 5, 60), want: 55 * time.Second, wantPause: 55 * time.Second},
		{name: "429 parameters with a fraction", status: 429, body: adminProblem(429, limited, "x", "p", 1.2), want: 2 * time.Second, wantPause: 2 * time.Second},
		{name: "429 absurd parameters", status: 429, body: adminProblem(429, limited, "x", "p", 1e300), want: 6 * time.Hour, wantPause: 6 * time.Hour, wantCapped: true},
		{name: "429 text", status: 429, body: adminProblem(429, limited, detail), want: 55 * time.Second, wantPause: 55 * time.Second},
		{name: "429 text and bad parameters", status: 429, body: adminProblem(429, limited, detail, "p", "many"), want: 55 * time.Second, wantPause: 55 * time.Second},
		{name: "the header comes first", status: 429, headers: []string{"Retry-After", "3"}, body: adminProblem(429, limited, detail, "p", 55), want: 3 * time.Second, wantPause: 3 * time.Second},
		{name: "oauth text", kind: kinds.TokenRevoke, status: 429, body: `{"error":"rate_limited","error_description":"Retry after 7 seconds."}`, want: 7 * time.Second, wantPause: 7 * time.Second},
		{name: "parameters of another error", status: 503, body: adminProblem(503, "DOWN", detail, "p", 55)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if tt.kind == "" {
					tt.kind = kinds.JWKSRevoke
				}
				rec := newRecorder()
				core, logs := observer.New(zap.WarnLevel)
				cfg := config(transportFunc(func(req *http.Request) (*http.Response, error) {
					if isTokenRequest(req) {
						return issue(bearerToken, 3600), nil
					}
					return reply(tt.status, tt.body, tt.headers...), nil
				}))
				cfg.Recorder, cfg.Logger = rec, zap.New(core)
				c := newClient(t, cfg)
				j := job(t, tt.kind, "service")
				f := revokeFails(t, c, j)
				if got := max(0, time.Until(f.RetryAt)); got != tt.want || f.RetryAfterCapped != tt.wantCapped {
					t.Errorf("RetryAt is %s from now, capped %v, want %s, %v", got, f.RetryAfterCapped, tt.want, tt.wantCapped)
				}
				if got := max(0, time.Until(c.Permit(t.Context(), j).NotBefore)); got != tt.wantPause {
					t.Errorf("the bucket is paused for %s, want %s", got, tt.wantPause)
				}
				if got := rec.waits[string(tt.kind)]; got != tt.want {
					t.Errorf("recorded a wait of %s, want %s", got, tt.want)
				}
				if got := logs.FilterMessageSnippet("exceeds retry.retry_after_cap").Len(); (got == 1) != tt.wantCapped {
					t.Errorf("%d lines in the log say that the wait was capped", got)
				}
			})
		})
	}
}
