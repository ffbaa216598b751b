package atlas_test

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// TestProbe: the leaked token goes to the configured API alone, as a bearer token of its own call, and into no text.
func TestProbe(t *testing.T) {
	ended := func(at time.Time) string {
		return "eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, at.Unix())) + ".c2ln"
	}
	future := time.Now().Add(time.Hour).Truncate(time.Second).UTC()
	tests := []struct {
		name       string
		token      string
		answers    []*http.Response
		wantStatus int
		wantEnds   time.Time
		wantReason jobs.Reason
		wantPaths  string
	}{
		{name: "refused", answers: []*http.Response{reply(401, "")}, wantStatus: 401, wantPaths: "/api/atlas/v2"},
		{name: "refused before its end", token: ended(future), answers: []*http.Response{reply(401, "")}, wantStatus: 401, wantEnds: future, wantPaths: "/api/atlas/v2"},
		{name: "works", answers: []*http.Response{reply(200, `{"token":"`+revokedToken+`"}`)}, wantStatus: 200, wantPaths: "/api/atlas/v2"},
		{name: "no role", answers: []*http.Response{reply(401, adminProblem(401, "USER_UNAUTHORIZED", "x"))}, wantStatus: 403, wantPaths: "/api/atlas/v2"},
		{name: "wrong network", answers: []*http.Response{reply(403, "")}, wantStatus: 403, wantPaths: "/api/atlas/v2"},
		{name: "a page of a proxy", answers: []*http.Response{reply(401, "<html>", "Content-Type", "text/html")}, wantReason: jobs.ReasonUnauthorized, wantPaths: "/api/atlas/v2"},
		{
			name: "the API does not have the first", answers: []*http.Response{reply(404, ""), reply(406, ""), reply(401, "")}, wantStatus: 401,
			wantPaths: "/api/atlas/v2 /api/atlas/v2/orgs /api/atlas/v2/groups",
		},
		{name: "redirect", answers: []*http.Response{reply(307, "", "Location", "https://evil.test/")}, wantReason: jobs.ReasonProtocol, wantPaths: "/api/atlas/v2"},
		{name: "rate limit", answers: []*http.Response{reply(429, "", "Retry-After", "7")}, wantReason: jobs.ReasonRateLimited, wantPaths: "/api/atlas/v2"},
		{name: "no JSON", answers: []*http.Response{reply(200, "ok")}, wantReason: jobs.ReasonProtocol, wantPaths: "/api/atlas/v2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			token := tt.token
			if token == "" {
				token = revokedToken
			}
			var paths []string
			core, logs := observer.New(zap.DebugLevel)
			cfg := config(api(func(req *http.Request) *http.Response {
				if req.URL.Host != "atlas.test" || req.Header.Get("Authorization") != "Bearer "+token || req.Method != http.MethodGet {
					t.Errorf("the token went to %s %s as %q", req.Method, req.URL, req.Header.Get("Authorization"))
				}
				paths = append(paths, req.URL.Path)
				return tt.answers[len(paths)-1]
			}))
			cfg.Logger = zap.New(core)
			seen, err := readFirst(t, newClient(t, cfg), jobWith(t, kinds.TokenRevoke, "service", map[string]any{"token": token}))
			if f, _ := errors.AsType[*jobs.Failure](err); seen.Status != tt.wantStatus || (f == nil) != (tt.wantReason == "") || f != nil && f.Reason != tt.wantReason {
				t.Errorf("%+v, %v, want %d or %s", seen, err, tt.wantStatus, tt.wantReason)
			}
			if !seen.Ends.Equal(tt.wantEnds) || seen.Document != nil {
				t.Errorf("ends at %s, with a document %s", seen.Ends, seen.Document)
			}
			if got := strings.Join(paths, " "); got != tt.wantPaths {
				t.Errorf("reads %s, want %s", got, tt.wantPaths)
			}
			if text := fmt.Sprint(err, logs.All()); strings.Contains(text, token) {
				t.Errorf("the token is in %s", text)
			}
		})
	}
}

// leakedJob is a job for the secret of an account that is not configured, which a search has found.
func leakedJob(t *testing.T) jobs.Job {
	t.Helper()
	return found(jobWith(t, kinds.ServiceAccountSecretDelete, "service", map[string]any{"org_id": idA, "secret": "mdb_sa_sk_leakedleaked1234"}),
		map[string]string{"client_id": leakedClient, "secret_id": idB})
}

