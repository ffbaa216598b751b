package notify

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"rekey/internal/secret"
)

// That a proxy is there says nothing of who is behind it.
func TestReachOfAProxy(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	proxy, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := NewSender("1", func(string) (string, bool) { return "https://hooks.example.com/x", true })
	s.transport.Proxy = http.ProxyURL(proxy)
	receiver := &Receiver{URL: secret.Ref{Env: "URL"}}
	if proxied, err := s.Reach(t.Context(), receiver); err != nil || !proxied {
		t.Errorf("Reach = %t, %v with a proxy", proxied, err)
	}
	server.Close()
	if proxied, err := s.Reach(t.Context(), receiver); err == nil || !proxied {
		t.Errorf("Reach = %t, %v without its proxy", proxied, err)
	}
}
