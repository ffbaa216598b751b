package clients_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"rekey/internal/apptest"
	"rekey/internal/config"
)

// idp is an issuer of OpenID Connect that logs alice in.
type idp struct {
	*httptest.Server
	claims    map[string]any
	challenge string
	nonce     string
}

// idpKey signs what each of them says.
var idpKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func newIdp(t *testing.T) *idp {
	t.Helper()
	key := idpKey()
	i := &idp{claims: map[string]any{"sub": "1", "email": "alice@example.com", "email_verified": true, "groups": []string{"ir"}}}
	answer := func(w http.ResponseWriter, value any) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(value); err != nil {
			t.Error(err)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token"})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "1", Algorithm: "RS256", Use: "sig"}}})
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
		if r.FormValue("code") != "the-code" || base64.RawURLEncoding.EncodeToString(sum[:]) != i.challenge {
			http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
			return
		}
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, nil)
		if err != nil {
			t.Error(err)
			return
		}
		claims := map[string]any{"iss": i.URL, "aud": "console", "exp": time.Now().Add(time.Minute).Unix(), "iat": time.Now().Unix(), "nonce": i.nonce}
		maps.Copy(claims, i.claims)
		payload, err := json.Marshal(claims)
		if err != nil {
			t.Error(err)
			return
		}
		signed, err := signer.Sign(payload)
		if err != nil {
			t.Error(err)
			return
		}
		compact, err := signed.CompactSerialize()
		if err != nil {
			t.Error(err)
		}
		answer(w, map[string]any{"access_token": "unused", "token_type": "Bearer", "id_token": compact})
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

// TestIssuer: a person logs in at the issuer, and is recorded under the name that it says.
func TestIssuer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(i *idp, callback url.Values)
		says   string // Of the answer to the callback.
	}{
		{"as it should be", func(*idp, url.Values) {}, "Logged in"},
		{"answer to another login", func(_ *idp, q url.Values) { q.Set("state", "x") }, "not accepted"},
		{"code of another login", func(i *idp, _ url.Values) { i.challenge = "x" }, "not accepted"},
		{"token of another login", func(i *idp, _ url.Values) { i.nonce = "x" }, "not accepted"},
		{"token for another service", func(i *idp, _ url.Values) { i.claims["aud"] = "rekey" }, "not accepted"},
		{"old token", func(i *idp, _ url.Values) { i.claims["exp"] = 1 }, "not accepted"},
		{"person without a role", func(i *idp, _ url.Values) { i.claims["groups"] = []string{"staff"} }, "not accepted"},
		{"refused", func(_ *idp, q url.Values) { q.Set("error", "access_denied") }, "not accepted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			i := newIdp(t)
			rig, _ := apptest.StandInRig(t)
			withAPI(t, rig)
			address := apptest.FreeAddress(t)
			rig.Cfg.API.Listen, rig.Cfg.API.PublicURL = address, "http://"+address
			rig.Cfg.API.OIDC, rig.Cfg.API.Console.ClientID = config.OIDC{Issuer: i.URL, Audience: "rekey"}, "console"
			rig.Cfg.API.Clients = append(rig.Cfg.API.Clients, config.APIClient{Name: "responders", Claims: map[string]string{"groups": "ir"}, May: config.Permissions()})
			r := newReader(t, rig.Start(t).API)
			status, header, body := r.do("GET", "/login/oidc?to=/settings")
			to, err := url.Parse(header.Get("Location"))
			if err != nil || status != http.StatusSeeOther || !strings.HasPrefix(to.String(), i.URL+"/authorize?") {
				t.Fatalf("%d %v\n%s", status, header, body)
			}
			q := to.Query()
			if q.Get("code_challenge_method") != "S256" || q.Get("redirect_uri") != "http://"+address+"/login/callback" || q.Get("client_id") != "console" {
				t.Errorf("the issuer is asked %s", to)
			}
			i.challenge, i.nonce = q.Get("code_challenge"), q.Get("nonce")
			callback := url.Values{"state": {q.Get("state")}, "code": {"the-code"}}
			tt.change(i, callback)
			status, header, body = r.do("GET", "/login/callback?"+callback.Encode())
			if !strings.Contains(body, tt.says) {
				t.Fatalf("%d %v\n%s", status, header, body)
			}
			if tt.says != "Logged in" {
				if status, _, _ := r.do("GET", "/jobs"); status != http.StatusUnauthorized {
					t.Errorf("there is a session all the same: %d", status)
				}
				return
			}
			if got := header.Get("Refresh"); got != "0; url=/settings" {
				t.Errorf("Refresh is %q", got)
			}
			r.page("/jobs", "responders/alice@example.com")
			if status, _, _ = r.do("GET", "/login/callback?"+callback.Encode()); status != http.StatusUnauthorized {
				t.Errorf("the same answer once more: %d", status)
			}
		})
	}
}
