package api_test

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
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
	down atomic.Bool  // It does not say which keys it has.
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{t: t, key: rsaKey(t)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q,"authorization_endpoint":"x","token_endpoint":"x","id_token_signing_alg_values_supported":["RS256","HS256","none"]}`, i.URL, i.URL+"/keys")
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		if i.keys.Add(1); i.down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
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

// byPublicKey signs a token as if the issuer's public key were a shared secret.
func (i *issuer) byPublicKey() string {
	signed := i.token(`{"alg":"HS256","kid":"1"}`, nil, nil)
	text := signed[:strings.LastIndex(signed, ".")]
	mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&i.key.PublicKey)}))
	mac.Write([]byte(text))
	return text + "." + base64url(mac.Sum(nil))
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
		{"by the public key, as a shared secret", i.byPublicKey(), 401},
		{"no token", "a.b.c", 401},
	} {
		if got, _, _ := r.ask("GET", "/v1/status", "Bearer "+tt.token); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	if got, _, _ := r.ask("GET", "/v1/status", "Bearer "+i.token(`{"alg":"RS256","kid":"1","crit":["b64"],"b64":false}`, nil, nil)); got != 401 {
		t.Errorf("one with an extension that is not known: %d, want 401", got)
	}
	for range 50 {
		r.ask("GET", "/v1/status", "Bearer "+i.token(`{"alg":"RS256","kid":"2"}`, nil, other))
	}
	if n := i.keys.Load(); n != 1 {
		t.Errorf("strangers have the issuer asked %d times for its keys", n)
	}
	if got, _, _ := r.ask("GET", "/v1/status", "Bearer "+i.token(rs256, nil, nil)); got != 503 {
		t.Errorf("a good one after all that: %d", got)
	}
}

// TestIssuerDoesNotSay: while the issuer does not say which keys it has, its tokens are not refused for good.
func TestIssuerDoesNotSay(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	i.down.Store(true)
	r := newRig(t, func(r *rig) {
		r.cfg.OIDC = config.OIDC{Issuer: i.URL, Audience: "rekey"}
	})
	good := "Bearer " + i.token(`{"alg":"RS256","kid":"1"}`, nil, nil)
	got, header, p := r.ask("GET", "/v1/status", good)
	if got != 503 || header.Get("Retry-After") == "" || !strings.Contains(p.Detail, "issuer") || len(r.counts.audited()) > 0 {
		t.Errorf("no keys: %d %v %+v", got, header, p)
	}
	i.Close()
	if got, _, _ := r.ask("GET", "/v1/status", good); got != 503 {
		t.Errorf("no issuer: %d", got)
	}
}
