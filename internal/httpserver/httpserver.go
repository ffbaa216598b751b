// Package httpserver serves the metrics, the liveness and the readiness of a worker over HTTP.
//
// It answers GET and HEAD on /, /metrics, /healthz and /readyz, has no authentication, and says
// nothing that would need one. It offers no profiling.
package httpserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// The limits of a connection. A client that asks for a few kilobytes needs no more, and a client that
// is slow on purpose must not hold a connection without end.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
)

// Config says where the server listens and what it shows.
type Config struct {
	// Listen is the address, as in "127.0.0.1:9464". It is required. Port 0 takes a free port,
	// which Addr tells after Start; an empty host listens on all interfaces.
	Listen string
	// Gatherer holds what /metrics shows. It is required.
	Gatherer prometheus.Gatherer
	// Checks are what /readyz asks. Without any, a server that is not draining is ready.
	Checks []Check
	// Logger takes what goes wrong while serving; nil means that nothing is logged.
	Logger *zap.Logger
}

// Server is an HTTP server for those who watch a worker. Its methods may be called from several
// goroutines at once.
type Server struct {
	listen string
	checks []*check
	log    *zap.Logger
	server *http.Server

	draining atomic.Bool

	// mu guards listener and stopped.
	mu       sync.Mutex
	listener net.Listener
	stopped  bool

	// served has a buffer of one and receives what ended the goroutine that Start began.
	served   chan error
	stopOnce sync.Once
	stopErr  error
}

// New checks the configuration and builds a server that does not listen yet.
func New(cfg Config) (*Server, error) {
	if _, _, err := net.SplitHostPort(cfg.Listen); err != nil {
		return nil, fmt.Errorf("building HTTP server: listen address %q: %w", cfg.Listen, err)
	}
	if cfg.Gatherer == nil {
		return nil, errors.New("building HTTP server: no gatherer")
	}
	checks, err := newChecks(cfg.Checks)
	if err != nil {
		return nil, fmt.Errorf("building HTTP server: %w", err)
	}
	log := cmp.Or(cfg.Logger, zap.NewNop()).Named("http")
	// What net/http has to say is about clients that misbehave and handlers that panic.
	stdLog, err := zap.NewStdLogAt(log, zap.WarnLevel)
	if err != nil {
		return nil, fmt.Errorf("building HTTP server: making its log: %w", err)
	}
	s := &Server{listen: cfg.Listen, checks: checks, log: log, served: make(chan error, 1)}
	s.server = &http.Server{
		Handler:           s.handler(cfg.Gatherer),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          stdLog,
	}
	return s, nil
}

// Start binds the address and serves it until Stop. It returns as soon as connections are
// accepted, and fails if the address cannot be bound or the server was started or stopped before.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopped:
		return errors.New("starting HTTP server: it was stopped")
	case s.listener != nil:
		return errors.New("starting HTTP server: it runs already")
	}
	// Binding an address does not wait, so there is nothing for a context to end.
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", s.listen)
	if err != nil {
		return fmt.Errorf("starting HTTP server: %w", err)
	}
	s.listener = listener
	go s.serve(listener)
	return nil
}

// serve runs until the listener is closed. An unexpected end is logged at once, because
// Stop, which returns it too, may be far away.
func (s *Server) serve(listener net.Listener) {
	err := s.server.Serve(listener)
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("serving %s: %w", listener.Addr(), err)
		s.log.Error("HTTP server ended", zap.Error(err))
	}
	s.served <- err
}

// Addr returns the address that the server listens on, as host:port; before Start, the one that it
// was configured with.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return s.listen
	}
	return s.listener.Addr().String()
}

// Drain makes /readyz answer 503 "stopping" from now on, so that those who route work here go
// elsewhere while the worker finishes what it has. Everything else is served as before.
func (s *Server) Drain() {
	s.draining.Store(true)
}

// Stop drains, closes the listener and waits until requests and checks in flight have ended, at
// most until ctx is done; then it cuts the connections and returns an error. Further calls wait
// for the first one and return the same. Stopping a server that was never started is no error.
func (s *Server) Stop(ctx context.Context) error {
	s.stopOnce.Do(func() { s.stopErr = s.stop(ctx) })
	return s.stopErr
}

func (s *Server) stop(ctx context.Context) error {
	s.Drain()
	s.mu.Lock()
	s.stopped = true
	started := s.listener != nil
	s.mu.Unlock()
	if !started {
		return nil
	}
	// The order counts: only a closed listener ends serve, and only ended requests start no checks.
	if err := errors.Join(s.shutDown(ctx), <-s.served, s.awaitChecks(ctx)); err != nil {
		return fmt.Errorf("stopping HTTP server: %w", err)
	}
	return nil
}

// shutDown closes the listener and waits for requests in flight, until ctx is done.
func (s *Server) shutDown(ctx context.Context) error {
	err := s.server.Shutdown(ctx)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("waiting for requests: %w", err)
	if closeErr := s.server.Close(); closeErr != nil {
		err = errors.Join(err, fmt.Errorf("cutting connections: %w", closeErr))
	}
	return err
}

// awaitChecks waits until no check runs, until ctx is done, and keeps new ones from running.
func (s *Server) awaitChecks(ctx context.Context) error {
	var running []string
	for _, c := range s.checks {
		if !c.acquire(ctx) {
			running = append(running, c.Name)
		}
	}
	if len(running) > 0 {
		return fmt.Errorf("checks that still run: %s", strings.Join(running, ", "))
	}
	return nil
}
