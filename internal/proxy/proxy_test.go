package proxy_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"rekey/internal/proxy"
)

// A proxy that does not open the way is not the server, and says nothing of it. Neither its password nor its page is shown.
func TestRefusal(t *testing.T) {
	t.Parallel()
	tests := []struct {
		status     int
		configured bool
		want       string
	}{
		{407, true, "the proxy ADDRESS refused to connect to api.example.com:443 with HTTP 407 (Proxy Authentication Required): it wants a user and password in HTTPS_PROXY"},
		{403, true, "the proxy ADDRESS refused to connect to api.example.com:443 with HTTP 403 (Forbidden): it has to allow this host, or NO_PROXY has to name it"},
		{405, true, "with HTTP 405 (Method Not Allowed): it has to allow"},
		{302, true, "with HTTP 302 (Found)"},
		{502, false, "with HTTP 502 (Bad Gateway)"},
		{503, false, "with HTTP 503 (Service Unavailable)"},
		{599, false, "with HTTP 599"},
		{204, false, "with HTTP 204 (No Content)"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.status), func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodConnect {
					t.Errorf("the proxy was asked %s", r.Method)
				}
				w.Header().Set("Location", "http://elsewhere.example.com/canary")
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte("canary")) // A 204 takes none.
			}))
			defer server.Close()
			address := strings.TrimPrefix(server.URL, "http://")
			transport := &http.Transport{}
			proxy.Use(transport)
			transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: address, User: url.UserPassword("me", "canary")})
			req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, "https://api.example.com/x", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := transport.RoundTrip(req)
			if err == nil {
				resp.Body.Close()
			}
			refused, ok := errors.AsType[*proxy.RefusedError](err)
			if !ok || refused.Configured() != tt.configured || !strings.Contains(err.Error(), strings.ReplaceAll(tt.want, "ADDRESS", address)) || strings.Contains(err.Error(), "canary") {
				t.Errorf("the error is %v, want %s", err, tt.want)
			}
		})
	}
}
