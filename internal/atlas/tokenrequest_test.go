package atlas_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

func TestTokenAnswers(t *testing.T) {
	tests := []struct {
		name, body string
		headers    []string
		want       string // What is said of it; empty: it is good.
	}{
		{name: "good", body: `{"access_token":"x","token_type":"bearer","expires_in":60}`},
		{name: "upper case, number as string", body: `{"access_token":"x","token_type":"BEARER","expires_in":"60"}`},
		{name: "wrong content type", body: `{"access_token":"x","token_type":"Bearer"}`, headers: []string{"Content-Type", "text/plain"}},
		{name: "other type", body: `{"access_token":"x","token_type":"mac","expires_in":60}`, want: "its token_type is not Bearer"},
		{name: "no token", body: `{"token_type":"Bearer","expires_in":60}`, want: "it has no access_token"},
		{name: "line break in token", body: `{"access_token":"x\r\ny: z","token_type":"Bearer"}`, want: "its access_token must be visible ASCII: character 2 is U+000D, a carriage return"},
		{name: "endless token", body: `{"access_token":"` + strings.Repeat("x", 1<<15) + `","token_type":"Bearer"}`, want: "its access_token has more than 16384 bytes"},
		{name: "token is a number", body: `{"access_token":5,"token_type":"Bearer"}`, want: "it has no access_token"},
		{name: "array", body: `[]`, want: "it is no JSON object"},
		{name: "text", body: `canary`, want: "it is no JSON object"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			calls := 0
			c := newClient(t, config(transportFunc(func(req *http.Request) (*http.Response, error) {
				if isTokenRequest(req) {
					return reply(200, tt.body, tt.headers...), nil
				}
				calls++
				return reply(204, ""), nil
			})))
			j := job(t, kinds.JWKSRevoke, "service")
			if tt.want == "" {
				revokeWorks(t, c, j)
				return
			}
			want := "fetching a bearer token: HTTP 200, which is no answer to token: " + tt.want
			f := revokeFails(t, c, j)
			if f.Reason != jobs.ReasonProtocol || f.MaybeEffective || calls != 0 || f.Err.Error() != want {
				t.Errorf("got %+v (%v) after %d calls, want %s", f, f, calls, want)
			}
		})
	}
}

// TestTokenLifetime: a lifetime that means one thing only is read, however it is written.
func TestTokenLifetime(t *testing.T) {
	tests := []struct {
		expiresIn string
		want      time.Duration
	}{
		{"3600", time.Hour},
		{"3600.5", time.Hour},
		{`"3600"`, time.Hour},
		{`"3600.9"`, time.Hour},
		{`" 3600 "`, time.Hour},
		{"3.6e3", time.Hour},
		{"59.999", 59 * time.Second},
		{"1e400", 24 * time.Hour},
		{"1e15", 24 * time.Hour},
		{"0.5", 5 * time.Minute}, // As if it was not said.
		{"-30.5", 5 * time.Minute},
		{"null", 5 * time.Minute},
		{`"soon"`, 5 * time.Minute},
		{`"NaN"`, 5 * time.Minute},
		{"[3600]", 5 * time.Minute},
		{"true", 5 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.expiresIn, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issued := 0
				c := newClient(t, config(transportFunc(func(req *http.Request) (*http.Response, error) {
					if isTokenRequest(req) {
						issued++
						return reply(200, `{"access_token":"x","token_type":"Bearer","expires_in":`+tt.expiresIn+`}`), nil
					}
					return reply(204, ""), nil
				})))
				token, failure := c.Token(t.Context(), "service")
				if failure != nil || time.Until(token.Expires) != tt.want {
					t.Errorf("it lives for %s (%v), want %s", time.Until(token.Expires), failure, tt.want)
				}
			})
		})
	}
}

func TestTokenRequest(t *testing.T) {
	var requests atomic.Int32
	c := newClient(t, config(transportFunc(func(req *http.Request) (*http.Response, error) {
		if !isTokenRequest(req) {
			return reply(204, ""), nil
		}
		requests.Add(1)
		id, password, ok := req.BasicAuth()
		if req.Method != http.MethodPost || !ok || id != clientID || password != "canary%2Fclient%2Bsecret%3D0" {
			t.Error("the request is no POST with Basic and the form-encoded id and secret")
		}
		if err := req.ParseForm(); err != nil || req.PostForm.Encode() != "grant_type=client_credentials" {
			t.Errorf("form %v, %v", req.PostForm, err)
		}
		return issue(bearerToken, 3600), nil
	})))
	revokeWorks(t, c, job(t, kinds.JWKSRevoke, "service"))
	if got := requests.Load(); got != 1 {
		t.Errorf("%d requests for tokens", got)
	}
}
