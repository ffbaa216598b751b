package apptest

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/seal"
	"rekey/internal/secret"
	"rekey/internal/wire"
)

// Canary is a token that must be found nowhere.
func Canary() string { return "canary-" + rand.Text() }

// Count is how many requests so far have the text in their body. The lock is held.
func (s *StandIn) Count(text string) int {
	n := 0
	for _, c := range s.calls {
		if strings.Contains(c.Body, text) {
			n++
		}
	}
	return n
}

// LastResultOf is the latest result of a target.
func (s *Stranger) LastResultOf(target string) jobs.PublicRecord {
	s.T.Helper()
	var last jobs.PublicRecord
	for _, r := range s.Results(0) {
		if r.Record.Target == target {
			last = r.Record
		}
	}
	return last
}

// SealedRevoke asks for the revocation of a sealed token.
func SealedRevoke(sealed string) Request {
	return NewRequest(kinds.TokenRevoke, map[string]any{"token_sealed": sealed})
}

// SealTo seals as a producer does, who has the public key and nothing else.
func SealTo(t *testing.T, key, token string) string {
	t.Helper()
	sealed, err := seal.Seal(key, secret.New(token))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// SealingKey is what the worker's secrets are sealed to.
func (r *Rig) SealingKey(t *testing.T) string {
	t.Helper()
	key, err := wire.SealingKey(r.Cfg, r.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Revoked reports whether the API was asked to revoke the token.
func (s *StandIn) Revoked(token string) int {
	n := 0
	for _, c := range s.Requests(RevokePath) {
		if strings.Contains(c.Body, "token="+url.QueryEscape(token)+"&") {
			n++
		}
	}
	return n
}

// VaultWith serves one field of one path as Vault's KV engine does.
func VaultWith(t *testing.T, token, value string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/v1/secret/data/rekey/leak" || r.Header.Get("X-Vault-Token") != token {
			http.Error(w, `{"errors":["permission denied"]}`, http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, `{"data":{"data":{"token":%q},"metadata":{"created_time":"2026-03-22T02:24:06.945319214Z","deletion_time":"","destroyed":false,"version":1}}}`, value)
	}))
	t.Cleanup(server.Close)
	return server.URL
}
