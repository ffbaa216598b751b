package api_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"rekey/internal/api"
	"rekey/internal/apptest"
)

// dial connects without a word.
func (r *rig) dial() net.Conn {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.Addr())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(apptest.Patience)); err != nil {
		r.t.Fatal(err)
	}
	return conn
}

// TestSlowHeaders: a client whose headers never end is cut off, and keeps no other from an answer.
func TestSlowHeaders(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	slow := r.dial()
	begun := time.Now()
	if _, err := io.WriteString(slow, "GET /v1/status HTTP/1.1\r\nHost: rekey\r\nX-Slow: "); err != nil {
		t.Fatal(err)
	}
	if got, _, _ := r.ask("GET", "/v1/status", "Bearer "+soarToken); got != 503 {
		t.Errorf("another client: %d", got)
	}
	if _, err := io.Copy(io.Discard, slow); err != nil {
		t.Errorf("the slow client: %v, want the end of the connection", err)
	}
	if took := time.Since(begun); took > 15*time.Second {
		t.Errorf("the slow client was cut off after %s", took)
	}
}

// TestLargeRequests: what is too large is refused, and the server stays.
func TestLargeRequests(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	for name, tt := range map[string]struct {
		request string
		want    int
	}{
		"a huge header":     {"GET /v1/status HTTP/1.1\r\nHost: rekey\r\nX-Huge: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", http.StatusRequestHeaderFieldsTooLarge},
		"many headers":      {"GET /v1/status HTTP/1.1\r\nHost: rekey\r\n" + strings.Repeat("X-Many: y\r\n", 10_000) + "\r\n", http.StatusRequestHeaderFieldsTooLarge},
		"two lengths":       {"POST /v1/jobs HTTP/1.1\r\nHost: rekey\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabc", http.StatusBadRequest},
		"a stranger's body": {"POST /v1/jobs HTTP/1.1\r\nHost: rekey\r\nContent-Length: 1000000000000\r\nConnection: close\r\n\r\n", http.StatusUnauthorized},
		"no HTTP":           {"\x16\x03\x01\r\n\r\n", http.StatusBadRequest},
	} {
		conn := r.dial()
		// The server may have answered, and closed, before all is sent.
		_, _ = io.WriteString(conn, tt.request) //nolint:errcheck // It may be closed.
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		resp.Body.Close()
		if resp.StatusCode != tt.want {
			t.Errorf("%s: %d, want %d", name, resp.StatusCode, tt.want)
		}
	}
	if got, _, _ := r.ask("GET", "/v1/status", "Bearer "+soarToken); got != 503 {
		t.Errorf("afterwards: %d", got)
	}
}

// TestManyConnections: one address cannot have all connections.
func TestManyConnections(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	const most = 256
	conns := make([]net.Conn, most)
	for i := range conns {
		conns[i] = r.dial()
	}
	status := func(conn net.Conn) error {
		if _, err := fmt.Fprintf(conn, "GET /v1/status HTTP/1.1\r\nHost: rekey\r\nAuthorization: Bearer %s\r\n\r\n", soarToken); err != nil {
			return err
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	if err := status(conns[most-1]); err != nil {
		t.Fatalf("the last that there may be: %v", err)
	}
	if err := status(r.dial()); err == nil {
		t.Error("one more is served")
	}
	conns[0].Close()
	apptest.Eventually(t, "a place", func() bool { return status(r.dial()) == nil })
}

// TestSlowBody: a client whose body does not end learns that, and is cut off.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	authority := apptest.NewAuthority(t)
	r := newRig(t, func(r *rig) {
		cert := authority.Issue(t, "127.0.0.1")
		r.cfg.TLS.CertFile, r.cfg.TLS.KeyFile = cert.CertFile, cert.KeyFile
	})
	r.Doors(map[string]http.Handler{"slow": http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if _, err := io.ReadAll(q.Body); errors.Is(err, os.ErrDeadlineExceeded) {
			w.WriteHeader(http.StatusRequestTimeout)
		}
	})})
	var slow sync.WaitGroup
	for range 4 { // Whether there is time for the answer is close.
		conn := tls.Client(r.dial(), &tls.Config{RootCAs: authority.Pool, ServerName: "127.0.0.1"})
		slow.Go(func() {
			if _, err := io.WriteString(conn, "POST /in/slow HTTP/1.1\r\nHost: rekey\r\nContent-Length: 100\r\n\r\n{"); err != nil {
				t.Error(err)
				return
			}
			if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") {
				t.Errorf("%q, then %v; want 408, then the end of the connection", answer, err)
			}
		})
	}
	slow.Wait()
}

// TestFailedHandshakes: strangers who speak no TLS cannot fill the log.
func TestFailedHandshakes(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(r *rig) {
		cert := apptest.NewAuthority(t).Issue(t, "127.0.0.1")
		r.cfg.TLS.CertFile, r.cfg.TLS.KeyFile = cert.CertFile, cert.KeyFile
	})
	for range 20 {
		conn := r.dial()
		if _, err := io.WriteString(conn, "no TLS at all\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, conn) //nolint:errcheck // The server closes it, maybe with a reset.
	}
	if lines := r.logs.FilterMessageSnippet("TLS handshake error").Len(); lines != 1 {
		t.Errorf("%d lines in the log, want 1", lines)
	}
}

// TestUncleanPaths: a path that is not written as the routes are is refused, and not redirected, also where the console serves what programs do not ask for.
func TestUncleanPaths(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.Pages(http.RedirectHandler("/elsewhere", http.StatusTemporaryRedirect))
	for _, path := range []string{"//in/github", "//v1/jobs", "/jobs/../in/github"} {
		if got, _, p := r.ask("POST", path, ""); got != 404 || p.Code != api.CodeNotFound {
			t.Errorf("%s: %d %s", path, got, p.Code)
		}
	}
}
