package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// api is a stand-in for the Atlas API that answers at once, after a fixed delay, or on
// request, and remembers when each target was called.
type api struct {
	url    string
	server *http.Server
	ended  chan error
	made   atomic.Uint64 // Projects.

	mu    sync.Mutex // Guards all below.
	delay time.Duration
	gate  chan struct{} // Closed when held calls may be answered; nil when none are held.
	later time.Duration // Calls are refused and may be repeated after it; zero: they are accepted.
	calls map[string]time.Time
	count int
}

// startAPI serves the stand-in on a free port of the loopback interface.
func startAPI(ctx context.Context) (*api, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for the stand-in API: %w", err)
	}
	a := &api{url: "http://" + listener.Addr().String(), calls: map[string]time.Time{}, ended: make(chan error, 1)}
	a.server = &http.Server{Handler: a, ReadHeaderTimeout: 10 * time.Second}
	go func() { a.ended <- a.server.Serve(listener) }()
	return a, nil
}

// ServeHTTP mints a token or accepts the call, whose last path element but two is its target.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/oauth/token") {
		w.Header().Set("Content-Type", "application/json")
		// A client that is gone needs no answer.
		_, _ = w.Write([]byte(`{"access_token":"bench","token_type":"Bearer","expires_in":3600}`))
		return
	}
	delay, gate, later := a.called(r.URL.Path, time.Now())
	if later > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(later.Seconds())))
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if gate != nil {
		select {
		case <-gate:
		case <-r.Context().Done():
		}
	}
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		<-timer.C
	}
	w.WriteHeader(http.StatusAccepted)
}

func (a *api) called(path string, at time.Time) (delay time.Duration, gate <-chan struct{}, later time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count++
	if _, twice := a.calls[path]; !twice {
		a.calls[path] = at
	}
	return a.delay, a.gate, a.later
}

// refuse answers all calls from now on with 503 and Retry-After.
func (a *api) refuse(later time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.later = later
}

// hold keeps all calls from now on without an answer until release.
func (a *api) hold() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gate = make(chan struct{})
}

// release answers the calls that are held at once, and those from now on after a delay.
func (a *api) release(delay time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.gate)
	a.gate, a.delay = nil, delay
}

// reset forgets the calls, and answers the next ones at once.
func (a *api) reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls, a.count, a.delay = map[string]time.Time{}, 0, 0
}

// at returns when a target was called first.
func (a *api) at(project string) (time.Time, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at, ok := a.calls[callPath(project)]
	return at, ok
}

// targets returns how many targets were called, and how many calls there were.
func (a *api) targets() (targets, calls int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.calls), a.count
}

func (a *api) stop() error {
	// The process ends next; what is left of the connections ends with it.
	_ = a.server.Close()
	if err := <-a.ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the stand-in API: %w", err)
	}
	return nil
}

func callPath(project string) string {
	return "/api/atlas/v2/groups/" + project + "/userSecurity/customerX509"
}

// newProject makes up a project id that was not used before.
func (a *api) newProject() string { return fmt.Sprintf("%024x", a.made.Add(1)) }
