package httpserver_test

import (
	"context"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"rekey/internal/httpserver"
)

// start runs a server on a free port until the test ends.
func start(t *testing.T, cfg httpserver.Config) *httpserver.Server {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	if cfg.Gatherer == nil {
		cfg.Gatherer = prometheus.NewRegistry()
	}
	s, err := httpserver.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The context of a test is done when its cleanups run.
		if err := s.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	return s
}

// exchange sends a request without a body on a connection of its own. It may be called from any
// goroutine.
func exchange(ctx context.Context, s *httpserver.Server, method, path string, header http.Header) (*http.Response, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.Addr()+path, nil)
	if err != nil {
		return nil, "", err
	}
	maps.Copy(req.Header, header)
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

// do sends a request and reads the answer; without one the test ends.
func do(t *testing.T, s *httpserver.Server, method, path string, header http.Header) (*http.Response, string) {
	t.Helper()
	resp, body, err := exchange(t.Context(), s, method, path, header)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

// status returns the status of a GET, or 0 if there was no answer. It may be called from any
// goroutine.
func status(t *testing.T, s *httpserver.Server, path string) int {
	t.Helper()
	resp, _, err := exchange(t.Context(), s, http.MethodGet, path, nil)
	if err != nil {
		t.Error(err)
		return 0
	}
	return resp.StatusCode
}

func TestNewRejects(t *testing.T) {
	tests := []struct {
		name string
		edit func(*httpserver.Config)
		want string
	}{
		{"no address", func(c *httpserver.Config) { c.Listen = "" }, `listen address ""`},
		{"no port", func(c *httpserver.Config) { c.Listen = "127.0.0.1" }, "missing port"},
		{"no gatherer", func(c *httpserver.Config) { c.Gatherer = nil }, "no gatherer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := httpserver.Config{Listen: "127.0.0.1:0", Gatherer: prometheus.NewRegistry()}
			tt.edit(&cfg)
			_, err := httpserver.New(cfg)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New = %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestRoutes(t *testing.T) {
	s := start(t, httpserver.Config{})
	tests := []struct {
		name      string
		method    string
		path      string
		wantCode  int
		wantType  string
		wantAllow string
		wantBody  string
	}{
		{"index", "GET", "/", 200, "text/plain; charset=utf-8", "", "/readyz"},
		{"index head", "HEAD", "/", 200, "text/plain; charset=utf-8", "", ""},
		{"index post", "POST", "/", 405, "text/plain; charset=utf-8", "GET, HEAD", "Method Not Allowed"},
		{"metrics", "GET", "/metrics", 200, "text/plain; version=0.0.4; charset=utf-8; escaping=underscores", "", ""},
		{"metrics post", "POST", "/metrics", 405, "text/plain; charset=utf-8", "GET, HEAD", "Method Not Allowed"},
		{"health", "GET", "/healthz", 200, "application/json", "", `{"status":"ok"}`},
		{"health head", "HEAD", "/healthz", 200, "application/json", "", ""},
		{"health put", "PUT", "/healthz", 405, "text/plain; charset=utf-8", "GET, HEAD", "Method Not Allowed"},
		{"ready", "GET", "/readyz", 200, "application/json", "", `"status":"ready"`},
		{"ready delete", "DELETE", "/readyz", 405, "text/plain; charset=utf-8", "GET, HEAD", "Method Not Allowed"},
		{"unknown path", "GET", "/metrics/x", 404, "text/plain; charset=utf-8", "", "404 page not found"},
		{"no profiling", "GET", "/debug/pprof/", 404, "text/plain; charset=utf-8", "", "404 page not found"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp, body := do(t, s, tt.method, tt.path, nil)
			if resp.StatusCode != tt.wantCode {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.wantCode)
			}
			if got := resp.Header.Get("Content-Type"); got != tt.wantType {
				t.Errorf("content type %q, want %q", got, tt.wantType)
			}
			if got := resp.Header.Get("Allow"); got != tt.wantAllow {
				t.Errorf("Allow %q, want %q", got, tt.wantAllow)
			}
			if !strings.Contains(body, tt.wantBody) {
				t.Errorf("body %q does not contain %q", body, tt.wantBody)
			}
			wantHeaders(t, resp.Header)
		})
	}
}

// wantHeaders holds an answer to the headers that every answer has.
func wantHeaders(t *testing.T, got http.Header) {
	t.Helper()
	want := map[string]string{
		"Cache-Control":           "no-store",
		"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
		"Referrer-Policy":         "no-referrer",
		"X-Content-Type-Options":  "nosniff",
	}
	for name, value := range want {
		if got.Get(name) != value {
			t.Errorf("%s is %q, want %q", name, got.Get(name), value)
		}
	}
}
