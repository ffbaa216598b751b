package sandbox

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func credentialsForm() url.Values { return url.Values{"grant_type": {"client_credentials"}} }

func TestTokenRefusals(t *testing.T) {
	tests := []struct {
		name        string
		id, secret  string
		noAuth      bool
		contentType string
		body        string
		wantStatus  int
		wantError   string
		wantRealm   bool
	}{
		{name: "right", id: ClientID, secret: testSecret, body: "grant_type=client_credentials", wantStatus: 200},
		{name: "secret form-encoded", id: ClientID, secret: url.QueryEscape(testSecret), body: "grant_type=client_credentials", wantStatus: 200},
		{name: "charset", id: ClientID, secret: testSecret, contentType: "application/x-www-form-urlencoded; charset=utf-8", body: "grant_type=client_credentials", wantStatus: 200},
		{name: "no credentials", noAuth: true, body: "grant_type=client_credentials", wantStatus: 401, wantError: "invalid_client", wantRealm: true},
		{name: "wrong secret", id: ClientID, secret: "mdb_sa_sk_wrong", body: "grant_type=client_credentials", wantStatus: 401, wantError: "invalid_client", wantRealm: true},
		{name: "unknown client", id: "mdb_sa_id_ffffffffffffffffffffffff", secret: testSecret, body: "grant_type=client_credentials", wantStatus: 401, wantError: "invalid_client", wantRealm: true},
		{name: "API key", id: PublicKey, secret: testPrivateKey, body: "grant_type=client_credentials", wantStatus: 401, wantError: "invalid_client", wantRealm: true},
		{name: "no grant type", id: ClientID, secret: testSecret, body: "", wantStatus: 400, wantError: "invalid_request"},
		{name: "other grant type", id: ClientID, secret: testSecret, body: "grant_type=password", wantStatus: 400, wantError: "unsupported_grant_type"},
		{name: "twice", id: ClientID, secret: testSecret, body: "grant_type=client_credentials&grant_type=x", wantStatus: 400, wantError: "invalid_request"},
		{name: "JSON", id: ClientID, secret: testSecret, contentType: "application/json", body: `{"grant_type":"client_credentials"}`, wantStatus: 400, wantError: "invalid_request"},
		{name: "no form", id: ClientID, secret: testSecret, body: "%zz", wantStatus: 400, wantError: "invalid_request"},
		{name: "too large", id: ClientID, secret: testSecret, body: "grant_type=client_credentials&x=" + strings.Repeat("x", maxBody), wantStatus: 400, wantError: "invalid_request"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, Config{})
			if tt.contentType == "" {
				tt.contentType = "application/x-www-form-urlencoded"
			}
			r := f.request("POST", "/api/oauth/token", tt.body, "Content-Type", tt.contentType)
			if !tt.noAuth {
				r.SetBasicAuth(tt.id, tt.secret)
			}
			got := f.do(r)
			if got.status != tt.wantStatus || got.code(t) != tt.wantError {
				t.Errorf("got %d %s, want %d %s", got.status, got.body, tt.wantStatus, tt.wantError)
			}
			if realm := got.header.Get("WWW-Authenticate"); strings.HasPrefix(realm, "Basic realm=") != tt.wantRealm {
				t.Errorf("WWW-Authenticate is %q", realm)
			}
			if got.header.Get("Cache-Control") != "no-store" {
				t.Error("the answer may be cached")
			}
		})
	}
}

// issued returns the access token of an answer, after checking the rest of it.
func issued(t *testing.T, r reply) string {
	t.Helper()
	var document map[string]any
	if err := json.Unmarshal([]byte(r.body), &document); err != nil {
		t.Fatalf("body %q: %v", r.body, err)
	}
	token, _ := document["access_token"].(string)
	delete(document, "access_token")
	if diff := cmp.Diff(map[string]any{"token_type": "Bearer", "expires_in": 3600.0}, document); diff != "" || r.status != 200 || token == "" {
		t.Fatalf("status %d, document (-want +got):\n%s", r.status, diff)
	}
	return token
}

