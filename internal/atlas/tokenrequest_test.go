package atlas_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"rekey/internal/jobs"
)

func TestTokenAnswers(t *testing.T) {
	tests := []struct {
		name, body string
		headers    []string
		want       jobs.Reason
	}{
		{name: "good", body: `{"access_token":"x","token_type":"bearer","expires_in":60}`},
		{name: "upper case, number as string", body: `{"access_token":"x","token_type":"BEARER","expires_in":"60"}`},
		{name: "wrong content type", body: `{"access_token":"x","token_type":"Bearer"}`, headers: []string{"Content-Type", "text/plain"}},
		{name: "other type", body: `{"access_token":"x","token_type":"mac","expires_in":60}`, want: jobs.ReasonProtocol},
		{name: "no token", body: `{"token_type":"Bearer","expires_in":60}`, want: jobs.ReasonProtocol},
		{name: "line break in token", body: `{"access_token":"x\r\ny: z","token_type":"Bearer"}`, want: jobs.ReasonProtocol},
		{name: "endless token", body: `{"access_token":"` + strings.Repeat("x", 1<<15) + `","token_type":"Bearer"}`, want: jobs.ReasonProtocol},
		{name: "token is a number", body: `{"access_token":5,"token_type":"Bearer"}`, want: jobs.ReasonProtocol},
		{name: "array", body: `[]`, want: jobs.ReasonProtocol},
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
			j := job(t, jobs.JWKSRevoke, "service")
			if tt.want == "" {
				revokeWorks(t, c, j)
				return
			}
			f := revokeFails(t, c, j)
			if f.Reason != tt.want || f.MaybeEffective || calls != 0 {
				t.Errorf("got %+v (%v) after %d calls", f, f, calls)
			}
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
	revokeWorks(t, c, job(t, jobs.JWKSRevoke, "service"))
	if got := requests.Load(); got != 1 {
		t.Errorf("%d requests for tokens", got)
	}
}
