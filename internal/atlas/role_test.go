package atlas_test

import (
	"net/http"
	"testing"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// The API says 401 to a caller that lacks a role, too. Its credentials are good: the token serves
// on, and the account is ready.
func TestMissingRole(t *testing.T) {
	tests := []struct {
		name   string
		code   string
		issued int // Tokens for two jobs.
		ready  bool
	}{
		{name: "a role is missing", code: "USER_UNAUTHORIZED", issued: 1, ready: true},
		{name: "the token is refused", issued: 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			issued := 0
			c := newClient(t, config(transportFunc(func(req *http.Request) (*http.Response, error) {
				if isTokenRequest(req) {
					issued++
					return reply(200, `{"access_token":"t","token_type":"Bearer","expires_in":3600}`), nil
				}
				return reply(401, adminProblem(401, tt.code, "No.")), nil
			})))
			j := job(t, kinds.JWKSRevoke, "service")
			for range 2 {
				if f := revokeFails(t, c, j); f.Reason != jobs.ReasonUnauthorized {
					t.Errorf("the reason is %s, want unauthorized", f.Reason)
				}
			}
			if issued != tt.issued {
				t.Errorf("%d tokens were fetched, want %d", issued, tt.issued)
			}
			if err := c.CheckAccounts(t.Context()); (err == nil) != tt.ready {
				t.Errorf("CheckAccounts() = %v, want ready %v", err, tt.ready)
			}
		})
	}
}
