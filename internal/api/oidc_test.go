package api_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"rekey/internal/config"
)

// issuer is an issuer of OpenID Connect.
type issuer struct {
	*httptest.Server
	t    *testing.T
	key  *rsa.PrivateKey
	keys atomic.Int32 // How often its keys were asked for.
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{t: t, key: rsaKey(t)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q,"authorization_endpoint":"x","token_endpoint":"x","id_token_signing_alg_values_supported":["RS256"]}`, i.URL, i.URL+"/keys")
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		i.keys.Add(1)
		fmt.Fprintf(w, `{"keys":[{"kty":"RSA","kid":"1","alg":"RS256","use":"sig","n":%q,"e":%q}]}`,
			base64url(i.key.N.Bytes()), base64url(big.NewInt(int64(i.key.E)).Bytes()))
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func base64url(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// token signs claims, by another key where that is not nil.
func (i *issuer) token(header string, changed map[string]any, key *rsa.PrivateKey) string {
	i.t.Helper()
	claims := map[string]any{
		"iss": i.URL, "aud": []string{"other", "rekey"}, "sub": "soar", "groups": []string{"ir", "staff"}, "exp": time.Now().Add(time.Minute).Unix(), "iat": time.Now().Unix(),
	}
	maps.Copy(claims, changed)
	payload, err := json.Marshal(claims)
	if err != nil {
		i.t.Fatal(err)
	}
	text := base64url([]byte(header)) + "." + base64url(payload)
	sum := sha256.Sum256([]byte(text))
	if key == nil {
		key = i.key
	}
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		i.t.Fatal(err)
	}
	return text + "." + base64url(signature)
}

// TestIssuer: a client is recognised by the claims of a token that the issuer has signed for us, and its keys are kept.
func TestIssuer(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	r := newRig(t, func(r *rig) {
		r.cfg.OIDC = config.OIDC{Issuer: i.URL, Audience: "rekey"}
		r.cfg.Clients = append(r.cfg.Clients, config.APIClient{Name: "people", Claims: map[string]string{"sub": "soar", "groups": "ir"}, May: []config.Permission{config.MayRead}})
	})
	const rs256 = `{"alg":"RS256","kid":"1"}`
	unsigned := i.token(`{"alg":"none"}`, nil, nil)
	other := rsaKey(t)
	for _, tt := range []struct {
		name, token string
		want        int
	}{
		{"a good one", i.token(rs256, nil, nil), 503},
		{"the same again", i.token(rs256, nil, nil), 503},
		{"for another service", i.token(rs256, map[string]any{"aud": "other"}, nil), 401},
		{"for none", i.token(rs256, map[string]any{"aud": nil}, nil), 401},
		{"of another issuer", i.token(rs256, map[string]any{"iss": "https://idp.example.com"}, nil), 401},
		{"expired", i.token(rs256, map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}, nil), 401},
		{"not valid yet", i.token(rs256, map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}, nil), 401},
		{"of another subject", i.token(rs256, map[string]any{"sub": "mallory"}, nil), 401},
		{"of another group", i.token(rs256, map[string]any{"groups": []string{"staff"}}, nil), 401},
		{"without groups", i.token(rs256, map[string]any{"groups": nil}, nil), 401},
		{"of another key", i.token(rs256, nil, other), 401},
		{"of a key that is not known", i.token(`{"alg":"RS256","kid":"2"}`, nil, other), 401},
		{"without a signature", unsigned[:len(unsigned)-342], 401},
		{"signed by nothing", unsigned, 401},
		{"by HMAC", i.token(`{"alg":"HS256","kid":"1"}`, nil, nil), 401},
		{"no token", "a.b.c", 401},
	} {
		if got, _, _ := r.ask("GET", "/v1/status", "Bearer "+tt.token); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	for range 50 {
		r.ask("GET", "/v1/status", "Bearer "+i.token(`{"alg":"RS256","kid":"2"}`, nil, other))
	}
	if n := i.keys.Load(); n > 10 {
		t.Errorf("strangers have the issuer asked %d times for its keys", n)
	}
	if got, _, _ := r.ask("GET", "/v1/status", "Bearer "+i.token(rs256, nil, nil)); got != 503 {
		t.Errorf("a good one after all that: %d", got)
	}
}
