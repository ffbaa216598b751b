package atlas_test

import (
	"bufio"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"rekey/internal/atlas"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/proxy"
)

// serve runs a handler and returns a Config for it, with the client's own transport.
func serve(t *testing.T, handler http.HandlerFunc) atlas.Config {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Only with the body read does the server notice that the client is gone.
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Error(err)
		}
		handler(w, r)
	}))
	t.Cleanup(server.Close)
	cfg := config(nil)
	cfg.BaseURL = server.URL
	return cfg
}

// raw answers every connection, after the head of its request, with these bytes, and closes it.
func raw(t *testing.T, answer string, linger bool) atlas.Config {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, err = http.ReadRequest(bufio.NewReader(conn))
			if err == nil {
				_, err = conn.Write([]byte(answer))
			}
			if tcp, ok := conn.(*net.TCPConn); ok && err == nil && !linger {
				_ = tcp.SetLinger(0)
			}
			_ = conn.Close()
		}
	}()
	cfg := config(nil)
	cfg.BaseURL = "http://" + listener.Addr().String()
	return cfg
}

// TestNoAnswer: what is known when no good answer comes. token.revoke needs no request for a
// token, so that the one request decides.
func TestNoAnswer(t *testing.T) {
	blocked := func(t *testing.T) atlas.Config {
		cfg := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		cfg.Timeout = 50 * time.Millisecond
		return cfg
	}
	closed := func(t *testing.T) atlas.Config {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		cfg := config(nil)
		cfg.BaseURL = "http://" + listener.Addr().String()
		_ = listener.Close()
		return cfg
	}
	untrusted := func(t *testing.T) atlas.Config {
		server := httptest.NewUnstartedServer(http.NotFoundHandler())
		server.Config.ErrorLog = zap.NewStdLog(zap.NewNop()) // It would tell of the handshake.
		server.StartTLS()
		t.Cleanup(server.Close)
		cfg := config(nil)
		cfg.BaseURL = server.URL
		return cfg
	}
	stalled := func(t *testing.T) atlas.Config {
		cfg := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		})
		cfg.Timeout = 50 * time.Millisecond
		return cfg
	}
	tests := []struct {
		name          string
		config        func(*testing.T) atlas.Config
		want          jobs.Reason
		wantStatus    int
		wantEffective bool
		wantText      string
	}{
		{name: "no server listens", config: closed, want: jobs.ReasonUnavailable, wantText: "no answer: dial tcp"},
		{name: "unknown authority", config: untrusted, want: jobs.ReasonUnavailable, wantText: "certificate signed by unknown authority"},
		{name: "no host", config: func(*testing.T) atlas.Config {
			cfg := config(nil)
			cfg.BaseURL = "http://127.0.0.1:1"
			return cfg
		}, want: jobs.ReasonUnavailable, wantText: "no answer: dial tcp"},
		{name: "timeout", config: blocked, want: jobs.ReasonUnavailable, wantEffective: true, wantText: "no answer: the request took longer than 50ms"},
		{name: "timeout in the body", config: stalled, want: jobs.ReasonUnavailable, wantStatus: 200, wantEffective: true, wantText: "HTTP 200, but the body could not be read (the request took longer than 50ms)"},
		{name: "reset", config: func(t *testing.T) atlas.Config { return raw(t, "", false) }, want: jobs.ReasonUnavailable, wantEffective: true, wantText: "no answer: "},
		{name: "closed", config: func(t *testing.T) atlas.Config { return raw(t, "", true) }, want: jobs.ReasonUnavailable, wantEffective: true, wantText: "no answer: "},
		{name: "no HTTP", config: func(t *testing.T) atlas.Config { return raw(t, "220 "+revokedToken+" ESMTP\r\n", true) }, want: jobs.ReasonUnavailable, wantEffective: true, wantText: "no answer: "},
		{
			name: "cut head", config: func(t *testing.T) atlas.Config { return raw(t, "HTTP/1.1 200 OK\r\nContent-Le", true) },
			want: jobs.ReasonUnavailable, wantEffective: true, wantText: "no answer: ",
		},
		{
			name: "cut success", config: func(t *testing.T) atlas.Config { return raw(t, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", true) },
			want: jobs.ReasonProtocol, wantStatus: 200, wantEffective: true, wantText: "(the answer was cut off)",
		},
		{
			name: "cut refusal", config: func(t *testing.T) atlas.Config {
				return raw(t, "HTTP/1.1 409 Conflict\r\nContent-Length: 9\r\n\r\n{}", true)
			},
			want: jobs.ReasonConflict, wantStatus: 409, wantText: "(the answer was cut off)",
		},
		{
			name: "endless success", config: func(t *testing.T) atlas.Config {
				return serve(t, func(w http.ResponseWriter, _ *http.Request) {
					for chunk := []byte(strings.Repeat("x", 1<<16)); ; {
						if _, err := w.Write(chunk); err != nil {
							return
						}
					}
				})
			},
			want: jobs.ReasonProtocol, wantStatus: 200, wantEffective: true, wantText: "(the answer is longer than 1048576 bytes)",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newClient(t, tt.config(t))
			f := revokeFails(t, c, job(t, kinds.TokenRevoke, "service"))
			if f.Reason != tt.want || f.Answer.Status != tt.wantStatus || f.MaybeEffective != tt.wantEffective {
				t.Errorf("got %+v, want %s, status %d, maybe effective %v", f, tt.want, tt.wantStatus, tt.wantEffective)
			}
			if text := f.Err.Error(); !strings.Contains(text, tt.wantText) || strings.Contains(text, "canary") || strings.Contains(text, "/api/") {
				t.Errorf("error %q, want %q in it and no secret or URL", text, tt.wantText)
			}
		})
	}
}

