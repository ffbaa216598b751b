package door_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"rekey/internal/door"
	"rekey/internal/secret"
	"rekey/internal/ssf"
)

// Keys of a transmitter.
var (
	idpKey   = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(2048) })
	otherKey = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(2048) })
	shortKey = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(1024) })
)

func newRSA(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

const (
	issuer   = "https://idp.example.com"
	audience = "https://rekey.example.com"
	change   = "https://schemas.openid.net/secevent/caep/event-type/credential-change"
)

// claims are those of a good token, changed: nil leaves one out.
func claims(changed map[string]any) map[string]any {
	all := map[string]any{
		"iss": issuer, "aud": audience, "jti": "j1", "iat": time.Now().Unix(),
		"sub_id": map[string]any{"format": "email", "email": "ann@example.com"},
		"events": map[string]any{change: map[string]any{"credential_type": "x509", "change_type": "revoke"}},
	}
	maps.Copy(all, changed)
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
	return all
}

// signSET signs claims as a transmitter would.
func signSET(t *testing.T, key any, algorithm jose.SignatureAlgorithm, kid, typ string, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	opts := &jose.SignerOptions{}
	if typ != "" {
		opts = opts.WithType(jose.ContentType(typ))
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, opts)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func good(t *testing.T, changed map[string]any) string {
	t.Helper()
	return signSET(t, idpKey(), jose.RS256, "k1", "secevent+jwt", claims(changed))
}

// keySet is a JSON Web Key Set.
func keySet(t *testing.T, keys map[string]*rsa.PrivateKey) []byte {
	t.Helper()
	var set jose.JSONWebKeySet
	for id, key := range keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key.Public(), KeyID: id, Use: "sig", Algorithm: "RS256"})
	}
	data, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// newCAEP opens a door of the type caep, whose transmitter presents a token.
