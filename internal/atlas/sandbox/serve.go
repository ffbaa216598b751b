package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Limits of the HTTP server that Serve runs. The longest fault delay fits in the write timeout.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = maxDelay + time.Minute
	idleTimeout       = time.Minute
	maxHeaderBytes    = 64 << 10
	stopTimeout       = 5 * time.Second
)

// Serve answers requests from the listener until ctx is done, then lets answers in progress
// finish for up to 5 seconds and closes the listener. It returns nil after such an end. Faults
// that are waiting end at once.
func (s *Sandbox) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving the sandbox: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), stopTimeout, errors.New("answers of the sandbox took too long to finish"))
	defer cancel()
	err := server.Shutdown(stop)
	if err != nil {
		err = errors.Join(fmt.Errorf("stopping the sandbox: %w", context.Cause(stop)), server.Close())
	}
	if served := <-served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serving the sandbox: %w", served))
	}
	return err
}