// TestMintedTokenIsRevoked: a live secret gets a token, which is revoked at once, whatever happens to the check meanwhile.
func TestMintedTokenIsRevoked(t *testing.T) {
	const minted = "canary.minted.token-9"
	tests := []struct {
		name       string
		mint       *http.Response
		revokes    []int  // Statuses of the revocations.
		later      string // Their Retry-After; "" is 2.
		stopped    bool   // The check is given up while it waits for the token.
		wantStatus int
		wantCode   string
		wantReason jobs.Reason
		wantLogged bool
	}{
		{name: "dead", mint: reply(401, `{"error":"invalid_client"}`, "Content-Type", asJSON), wantStatus: 401, wantCode: "invalid_client"},
		{name: "alive", mint: issue(minted, 3600), revokes: []int{200}, wantStatus: 200},
		{name: "alive, given up", mint: issue(minted, 3600), revokes: []int{200}, stopped: true, wantStatus: 200},
		{name: "alive, given up while it waits", mint: issue(minted, 3600), revokes: []int{429}, later: "9", stopped: true, wantStatus: 200, wantLogged: true},
		{name: "alive, revoked later", mint: issue(minted, 3600), revokes: []int{503, 429, 200}, wantStatus: 200},
		{name: "alive, never revoked", mint: issue(minted, 3600), revokes: []int{500, 500, 500, 500}, wantStatus: 200, wantLogged: true},
		{name: "no token left", mint: reply(403, `{"error":"access_denied"}`, "Content-Type", asJSON), wantStatus: 403, wantCode: "access_denied"},
		{name: "rate limit", mint: reply(429, `{"error":"rate_limited"}`, "Retry-After", "9"), wantReason: jobs.ReasonRateLimited},
		{name: "a page of a proxy", mint: reply(401, "<html>"), wantReason: jobs.ReasonUnauthorized},
		{name: "no endpoint", mint: reply(404, ""), wantReason: jobs.ReasonProtocol},
		{name: "no token in it", mint: reply(200, "{}"), wantReason: jobs.ReasonProtocol},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				revoked := 0
				core, logs := observer.New(zap.DebugLevel)
				cfg := config(transportFunc(func(req *http.Request) (*http.Response, error) {
					id, value, _ := req.BasicAuth()
					if id != leakedClient || value != "mdb_sa_sk_leakedleaked1234" || req.URL.Host != "atlas.test" {
						t.Errorf("%s as %s", req.URL, id)
					}
					if isTokenRequest(req) {
						if tt.stopped {
							stop()
						}
						return tt.mint, nil
					}
					if err := req.ParseForm(); err != nil || req.PostForm.Get("token") != minted || req.URL.Path != "/api/oauth/revoke" {
						t.Errorf("%s with %v, %v", req.URL, req.PostForm, err)
					}
					revoked++
					return reply(tt.revokes[revoked-1], "", "Retry-After", cmp.Or(tt.later, "2")), nil
				}))
				cfg.Logger = zap.New(core)
				j := leakedJob(t)
				seen, err := newClient(t, cfg).Read(ctx, j, kinds.Of(j.Kind).Proof.Checks[0])
				if f, _ := errors.AsType[*jobs.Failure](err); seen.Status != tt.wantStatus || seen.Code != tt.wantCode || (f == nil) != (tt.wantReason == "") || f != nil && f.Reason != tt.wantReason {
					t.Errorf("%+v, %v", seen, err)
				}
				if revoked != len(tt.revokes) {
					t.Errorf("%d revocations, want %d", revoked, len(tt.revokes))
				}
				if logged := logs.FilterMessageSnippet("could not be revoked").Len() > 0; logged != tt.wantLogged {
					t.Errorf("logs %v", logs.All())
				}
				for _, canary := range []string{minted, "mdb_sa_sk_leakedleaked1234"} {
					if text := fmt.Sprintf("%+v %v %v", seen, err, logs.All()); strings.Contains(text, canary) {
						t.Errorf("%s is in %s", canary, text)
					}
				}
			})
		})
	}
}