// TestSecondConnection: a request that could not be written to one connection, and for which
// there is no other, has not arrived.
func TestSecondConnection(t *testing.T) {
	c := newClient(t, config(transportFunc(func(req *http.Request) (*http.Response, error) {
		written(req) // Into a buffer that the dead connection did not take.
		httptrace.ContextClientTrace(req.Context()).GetConn("127.0.0.1:443")
		return nil, errors.New("connection refused")
	})))
	if f := revokeFails(t, c, job(t, kinds.TokenRevoke, "service")); f.MaybeEffective {
		t.Errorf("got %+v (%v)", f, f)
	}
}

// TestCallerEnds: the cause of the caller's context can be found in the failure.
func TestCallerEnds(t *testing.T) {
	arrived := make(chan struct{})
	cfg := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	stopping := errors.New("stopping")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-arrived
		cancel(stopping)
	}()
	answer, err := newClient(t, cfg).Revoke(ctx, job(t, kinds.TokenRevoke, "service"))
	f := failureOf(t, answer, err)
	if f.Reason != jobs.ReasonUnavailable || !f.MaybeEffective || !errors.Is(err, stopping) {
		t.Errorf("got %+v (%v)", f, f)
	}
}

// TestRedirect: neither call nor token request follows, and credentials do not travel.
func TestRedirect(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, location := range []string{"", "/api/elsewhere", "http://127.0.0.1:1/", "http://[bad"} {
			var requests atomic.Int32
			cfg := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				requests.Add(1)
				if location != "" {
					w.Header()["Location"] = []string{location}
				}
				w.WriteHeader(status)
			})
			c := newClient(t, cfg)
			for i, kind := range []jobs.Kind{kinds.TokenRevoke, kinds.JWKSRevoke} {
				f := revokeFails(t, c, job(t, kind, "service"))
				if f.Reason != jobs.ReasonProtocol || f.Answer.Status != status || f.MaybeEffective != (kind == kinds.TokenRevoke) {
					t.Errorf("%d to %q: %+v (%v)", status, location, f, f)
				}
				if !strings.HasSuffix(f.Err.Error(), ": redirects are not followed") {
					t.Errorf("error %q", f.Err)
				}
				if got := int(requests.Load()); got != i+1 {
					t.Errorf("%d to %q: %d requests, want %d", status, location, got, i+1)
				}
			}
		}
	}
}

func TestUserAgent(t *testing.T) {
	seen := make(chan string, 10)
	cfg := serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Get("User-Agent")
		if isTokenRequest(r) {
			_, _ = w.Write([]byte(`{"access_token":"x","token_type":"Bearer","expires_in":60}`))
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	revokeWorks(t, newClient(t, cfg), job(t, kinds.JWKSRevoke, "service"))
	for range 2 {
		if got := <-seen; got != "rekey/1.2.3" {
			t.Errorf("User-Agent %q", got)
		}
	}
}

// TestConnectionReuse: answers are read to their end, so that one connection serves all.
func TestConnectionReuse(t *testing.T) {
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusConflict)
		_, _ = w.Write([]byte(strings.Repeat("x", 100_000)))
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	cfg := config(nil)
	cfg.BaseURL = server.URL + "/"
	c := newClient(t, cfg)
	for range 5 {
		revokeFails(t, c, job(t, kinds.TokenRevoke, "service"))
	}
	if got := connections.Load(); got != 1 {
		t.Errorf("%d connections, want 1", got)
	}
}

func TestCAFile(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(server.Close)
	write := func(content []byte) string {
		path := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cfg := config(nil)
	cfg.BaseURL = server.URL
	cfg.CAFile = write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	revokeWorks(t, newClient(t, cfg), job(t, kinds.TokenRevoke, "service"))

	cfg.CAFile = write([]byte("no PEM"))
	if _, err := atlas.New(cfg); err == nil || !strings.HasSuffix(err.Error(), "there is no certificate in it") {
		t.Errorf("New() with a file of no certificate = %v", err)
	}
	cfg.CAFile = filepath.Join(t.TempDir(), "absent")
	want := "building the Atlas client: reading the CA file " + cfg.CAFile + ": no such file or directory"
	if _, err := atlas.New(cfg); err == nil || err.Error() != want {
		t.Errorf("New() with an absent file = %v, want %s", err, want)
	}
}

// TestProxyRefuses: a proxy that does not let us through is not the API, and not the account either.
func TestProxyRefuses(t *testing.T) {
	for status, want := range map[int]jobs.Reason{
		407: jobs.ReasonConfig, 403: jobs.ReasonConfig, 400: jobs.ReasonConfig, 502: jobs.ReasonUnavailable, 503: jobs.ReasonUnavailable, 504: jobs.ReasonUnavailable,
	} {
		for _, account := range []string{"service", "key"} {
			t.Run(fmt.Sprint(status, " ", account), func(t *testing.T) {
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Retry-After", "600")
					w.WriteHeader(status)
				}))
				defer server.Close()
				address := strings.TrimPrefix(server.URL, "http://")
				transport := &http.Transport{}
				proxy.Use(transport)
				transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: address, User: url.UserPassword("me", "canary")})
				c := newClient(t, config(transport))
				f := revokeFails(t, c, job(t, kinds.JWKSRevoke, account))
				said := fmt.Sprintf("the API was not asked: the proxy %s refused to connect to atlas.test:443 with HTTP %d", address, status)
				if f.Reason != want || f.MaybeEffective || !f.RetryAt.IsZero() || !strings.Contains(f.Err.Error(), said) || strings.Contains(f.Err.Error(), "canary") {
					t.Errorf("got %+v, want %s: %s", f, want, said)
				}
				if err := c.CheckAccounts(t.Context()); err != nil {
					t.Errorf("the accounts: %v", err)
				}
			})
		}
	}
}
