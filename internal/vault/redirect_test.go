package vault_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rekey/internal/vault"
)

// A standby of Vault may send its clients on to the active node, once. The token goes to no other
// protocol with it, and nowhere by a second step: net/http would hand it to whoever is named.
func TestRedirects(t *testing.T) {
	t.Parallel()
	active, activeURL := newServer(t)
	tests := []struct {
		name   string
		code   int
		secure bool   // The redirect comes over TLS.
		twice  bool   // The server that is named sends on once more.
		want   string // Of the error; empty: the secret is read.
	}{
		{name: "to the active node", code: http.StatusTemporaryRedirect},
		{name: "and on", code: http.StatusTemporaryRedirect, twice: true, want: "rekey/leak"},
		{name: "of another kind", code: http.StatusPermanentRedirect, want: "rekey/leak"},
		{name: "from TLS to none", code: http.StatusTemporaryRedirect, secure: true, want: "protocol downgrade"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before, target := active.asked(), activeURL
			if tt.twice {
				between, url := newServer(t)
				between.answer = http.RedirectHandler(activeURL+"/v1/secret/data/rekey/leak", tt.code).ServeHTTP
				target = url
			}
			standby := &server{answer: http.RedirectHandler(target+"/v1/secret/data/rekey/leak", tt.code).ServeHTTP}
			url, ca := serve(t, standby, tt.secure)
			got, err := newClient(t, func(c *vault.Config) { c.CAFile = ca }, url).Read(t.Context(), "rekey/leak#token")
			if tt.want == "" {
				if err != nil || got.Reveal() != canary {
					t.Errorf("read %s, %v, want the secret", got.Fingerprint(), err)
				}
				return
			}
			if err == nil || !got.IsZero() || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("read %s with %v, want %q", got.Fingerprint(), err, tt.want)
			}
			if active.asked() != before {
				t.Error("the token was sent to where the redirect leads")
			}
		})
	}
}

// serve returns the server's address and, over TLS, the file with its authority.
func serve(t *testing.T, s *server, secure bool) (url, ca string) {
	t.Helper()
	if !secure {
		web := httptest.NewServer(s)
		t.Cleanup(web.Close)
		return web.URL, ""
	}
	web := httptest.NewTLSServer(s)
	t.Cleanup(web.Close)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return web.URL, ca
}
