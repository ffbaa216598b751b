// Package httpserver serves the metrics, the liveness and the readiness of a worker over HTTP.
//
// It answers GET and HEAD on /metrics, /healthz and /readyz, has no authentication, and says nothing
// there that would need one. It offers no profiling.
package httpserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"rekey/internal/readiness"
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
	// Checks are what /readyz asks. Nil: a server that is not draining is ready.
	Checks *readiness.Checks
	// Pages are served at every path that is not one of the server's own. Nil: there is an index of these at /, and nothing else.
	Pages http.Handler
	// Logger takes what goes wrong while serving; nil means that nothing is logged.
	Logger *zap.Logger
}

// Server is an HTTP server for those who watch a worker. Its methods may be called from several
// goroutines at once.
type Server struct {
	*Endpoint
	checks *readiness.Checks
	log    *zap.Logger

	stopOnce sync.Once
	stopErr  error
}

// New checks the configuration and builds a server that does not listen yet.
func New(cfg Config) (*Server, error) {
	if cfg.Gatherer == nil {
		return nil, errors.New("building HTTP server: no gatherer")
	}
	s := &Server{checks: cmp.Or(cfg.Checks, &readiness.Checks{}), log: cmp.Or(cfg.Logger, zap.NewNop()).Named("http")}
	var err error
	s.Endpoint, err = NewEndpoint("HTTP server", cfg.Listen, &http.Server{
		Handler:           s.handler(cfg.Gatherer, cfg.Pages),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
	}, s.log, nil)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Drain makes /readyz answer 503 "stopping" from now on, so that those who route work here go
// elsewhere while the worker finishes what it has. Everything else is served as before.
func (s *Server) Drain() {
	s.checks.Drain()
}

// Stop drains, closes the listener and waits until requests and checks in flight have ended, at
// most until ctx is done; then it cuts the connections and returns an error. Further calls wait
// for the first one and return the same. Stopping a server that was never started is no error.
func (s *Server) Stop(ctx context.Context) error {
	s.stopOnce.Do(func() {
		s.Drain()
		s.stopErr = s.Endpoint.Stop(ctx)
		// Only ended requests start no checks.
		if err := s.checks.Stop(ctx); err != nil {
			s.stopErr = errors.Join(s.stopErr, fmt.Errorf("stopping HTTP server: %w", err))
		}
	})
	return s.stopErr
}