func newCAEP(t *testing.T, d door.Door, idp http.RoundTripper) *rig {
	t.Helper()
	if d.JWKSURL == "" {
		d.JWKSFile = filepath.Join(t.TempDir(), "jwks.json")
		if err := os.WriteFile(d.JWKSFile, keySet(t, map[string]*rsa.PrivateKey{"k1": idpKey(), "short": shortKey()}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("Bearer t0ken"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.Type, d.Issuer, d.Audience, d.Token = door.TypeCAEP, issuer, audience, secret.Ref{File: file}
	return newRig(t, d, "", idp)
}

var setHeaders = http.Header{"Content-Type": {ssf.MediaType}, "Authorization": {"Bearer t0ken"}}

func TestCAEPPush(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	const rfc8935, profile = "RFC 8935 sections 2.2 to 2.4", "CAEP Interoperability Profile 1.0 sections 2.5 to 2.8, SSF 1.0 section 4"
	plain := http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer t0ken"}}
	stranger := http.Header{"Content-Type": {ssf.MediaType}, "Authorization": {"Bearer x"}}
	sign := func(key *rsa.PrivateKey, kid, typ string) string {
		return signSET(t, key, jose.RS256, kid, typ, claims(nil))
	}
	tampered := strings.Split(good(t, nil), ".")
	tampered[1] = strings.Split(good(t, map[string]any{"jti": "j2"}), ".")[1]
	tests := []struct {
		name     string
		token    string
		headers  http.Header
		code     string // "": accepted.
		document string
	}{
		{"good", good(t, nil), setHeaders, "", rfc8935},
		{"several audiences", good(t, map[string]any{"aud": []string{"x", audience}}), setHeaders, "", profile},
		{"the long media type", sign(idpKey(), "k1", "application/secevent+jwt"), setHeaders, "", "RFC 7515 section 4.1.9"},
		{"without a key id", sign(idpKey(), "", "secevent+jwt"), setHeaders, "", "RFC 7515 section 4.1.4"},
		{"iss_sub", good(t, map[string]any{"sub_id": map[string]any{"format": "iss_sub", "iss": issuer, "sub": "1"}}), setHeaders, "", profile},
		{"another transmitter", good(t, nil), stranger, "authentication_failed", rfc8935},
		{"another content type", good(t, nil), plain, "invalid_request", rfc8935},
		{"no token", "x", setHeaders, "invalid_request", rfc8935},
		{"another type", sign(idpKey(), "k1", "JWT"), setHeaders, "invalid_request", profile},
		{"no type", sign(idpKey(), "k1", ""), setHeaders, "invalid_request", profile},
		{"an unknown key", sign(otherKey(), "k9", "secevent+jwt"), setHeaders, "invalid_key", rfc8935},
		{"another key under its name", sign(otherKey(), "k1", "secevent+jwt"), setHeaders, "invalid_key", rfc8935},
		{"a short key", sign(shortKey(), "short", "secevent+jwt"), setHeaders, "invalid_key", profile},
		{"another algorithm", signSET(t, []byte(strings.Repeat("k", 32)), jose.HS256, "k1", "secevent+jwt", claims(nil)), setHeaders, "invalid_request", profile},
		{"other claims", strings.Join(tampered, "."), setHeaders, "invalid_key", rfc8935},
		{"not signed", "eyJhbGciOiJub25lIiwidHlwIjoic2VjZXZlbnQrand0In0." + tampered[1] + ".", setHeaders, "invalid_request", profile},
		{"another issuer", good(t, map[string]any{"iss": "https://x.example.com"}), setHeaders, "invalid_issuer", rfc8935},
		{"another audience", good(t, map[string]any{"aud": "x"}), setHeaders, "invalid_audience", rfc8935},
		{"exp", good(t, map[string]any{"exp": time.Now().Add(time.Hour).Unix()}), setHeaders, "invalid_request", profile},
		{"sub", good(t, map[string]any{"sub": "x"}), setHeaders, "invalid_request", profile},
		{"no jti", good(t, map[string]any{"jti": nil}), setHeaders, "invalid_request", profile},
		{"no iat", good(t, map[string]any{"iat": nil}), setHeaders, "invalid_request", profile},
		{"of the future", good(t, map[string]any{"iat": time.Now().Add(time.Hour).Unix()}), setHeaders, "invalid_request", profile},
		{"no event", good(t, map[string]any{"events": map[string]any{}}), setHeaders, "invalid_request", profile},
		{"two events", good(t, map[string]any{"events": map[string]any{"a": map[string]any{}, "b": map[string]any{}}}), setHeaders, "invalid_request", profile},
		{"no subject", good(t, map[string]any{"sub_id": nil}), setHeaders, "invalid_request", profile},
		{"an unknown subject", good(t, map[string]any{"sub_id": map[string]any{"format": "x"}}), setHeaders, "invalid_request", "RFC 9493 section 3"},
		{"a subject without a value", good(t, map[string]any{"sub_id": map[string]any{"format": "email"}}), setHeaders, "invalid_request", "RFC 9493 section 3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newCAEP(t, door.Door{}, nil)
			w := r.post(tt.token, tt.headers)
			if tt.code == "" {
				r.wantStatus(w, http.StatusAccepted)
				if got := r.one(); got.ID != "j1" || got.Type != "rekey.door.caep.v1" || got.fields()["iss"] != issuer || w.Body.Len() > 0 {
					t.Errorf("stored %s, answered %q", got.raw, w.Body)
				}
				return
			}
			var answer ssf.Error
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Code != tt.code || answer.Description == "" || w.Header().Get("Content-Language") == "" {
				t.Errorf("answered %s, want %s (%s)", w.Body, tt.code, tt.document)
			}
			r.wantStatus(w, http.StatusBadRequest)
			if len(r.events) > 0 {
				t.Error("an event is stored")
			}
		})
	}
}

// TestCAEPKeysAtAnAddress: keys are kept; one that is new makes the door ask; while asking fails, nothing is refused for good.
func TestCAEPKeysAtAnAddress(t *testing.T) {
	asked, down := 0, false
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked++; down {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = w.Write(keySet(t, map[string]*rsa.PrivateKey{"k1": idpKey()}))
	}))
	defer idp.Close()
	r := newCAEP(t, door.Door{JWKSURL: idp.URL}, nil)
	for range 3 {
		r.wantStatus(r.post(good(t, nil), setHeaders), http.StatusAccepted)
	}
	r.wantStatus(r.post(signSET(t, otherKey(), jose.RS256, "k9", "secevent+jwt", claims(nil)), setHeaders), http.StatusBadRequest)
	if asked != 1 {
		t.Errorf("the issuer was asked %d times, want once within half a minute", asked)
	}
	down = true
	r = newCAEP(t, door.Door{JWKSURL: idp.URL}, nil)
	r.wantStatus(r.post(good(t, nil), setHeaders), http.StatusServiceUnavailable)
}

// transmitter plays an identity provider whose stream is polled.
type transmitter struct {
	t *testing.T

	mu     sync.Mutex // Guards what follows.
	sets   map[string]string
	acks   []string
	errs   map[string]ssf.Error
	states []string
	polls  int
	open   bool // It asks for no token.
}

func (p *transmitter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open && r.Header.Get("Authorization") != "Bearer str3am" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		p.t.Error(err)
	}
	if r.URL.Path == "/verify" {
		var asked struct {
			ID    string `json:"stream_id"`
			State string `json:"state"`
		}
		if err := json.Unmarshal(body, &asked); err != nil || asked.ID != "stream-1" {
			p.t.Errorf("asked to verify with %s", body)
		}
		p.states = append(p.states, asked.State)
		p.sets["v1"] = good(p.t, map[string]any{
			"jti": "v1", "sub_id": map[string]any{"format": "opaque", "id": "stream-1"}, "events": map[string]any{ssf.Verification: map[string]any{"state": asked.State}},
		})
		w.WriteHeader(http.StatusNoContent)
		return
	}
	var asked struct {
		Ack     []string             `json:"ack"`
		SetErrs map[string]ssf.Error `json:"setErrs"`
	}
	if err := json.Unmarshal(body, &asked); err != nil {
		p.t.Error(err)
	}
	p.polls++
	p.acks = append(p.acks, asked.Ack...)
	maps.Copy(p.errs, asked.SetErrs)
	for _, id := range asked.Ack {
		delete(p.sets, id)
	}
	for id := range asked.SetErrs {
		delete(p.sets, id)
	}
	if err := json.NewEncoder(w).Encode(map[string]any{"sets": p.sets}); err != nil {
		p.t.Error(err)
	}
}

