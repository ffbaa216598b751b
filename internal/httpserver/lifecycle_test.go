package httpserver_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"rekey/internal/httpserver"
	"rekey/internal/readiness"
)

// checks are those of a server.
func checks(t *testing.T, list ...readiness.Check) *readiness.Checks {
	t.Helper()
	checks, err := readiness.New(list...)
	if err != nil {
		t.Fatal(err)
	}
	return checks
}

// build makes a server that listens nowhere yet.
func build(t *testing.T, listen string, list ...readiness.Check) *httpserver.Server {
	t.Helper()
	s, err := httpserver.New(httpserver.Config{Listen: listen, Gatherer: prometheus.NewRegistry(), Checks: checks(t, list...)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAddr(t *testing.T) {
	s := build(t, "127.0.0.1:0")
	if got := s.Addr(); got != "127.0.0.1:0" {
		t.Errorf("before Start: %q, want what was configured", got)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(s.Addr())
	if err != nil || host != "127.0.0.1" || port == "0" {
		t.Errorf("after Start: %q, %v; want the port that was taken", s.Addr(), err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestStartRefuses(t *testing.T) {
	running := start(t, httpserver.Config{})
	stopped := build(t, "127.0.0.1:0")
	if err := stopped.Stop(t.Context()); err != nil {
		t.Fatalf("stopping a server that was never started: %v", err)
	}
	tests := []struct {
		name   string
		server *httpserver.Server
		want   string
	}{
		{"a second time", running, "it runs already"},
		{"after Stop", stopped, "it was stopped"},
		{"on a port that is taken", build(t, running.Addr()), "address already in use"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.server.Start()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Start = %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestStopIsIdempotent(t *testing.T) {
	s := build(t, "127.0.0.1:0")
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := s.Stop(t.Context()); err != nil {
				t.Errorf("Stop: %v", err)
			}
		})
	}
	wg.Wait()
	conn, err := net.Dial("tcp", s.Addr())
	if err == nil {
		_ = conn.Close()
		t.Error("the port is still open after Stop")
	}
}

// gate is a check that says when it runs and ends on request, whatever its context says.
type gate struct {
	entered, leave chan struct{}
}

func newGate() gate {
	return gate{entered: make(chan struct{}), leave: make(chan struct{})}
}

func (g gate) check(context.Context) error {
	close(g.entered)
	<-g.leave
	return nil
}

// await returns once the check runs. If the request that was to run it ends before, so does the test.
func (g gate) await(t *testing.T, line <-chan string) {
	t.Helper()
	select {
	case <-g.entered:
	case got := <-line:
		t.Fatalf("the request ended with %q before its check ran", got)
	}
}

// ask sends GET /readyz on a connection of its own and returns the status line, or "" if the
// connection was cut.
func ask(t *testing.T, addr string) <-chan string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
	})
	if _, err := conn.Write([]byte("GET /readyz HTTP/1.1\r\nHost: rekey\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	line := make(chan string, 1)
	go func() {
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			line <- ""
			return
		}
		resp.Body.Close()
		line <- resp.Status
	}()
	return line
}

// awaitClosed returns once no server listens at addr.
func awaitClosed(t *testing.T, addr string) {
	t.Helper()
	for t.Context().Err() == nil {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		_ = conn.Close()
	}
}

func TestStopWaitsForRequests(t *testing.T) {
	g := newGate()
	s := build(t, "127.0.0.1:0", readiness.Check{Name: "gate", Func: g.check})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	line := ask(t, s.Addr())
	g.await(t, line)
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(t.Context()) }()
	awaitClosed(t, s.Addr())
	select {
	case err := <-stopped:
		t.Errorf("Stop returned %v while a request ran", err)
	default:
	}
	close(g.leave)
	if got := <-line; got != "200 OK" {
		t.Errorf("the request in flight got %q, want 200", got)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Stop: %v", err)
	}
}

func TestStopCutsWhenTimeIsUp(t *testing.T) {
	g := newGate()
	s := build(t, "127.0.0.1:0", readiness.Check{Name: "gate", Func: g.check})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	line := ask(t, s.Addr())
	g.await(t, line)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	first := s.Stop(ctx)
	if !errors.Is(first, context.Canceled) || !strings.Contains(first.Error(), "checks that still run: gate") {
		t.Errorf("Stop = %v, want the end of the time and the check that still runs", first)
	}
	if got := <-line; got != "" {
		t.Errorf("the request in flight got %q, want a cut connection", got)
	}
	if again := s.Stop(t.Context()); again == nil || again.Error() != first.Error() {
		t.Errorf("a second Stop = %v, want the same as the first", again)
	}
	close(g.leave)
}
