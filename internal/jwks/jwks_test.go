package jwks_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"rekey/internal/jwks"
)

// issuer plays one without a network.
type issuer struct {
	t     *testing.T
	keys  []jose.JSONWebKey
	down  bool
	asked int
}

// RoundTrip implements http.RoundTripper.
func (i *issuer) RoundTrip(*http.Request) (*http.Response, error) {
	i.asked++
	if i.down {
		return nil, errors.New("no route")
	}
	body, err := json.Marshal(jose.JSONWebKeySet{Keys: i.keys})
	if err != nil {
		i.t.Fatal(err)
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(body))}, nil
}

// key makes a pair of keys, and a signature by it.
func key(t *testing.T, id string) (jose.JSONWebKey, *jose.JSONWebSignature) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: private, KeyID: id}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte("claims"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: private.Public(), KeyID: id}, parsed
}

// TestKeysChange: a new key is known when it is needed, one that was withdrawn is soon forgotten, and while the issuer does not answer no signature
// is refused for good.
func TestKeysChange(t *testing.T) {
	first, byFirst := key(t, "1")
	second, bySecond := key(t, "1") // Under the same id.
	_, byStranger := key(t, "2")
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{t: t, keys: []jose.JSONWebKey{first}}
		k := &jwks.Keys{URL: "https://idp.example.com/jwks", Client: &http.Client{Transport: i}}
		const good, bad, unsure = "good", "bad", "unsure"
		want := func(what string, signed *jose.JSONWebSignature, want string) {
			t.Helper()
			got := good
			if _, err := k.Verify(t.Context(), signed); errors.Is(err, jwks.ErrNoKey) {
				got = bad
			} else if err != nil {
				got = unsure
			}
			if got != want {
				t.Errorf("%s: %s, want %s", what, got, want)
			}
		}
		want("the first key", byFirst, good)
		for range 100 {
			want("a stranger's", byStranger, bad)
		}
		if i.asked != 1 {
			t.Errorf("strangers have the issuer asked %d times", i.asked)
		}
		i.keys = []jose.JSONWebKey{first, second}
		want("a new key, just now", bySecond, bad)
		<-time.After(31 * time.Second)
		want("a new key", bySecond, good)
		i.keys = []jose.JSONWebKey{second}
		<-time.After(10*time.Minute + time.Second)
		want("a key that was withdrawn", byFirst, bad)
		i.down = true
		<-time.After(11 * time.Minute)
		want("a key that was good, and no answer", bySecond, good)
		want("a key that is not known, and no answer", byFirst, unsure)
		<-time.After(24 * time.Hour)
		want("a key that was good a day ago, and no answer", bySecond, unsure)
		i.down = false
		<-time.After(31 * time.Second)
		want("a key that is good, once there is an answer", bySecond, good)
	})
}