// asked plays a transmitter without a network.
type asked struct{ http.Handler }

// RoundTrip implements http.RoundTripper.
func (a asked) RoundTrip(q *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	a.ServeHTTP(w, q)
	return w.Result(), q.Context().Err()
}

// TestCAEPPoll: what was polled is stored before it is acknowledged, what is refused is answered for, and a stream is verified.
func TestCAEPPoll(t *testing.T) {
	idpKey()
	synctest.Test(t, func(t *testing.T) {
		idp := &transmitter{t: t, errs: map[string]ssf.Error{}, sets: map[string]string{
			"j1": good(t, nil), "j2": good(t, map[string]any{"jti": "j2", "iss": "https://x.example.com"}),
		}}
		file := filepath.Join(t.TempDir(), "stream")
		if err := os.WriteFile(file, []byte("str3am"), 0o600); err != nil {
			t.Fatal(err)
		}
		r := newCAEP(t, door.Door{PollURL: "https://idp/poll", VerificationURL: "https://idp/verify", StreamID: "stream-1", StreamToken: secret.Ref{File: file}}, asked{idp})
		run(t, r)
		<-time.After(time.Minute)
		synctest.Wait()
		idp.mu.Lock()
		defer idp.mu.Unlock()
		slices.Sort(idp.acks)
		if r.one().ID != "j1" || strings.Join(idp.acks, " ") != "j1 v1" || idp.errs["j2"].Code != "invalid_issuer" || len(idp.errs) != 1 {
			t.Errorf("acknowledged %v, refused %v", idp.acks, idp.errs)
		}
		if r.logs.FilterMessage("stream verified").Len() != 1 {
			t.Error("the stream is not verified")
		}
		r.events = nil
		state := func(state string) map[string]any {
			return map[string]any{"events": map[string]any{ssf.Verification: map[string]any{"state": state}}}
		}
		r.wantStatus(r.post(good(t, state(idp.states[0])), setHeaders), http.StatusAccepted)
		w := r.post(good(t, state("made.1.up")), setHeaders)
		if r.wantStatus(w, http.StatusBadRequest); !strings.Contains(w.Body.String(), "invalid_state") || len(r.events) > 0 {
			t.Errorf("answered %s (SSF 1.0 section 8.1.4.1)", w.Body)
		}
	})
}

// TestCAEPPollAcknowledgesWhatIsStored: a token whose event cannot be stored is left to be delivered again.
func TestCAEPPollAcknowledgesWhatIsStored(t *testing.T) {
	idpKey()
	synctest.Test(t, func(t *testing.T) {
		idp := &transmitter{t: t, errs: map[string]ssf.Error{}, sets: map[string]string{"j1": good(t, nil)}, open: true}
		r := newCAEP(t, door.Door{PollURL: "https://idp/poll"}, asked{idp})
		r.fail = io.ErrUnexpectedEOF
		run(t, r)
		<-time.After(time.Minute)
		synctest.Wait()
		idp.mu.Lock()
		if len(idp.acks)+len(idp.errs) > 0 || idp.polls < 5 {
			t.Errorf("after %d polls: acknowledged %v, refused %v", idp.polls, idp.acks, idp.errs)
		}
		idp.mu.Unlock()
		r.mu.Lock()
		r.fail = nil
		r.mu.Unlock()
		<-time.After(time.Minute)
		synctest.Wait()
		idp.mu.Lock()
		defer idp.mu.Unlock()
		if r.one().ID != "j1" || strings.Join(idp.acks, " ") != "j1" {
			t.Errorf("acknowledged %v", idp.acks)
		}
	})
}
