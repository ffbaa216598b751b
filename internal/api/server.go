package api

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"rekey/internal/access"
	"rekey/internal/config"
	"rekey/internal/fleet"
	"rekey/internal/httpserver"
	"rekey/internal/quiet"
	"rekey/internal/refused"
)

// The limits of a connection. A client that is slow on purpose must not hold one without end, nor one client all of them.
const (
	readHeaderTimeout = 5 * time.Second
	answerTimeout     = 30 * time.Second // Behind the request. An answer that waits for a job extends it.
	idleTimeout       = 2 * time.Minute
	pingAfter         = 30 * time.Second // Of silence of a client that speaks HTTP/2.
	maxHeaderBytes    = 16 << 10
	maxStreams        = 100  // Requests at once on a connection of HTTP/2.
	maxConnsOfOne     = 256  // Connections of one address.
	maxConns          = 4096 // Connections of all.
)

// readTimeout bounds how long a request may take to come, body included.
var readTimeout = 30 * time.Second

// Recorder counts requests.
type Recorder interface {
	// APIRequest counts a request by its route, as Routes has it, and the status of its answer.
	APIRequest(route string, code int)
}

// Auditor keeps refusals for the audit trail.
type Auditor interface {
	// Refused counts a request from a remote address that was refused.
	Refused(k refused.Key, remote string)
}

// Tracer makes spans.
type Tracer interface {
	// Request begins the span of a request on a route, below the one that parent names (a traceparent, "" for none), and returns the traceparent of
	// what it leads to. end ends it with the status of the answer.
	Request(ctx context.Context, route, parent string) (within context.Context, below string, end func(status int))
}

// Config is what a Server is made of.
type Config struct {
	// API is the section of the configuration. Its Listen must not be empty.
	API config.API
	// Lookup finds the environment variables that hold clients' tokens.
	Lookup func(string) (string, bool)
	// Recorder counts requests. Required.
	Recorder Recorder
	// Auditor keeps refusals. Required.
	Auditor Auditor
	// Tracer makes the spans of requests of clients. Nil: none are made.
	Tracer Tracer
	// Logger takes refusals, and what goes wrong while serving. Required.
	Logger *zap.Logger
}

// Server is the HTTP API. Its methods may be called from several goroutines at once.
type Server struct {
	*httpserver.Endpoint
	log      *zap.Logger
	recorder Recorder
	auditor  Auditor
	tracer   Tracer
	bodies   *httpserver.Bodies // Of clients alone: strangers must not keep them waiting.
	lookup   func(string) (string, bool)
	failures quiet.Failures

	clients atomic.Pointer[access.Roster]
	fleet   atomic.Pointer[fleet.Client] // Nil until the worker has what it needs in NATS.
	doors   atomic.Pointer[map[string]http.Handler]
	console atomic.Pointer[http.Handler] // Nil: there is none.
	waiting *httpserver.Crowd            // Requests that wait, by client.
	// document makes the OpenAPI document once, when it is asked for first.
	document func() ([]byte, error)

	stopping context.Context //nolint:containedctx // It ends with the server, and so do the answers that wait.
	stop     context.CancelCauseFunc
}

// New checks the configuration and builds a server that does not listen yet.
func New(cfg Config) (*Server, error) {
	s := &Server{log: cfg.Logger.Named("api"), recorder: cfg.Recorder, auditor: cfg.Auditor, tracer: cfg.Tracer, bodies: httpserver.NewBodies(), lookup: cfg.Lookup, waiting: httpserver.NewCrowd(maxWaiting, maxWaitingOfOne), document: sync.OnceValues(newDocument)}
	s.stopping, s.stop = context.WithCancelCause(context.Background())
	s.Use(cfg.API)
	answer := s.handler()
	server := &http.Server{
		Handler:           answer,
		ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout,
		WriteTimeout: readTimeout + answerTimeout, // What is too slow to come has an answer, too.
		IdleTimeout:  idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams, SendPingTimeout: pingAfter, WriteByteTimeout: answerTimeout},
	}
	if cfg.API.TLS.CertFile != "" {
		keeper := &certKeeper{files: cfg.API.TLS, log: s.log}
		if err := keeper.read(); err != nil {
			return nil, fmt.Errorf("api.tls: %w", err)
		}
		server.TLSConfig = keeper.server()
		server.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { answer.ServeHTTP(w, keeper.certified(w, req)) })
	}
	var err error
	server.ErrorLog, err = zap.NewStdLogAt(s.log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core { return complaints{c, &quiet.Failures{}} })), zap.WarnLevel)
	if err != nil {
		return nil, fmt.Errorf("making the log of connections: %w", err)
	}
	crowd := httpserver.NewCrowd(maxConns, maxConnsOfOne)
	s.Endpoint, err = httpserver.NewEndpoint("API server", cfg.API.Listen, server, s.log, func(l net.Listener) net.Listener {
		return limited{Listener: l, crowd: crowd}
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Use makes these the clients. Requests under way end with the old ones.
func (s *Server) Use(a config.API) {
	s.clients.Store(access.NewRoster(a, s.clients.Load(), s.lookup, s.log))
}

// Serve answers from a fleet from now on. Until then every request that needs it is answered with 503.
func (s *Server) Serve(c *fleet.Client) { s.fleet.Store(c) }

// Doors puts handlers at /in/<name>. A handler recognises its sender itself.
func (s *Server) Doors(doors map[string]http.Handler) { s.doors.Store(&doors) }

// Pages puts a handler, which recognises persons itself, at all paths that are neither the API's nor those of doors. Nil takes it away.
func (s *Server) Pages(pages http.Handler) {
	if pages == nil {
		s.console.Store(nil)
		return
	}
	s.console.Store(&pages)
}

// Clients are those of the configuration that is in force.
func (s *Server) Clients() *access.Roster { return s.clients.Load() }

// Stop ends the answers that wait, and then the server: see httpserver.Endpoint.
func (s *Server) Stop(ctx context.Context) error {
	s.stop(errStopping)
	return s.Endpoint.Stop(ctx)
}
