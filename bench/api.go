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

// The bucket of the measured API: 20 calls at once, then 50 a second, one every 20 ms.
const (
	bucketCapacity = 20
	bucketEvery    = 20 * time.Millisecond
	bucketSeconds  = int(time.Second / bucketEvery)
)

// inFlight is how long after an announced Retry-After a call may still come in that was under
// way when it was announced.
const inFlight = 20 * time.Millisecond

// ratedAPI is a stand-in with one token bucket, exact to the call. It says nothing of it but
// by a 429, and remembers how it was treated.
type ratedAPI struct {
	url    string
	server *http.Server
	ended  chan error

	mu     sync.Mutex    // Guards what follows.
	every  time.Duration // When the bucket gets a token.
	tokens int
	filled time.Time
	// closeEach refuses one call after each so many that got through, although there are tokens.
	closeEach int
	seen      rated
	announced time.Time // When the latest 429 was sent,
	until     time.Time // and before when it wants no call.
	awaited   bool      // No call came since the end of the pause.
}

// rated is how the API was treated.
type rated struct {
	first, last time.Time // Calls that got through.
	through     int
	refused     int
	early       int             // Calls before an announced Retry-After.
	late        []time.Duration // From the end of each pause to the next call.
}

func startRatedAPI(ctx context.Context) (*ratedAPI, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for the stand-in API: %w", err)
	}
	a := &ratedAPI{every: bucketEvery, url: "http://" + listener.Addr().String(), ended: make(chan error, 1)}
	a.reset(0)
	a.server = &http.Server{Handler: a, ReadHeaderTimeout: 10 * time.Second}
	go func() { a.ended <- a.server.Serve(listener) }()
	return a, nil
}

func (a *ratedAPI) stop() error {
	// The process ends next; what is left of the connections ends with it.
	_ = a.server.Close()
	if err := <-a.ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the stand-in API: %w", err)
	}
	return nil
}

// reset fills the bucket and forgets everything.
func (a *ratedAPI) reset(closeEach int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tokens, a.filled, a.closeEach = bucketCapacity, time.Time{}, closeEach
	a.seen, a.announced, a.until, a.awaited = rated{}, time.Time{}, time.Time{}, false
}

// treated returns how the API was treated since it was reset.
func (a *ratedAPI) treated() rated {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seen
}

// ServeHTTP mints a token, or takes one from the bucket.
func (a *ratedAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/oauth/token") {
		w.Header().Set("Content-Type", "application/json")
		// A client that is gone needs no answer.
		_, _ = w.Write([]byte(benchToken))
		return
	}
	wait, ok := a.take(time.Now())
	if ok {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	refuse(w, wait)
}

// benchToken answers a request for a token.
const benchToken = `{"access_token":"bench","token_type":"Bearer","expires_in":3600}`

// refuse answers a call for which there is no token.
func refuse(w http.ResponseWriter, wait int) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Retry-After", strconv.Itoa(wait))
	w.WriteHeader(http.StatusTooManyRequests)
	_, _ = fmt.Fprintf(w, `{"error":429,"errorCode":"RATE_LIMITED_TOKEN_BUCKET","reason":"Too Many Requests",`+
		`"detail":"Rate limit exceeded.","parameters":["bench",%d,%d,%d,1]}`, wait, bucketCapacity, bucketSeconds)
}

// take is one call. Of one that is refused it returns the seconds to wait.
func (a *ratedAPI) take(now time.Time) (wait int, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fill(now)
	a.judge(now)
	closes := a.closeEach > 0 && a.seen.through%a.closeEach == a.closeEach-1 && a.seen.refused*a.closeEach <= a.seen.through
	if a.tokens == 0 || closes {
		const seconds = 1
		a.seen.refused++
		a.announced, a.until, a.awaited = now, now.Add(seconds*time.Second), true
		return seconds, false
	}
	a.tokens--
	a.seen.through++
	a.seen.last = now
	if a.seen.first.IsZero() {
		a.seen.first = now
	}
	return 0, true
}

func (a *ratedAPI) fill(now time.Time) {
	if a.filled.IsZero() {
		a.filled = now
	}
	periods := int(now.Sub(a.filled) / a.every)
	a.tokens = min(a.tokens+periods, bucketCapacity)
	a.filled = a.filled.Add(time.Duration(periods) * a.every)
}

// judge notes whether the call respects the Retry-After that was announced last.
func (a *ratedAPI) judge(now time.Time) {
	switch {
	case now.Before(a.until):
		if now.Sub(a.announced) > inFlight {
			a.seen.early++
		}
	case a.awaited:
		a.awaited = false
		a.seen.late = append(a.seen.late, now.Sub(a.until))
	}
}