func TestTokenLife(t *testing.T) {
	f := newFixture(t, Config{})
	token := issued(t, f.oauth("/api/oauth/token", ClientID, testSecret, credentialsForm()))
	use := func() reply {
		return f.do(f.request("DELETE", jwksPath, "", "Authorization", "Bearer "+token, "Accept", "application/vnd.atlas.2025-02-19+json"))
	}
	if got := use(); got.status != 204 || !f.TokenLive(token) {
		t.Fatalf("a fresh token: %d %s", got.status, got.body)
	}
	f.clock.add(time.Hour - time.Nanosecond)
	if got := use(); got.status != 204 {
		t.Fatalf("just before its end: %d %s", got.status, got.body)
	}
	f.clock.add(time.Nanosecond)
	got := use()
	if got.status != 401 || f.TokenLive(token) || got.header.Get("WWW-Authenticate") != `Bearer realm="MMS Public API", error="invalid_token"` {
		t.Errorf("expired: %d %v", got.status, got.header)
	}
	want := `{"error":401,"reason":"Unauthorized","detail":"You are not authorized for this resource."}`
	if diff := cmp.Diff(want, got.body); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

func TestRevoke(t *testing.T) {
	tests := []struct {
		name       string
		id, secret string
		token      string // Own and other stand for tokens; the rest is sent as it is.
		wantStatus int
		wantError  string
		wantLive   bool
	}{
		{name: "own token", id: ClientID, secret: testSecret, token: "own", wantStatus: 200},
		{name: "unknown token", id: ClientID, secret: testSecret, token: "nonsense", wantStatus: 200, wantLive: true},
		{name: "token of another account", id: ClientID, secret: testSecret, token: "other", wantStatus: 400, wantError: "invalid_grant", wantLive: true},
		{name: "no token", id: ClientID, secret: testSecret, wantStatus: 400, wantError: "invalid_request", wantLive: true},
		{name: "wrong secret", id: ClientID, secret: "mdb_sa_sk_wrong", token: "own", wantStatus: 401, wantError: "invalid_client", wantLive: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, Config{})
			tokens := map[string]string{"own": f.MintToken(ClientID), "other": f.MintToken(OtherClientID)}
			form := url.Values{"token": {tt.token}, "token_type_hint": {"access_token"}}
			if value, ok := tokens[tt.token]; ok {
				form.Set("token", value)
			}
			got := f.oauth("/api/oauth/revoke", tt.id, tt.secret, form)
			if got.status != tt.wantStatus || got.code(t) != tt.wantError {
				t.Errorf("got %d %q, want %d %s", got.status, got.body, tt.wantStatus, tt.wantError)
			}
			if f.TokenLive(tokens["own"]) != tt.wantLive || !f.TokenLive(tokens["other"]) {
				t.Errorf("own token lives: %t, other: %t", f.TokenLive(tokens["own"]), f.TokenLive(tokens["other"]))
			}
			if tt.wantLive {
				return
			}
			if again := f.oauth("/api/oauth/revoke", tt.id, tt.secret, form); again.status != 200 || again.body != "" {
				t.Errorf("once more: %d %q", again.status, again.body)
			}
			if used := f.do(f.request("DELETE", jwksPath, "", "Authorization", "Bearer "+tokens["own"])); used.status != 401 {
				t.Errorf("the revoked token gets %d", used.status)
			}
		})
	}
}

func TestTokenCap(t *testing.T) {
	f := newFixture(t, Config{})
	var last string
	for range maxLiveTokens {
		last = f.MintToken(ClientID)
	}
	got := f.oauth("/api/oauth/token", ClientID, testSecret, credentialsForm())
	if got.status != 403 || got.code(t) != "access_denied" {
		t.Fatalf("the 101st token: %d %s", got.status, got.body)
	}
	if n := f.State().Accounts[0].LiveTokens; n != maxLiveTokens {
		t.Errorf("%d tokens live", n)
	}
	f.oauth("/api/oauth/revoke", ClientID, testSecret, url.Values{"token": {last}})
	issued(t, f.oauth("/api/oauth/token", ClientID, testSecret, credentialsForm()))
	f.clock.add(time.Hour)
	issued(t, f.oauth("/api/oauth/token", ClientID, testSecret, credentialsForm()))
	if n := len(f.tokens.byHash); n != 1 {
		t.Errorf("%d tokens are kept after all but one expired", n)
	}
}

func TestMintTokenOfUnknownClient(t *testing.T) {
	f := newFixture(t, Config{})
	for _, id := range []string{"unknown", PublicKey} {
		if got := f.MintToken(id); got != "" {
			t.Errorf("%s has token %q", id, got)
		}
	}
}

func TestOAuthRate(t *testing.T) {
	f := newFixture(t, Config{})
	for i := range 10 {
		if got := f.oauth("/api/oauth/token", ClientID, testSecret, credentialsForm()); got.status != 200 {
			t.Fatalf("request %d: %d %s", i+1, got.status, got.body)
		}
	}
	f.clock.add(14 * time.Second)
	got := f.oauth("/api/oauth/token", ClientID, testSecret, credentialsForm())
	want := `{"error":"rate_limited","error_description":"Resource /api/oauth/token is limited to 10 requests every 1 minutes."}`
	if got.status != http.StatusTooManyRequests || got.body != want || got.header.Get("Retry-After") != "46" {
		t.Errorf("the 11th: %d, Retry-After %q: %s", got.status, got.header.Get("Retry-After"), got.body)
	}
	// Other clients and the other endpoint have buckets of their own.
	secret, _ := f.Secret(OtherClientID)
	issued(t, f.oauth("/api/oauth/token", OtherClientID, secret, credentialsForm()))
	if got := f.oauth("/api/oauth/revoke", ClientID, testSecret, url.Values{"token": {"x"}}); got.status != 200 {
		t.Errorf("revoke: %d", got.status)
	}
	f.clock.add(46 * time.Second)
	issued(t, f.oauth("/api/oauth/token", ClientID, testSecret, credentialsForm()))
}

func TestOAuthRateText(t *testing.T) {
	tests := []struct {
		name  string
		limit Bucket
		want  string
	}{
		{name: "minutes", limit: Bucket{3, 3, 2 * time.Minute}, want: "Resource /p is limited to 3 requests every 2 minutes."},
		{name: "seconds", limit: Bucket{3, 3, 1500 * time.Millisecond}, want: "Resource /p is limited to 3 requests every 2 seconds."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := oauthRateText("/p", tt.limit); got != tt.want {
				t.Error(got)
			}
		})
	}
}

func TestTokensDoNotCountAcrossAccounts(t *testing.T) {
	f := newFixture(t, Config{})
	for range maxLiveTokens {
		f.MintToken(OtherClientID)
	}
	if got := f.oauth("/api/oauth/token", ClientID, testSecret, credentialsForm()); got.status != 200 {
		t.Errorf("got %d %s", got.status, got.body)
	}
}
