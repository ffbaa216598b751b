package vault_test

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rekey/internal/vault"
)

// The token goes to the configured address and nowhere else, whatever redirect comes: net/http and the library would both
// take it along to any host.
func TestNoRedirectIsFollowed(t *testing.T) {
	t.Parallel()
	other, otherURL := newServer(t)
	for _, code := range []int{
		http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect,
	} {
		for _, secure := range []bool{false, true} {
			for _, target := range []string{otherURL + "/v1/secret/data/rekey/leak", "/v1/secret/data/rekey/other"} {
				t.Run(fmt.Sprint(code, secure, target), func(t *testing.T) {
					standby := &server{answer: http.RedirectHandler(target, code).ServeHTTP}
					url, ca := serve(t, standby, secure)
					c := newClient(t, func(c *vault.Config) { c.CAFile = ca }, url)
					got, err := c.Read(t.Context(), "rekey/leak#token")
					if err == nil || !got.IsZero() || !strings.Contains(err.Error(), "which is not followed") || strings.Contains(err.Error(), token) {
						t.Errorf("read %s with %v", got.Fingerprint(), err)
					}
					if _, err := c.Status(t.Context()); err == nil {
						t.Error("Status followed it")
					}
					if asked := standby.asked(); asked != 2 {
						t.Errorf("it was asked %d times", asked)
					}
				})
			}
		}
	}
	if other.asked() > 0 {
		t.Errorf("the other server was given %v", other.last().Header)
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
