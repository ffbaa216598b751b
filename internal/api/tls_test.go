package api_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"testing"

	"rekey/internal/apptest"
	"rekey/internal/config"
)

// TestCertificateThatEnds: a connection does not outlive what its client's certificate is accepted for. Doors go by the same.
func TestCertificateThatEnds(t *testing.T) {
	t.Parallel()
	authority, next := apptest.NewAuthority(t), apptest.NewAuthority(t)
	cert, client := authority.Issue(t, "127.0.0.1"), authority.Issue(t, "soar.example.com").Pair
	r := newRig(t, func(r *rig) {
		r.cfg.TLS = config.APITLS{CertFile: cert.CertFile, KeyFile: cert.KeyFile, ClientCAFile: authority.File}
		r.cfg.Clients = append(r.cfg.Clients, config.APIClient{Name: "cert", CertName: "soar.example.com", May: []config.Permission{config.MayRead}})
	})
	r.Doors(map[string]http.Handler{"names": http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if len(q.TLS.VerifiedChains) == 0 {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})})
	var asks []func() int
	for _, path := range []string{"/v1/status", "/in/names"} {
		for _, http2 := range []bool{true, false} {
			transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority.Pool, Certificates: []tls.Certificate{client}}, ForceAttemptHTTP2: http2}
			t.Cleanup(transport.CloseIdleConnections)
			ask := func() int {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.base+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := transport.RoundTrip(req) // A connection that is new is refused, which is an error.
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if _, err := io.Copy(io.Discard, resp.Body); err != nil { // Else the connection is not used again.
					t.Error(err)
				}
				return resp.StatusCode
			}
			if got := ask(); got == http.StatusUnauthorized {
				t.Errorf("%s: %d", path, got)
			}
			asks = append(asks, ask)
		}
	}
	changed, err := os.ReadFile(next.File)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(authority.File, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, ask := range asks {
		apptest.Eventually(t, "the refusal of a certificate whose authority is gone", func() bool { return ask() == http.StatusUnauthorized })
	}
}
