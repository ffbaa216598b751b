package httpserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"

	"go.uber.org/zap"
)

// Endpoint serves an http.Server at an address until it is stopped. Its methods may be called from several goroutines at once.
type Endpoint struct {
	name   string
	listen string
	log    *zap.Logger
	server *http.Server
	wrap   func(net.Listener) net.Listener

	// mu guards listener and stopped.
	mu       sync.Mutex
	listener net.Listener
	stopped  bool

	// served has a buffer of one and receives what ended the goroutine that Start began.
	served   chan error
	stopOnce sync.Once
	stopErr  error
}

// NewEndpoint returns an endpoint that does not listen yet. name is what errors call it, as in "HTTP server". listen is an address
// as in "127.0.0.1:9464". A server with a TLSConfig serves TLS only. What the server itself has to say, about clients that misbehave
// and handlers that panic, goes to log as warnings, unless it has an ErrorLog. wrap, when not nil, is put around the listener.
func NewEndpoint(name, listen string, server *http.Server, log *zap.Logger, wrap func(net.Listener) net.Listener) (*Endpoint, error) {
	if _, _, err := net.SplitHostPort(listen); err != nil {
		return nil, fmt.Errorf("building %s: listen address %q: %w", name, listen, err)
	}
	if server.ErrorLog == nil {
		stdLog, err := zap.NewStdLogAt(log, zap.WarnLevel)
		if err != nil {
			return nil, fmt.Errorf("building %s: making its log: %w", name, err)
		}
		server.ErrorLog = stdLog
	}
	return &Endpoint{name: name, listen: listen, log: log, server: server, wrap: wrap, served: make(chan error, 1)}, nil
}

// Start binds the address and serves it until Stop. It returns as soon as connections are
// accepted, and fails if the address cannot be bound or the server was started or stopped before.
func (e *Endpoint) Start() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.stopped:
		return fmt.Errorf("starting %s: it was stopped", e.name)
	case e.listener != nil:
		return fmt.Errorf("starting %s: it runs already", e.name)
	}
	// Binding an address does not wait, so there is nothing for a context to end.
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", e.listen)
	if err != nil {
		return fmt.Errorf("starting %s: %w", e.name, err)
	}
	e.listener = listener
	if e.wrap != nil {
		listener = e.wrap(listener)
	}
	go e.serve(listener)
	return nil
}

// serve runs until the listener is closed. An unexpected end is logged at once, because
// Stop, which returns it too, may be far away.
func (e *Endpoint) serve(listener net.Listener) {
	var err error
	if e.server.TLSConfig != nil {
		err = e.server.ServeTLS(listener, "", "")
	} else {
		err = e.server.Serve(listener)
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("serving %s: %w", listener.Addr(), err)
		e.log.Error(e.name+" ended", zap.Error(err))
	}
	e.served <- err
}

// Addr returns the address that the server listens on, as host:port; before Start, the one that it
// was configured with.
func (e *Endpoint) Addr() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.listener == nil {
		return e.listen
	}
	return e.listener.Addr().String()
}

// Stop closes the listener and waits until requests in flight have ended, at most until ctx is done; then it cuts the
// connections and returns an error. Further calls wait for the first one and return the same. Stopping a server that was
// never started is no error.
func (e *Endpoint) Stop(ctx context.Context) error {
	e.stopOnce.Do(func() { e.stopErr = e.stop(ctx) })
	return e.stopErr
}

func (e *Endpoint) stop(ctx context.Context) error {
	e.mu.Lock()
	e.stopped = true
	started := e.listener != nil
	e.mu.Unlock()
	if !started {
		return nil
	}
	// The order counts: only a closed listener ends serve.
	if err := errors.Join(e.shutDown(ctx), <-e.served); err != nil {
		return fmt.Errorf("stopping %s: %w", e.name, err)
	}
	return nil
}

// shutDown closes the listener and waits for requests in flight, until ctx is done.
func (e *Endpoint) shutDown(ctx context.Context) error {
	err := e.server.Shutdown(ctx)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("waiting for requests: %w", err)
	if closeErr := e.server.Close(); closeErr != nil {
		err = errors.Join(err, fmt.Errorf("cutting connections: %w", closeErr))
	}
	return err
}
