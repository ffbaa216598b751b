package atlas_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// TestPreviewIsNeverHeldUp: reads that fail or do not answer say so, all of them within the time that there is, and nothing is
// changed.
func TestPreviewIsNeverHeldUp(t *testing.T) {
	const limit = 10 * time.Second
	tests := []struct {
		name   string
		answer func(*http.Request) (*http.Response, error)
		want   string
		took   time.Duration
	}{
		{name: "no answer", answer: func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		}, want: "out of time", took: limit},
		{name: "no role", answer: func(*http.Request) (*http.Response, error) {
			return reply(403, adminProblem(403, "USER_UNAUTHORIZED", "no "+clientSecret), "Content-Type", "application/json"), nil
		}, want: "forbidden: "},
		{name: "a page of a proxy", answer: func(*http.Request) (*http.Response, error) {
			return reply(200, "<html>", "Content-Type", "text/html"), nil
		}, want: "cannot be read"},
		{name: "rate limit", answer: func(*http.Request) (*http.Response, error) { return reply(429, "", "Retry-After", "3600"), nil }, want: "rate_limited: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sent []string
				client := newClient(t, config(transportFunc(func(req *http.Request) (*http.Response, error) {
					sent = append(sent, req.Method)
					if isTokenRequest(req) {
						return issue(bearerToken, 3600), nil
					}
					return tt.answer(req)
				})))
				ctx, cancel := context.WithTimeoutCause(t.Context(), limit, errors.New("out of time"))
				defer cancel()
				begun := time.Now()
				facts := client.Preview(ctx, job(t, kinds.X509Disable, "service"))
				if took := time.Since(begun); took != tt.took {
					t.Errorf("it took %s, want %s", took, tt.took)
				}
				if len(facts) != len(kinds.Of(kinds.X509Disable).Preview) {
					t.Errorf("%d facts: %v", len(facts), facts)
				}
				for _, fact := range facts {
					if !strings.HasPrefix(fact.Text, "not known: ") || !strings.Contains(facts[0].Text, tt.want) || strings.Contains(fact.Text, clientSecret) {
						t.Errorf("%s is %q, want %q", fact.Name, fact.Text, tt.want)
					}
				}
				for _, method := range sent[1:] {
					if method != http.MethodGet {
						t.Errorf("it sent %s", method)
					}
				}
			})
		})
	}
}

// TestPreviewOfAnUnknownAccount says so for everything.
func TestPreviewOfAnUnknownAccount(t *testing.T) {
	t.Parallel()
	facts := newClient(t, config(transportFunc(nil))).Preview(t.Context(), jobs.Job{Kind: kinds.JWKSRevoke, Account: "other"})
	if len(facts) != 1 || facts[0].Text != `not known: config: account "other" is not configured` {
		t.Errorf("the facts are %v", facts)
	}
}
