// Package natsserver runs a NATS server with JetStream inside the process and watches over its store.
package natsserver

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"

	"rekey/internal/secret"
)

// startTimeout bounds the start of the embedded server: its store may be large.
const startTimeout = 60 * time.Second

// startPoll is how often a starting server is asked whether it has given up.
const startPoll = 50 * time.Millisecond

// Config describes the NATS server inside the process.
type Config struct {
	Listen     string       // host:port; empty keeps it inside the process; port 0 picks a free one.
	StoreDir   string       // Folder of the JetStream files. Required.
	Token      secret.Value // Clients must show it, when set.
	TLS        *tls.Config  // For clients, when set.
	Encryption secret.Value // The key by which the files are encrypted, when set.
	MaxPayload int          // Largest message in bytes; default 8 MiB.
	OnFailure  func()       // Told when the server cannot write to its store any more; may be nil.
	Logger     *zap.Logger
}

// Name is how the server inside a worker calls itself.
const Name = "rekey-embedded"

// maxStore is the limit of the server's own for its store: none. By default it would be three
// quarters of what is free at the start, which is nothing when the store has used the rest.
const maxStore = 1 << 60

// defaultMaxPayload lets an event that is too large for us arrive, so that it ends in the
// dead letters with a reason and not as a publisher's riddle.
const defaultMaxPayload = 8 << 20

// Server is a NATS server with JetStream inside the process. Every write is synced to
// disk before it is acknowledged.
type Server struct {
	cfg Config

	mu     sync.Mutex // Guards all below.
	server *server.Server
	store  *os.File   // Holds the lock on the store.
	locked bool       // Its file system knows locks.
	log    *serverLog // Of the server.
	failed error      // Why the server cannot write, or was not started.
}

// Start starts the server and returns when it takes connections. A full disk is no
// error: Run starts the server when there is free space.
func Start(cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, log: &serverLog{}}
	err := s.start()
	if err != nil && isFull(err) {
		s.failed = err
		return s, nil
	}
	return s, err
}

// start starts the server, on the port that it had before.
func (s *Server) start() error {
	opts, err := s.cfg.options()
	if err != nil {
		return err
	}
	if err := s.lock(); err != nil {
		return err
	}
	srv, log, err := s.cfg.serve(opts)
	if err != nil {
		s.unlock()
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server, s.log, s.failed = srv, log, nil
	if address := srv.Addr(); address != nil {
		s.cfg.Listen = address.String()
	}
	return nil
}

// lock takes the lock on the store, unless it is held from an earlier start.
func (s *Server) lock() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.store != nil {
		return nil
	}
	store, locked, err := lockStore(s.cfg.StoreDir)
	if err != nil {
		return err
	}
	s.store, s.locked = store, locked
	return nil
}

// IsLocked reports whether it is certain that no other process uses the store.
func (s *Server) IsLocked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.store != nil && s.locked
}

// unlock gives the store free.
func (s *Server) unlock() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.store != nil {
		_ = s.store.Close() // Nothing was written to it.
		s.store = nil
	}
}

// serve returns when the server takes connections.
func (cfg Config) serve(opts *server.Options) (*server.Server, *serverLog, error) {
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, nil, fmt.Errorf("creating the embedded NATS server: %w", err)
	}
	log := &serverLog{log: cfg.Logger.Named("nats-server").WithOptions(zap.AddCallerSkip(1)).Sugar()}
	srv.SetLoggerV2(log, false, false, false)
	go srv.Start()
	if !log.started(srv) {
		srv.Shutdown()
		srv.WaitForShutdown()
		return nil, nil, log.explain(fmt.Errorf("starting the embedded NATS server on %q with store %s", cfg.Listen, cfg.StoreDir))
	}
	return srv, log, nil
}

// InProcessConn opens a connection inside the process.
func (s *Server) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		return nil, errNoServer
	}
	return s.server.InProcessConn()
}

func (cfg Config) options() (*server.Options, error) {
	if cfg.StoreDir == "" {
		return nil, errors.New("embedded NATS: store_dir is required")
	}
	opts := &server.Options{
		ServerName: Name, Host: "127.0.0.1", NoSigs: true, DontListen: true,
		JetStream: true, StoreDir: cfg.StoreDir, JetStreamMaxStore: maxStore, SyncAlways: true,
		MaxPayload: int32(defaultMaxPayload), DisableJetStreamBanner: true,
	}
	opts.JetStreamKey = cfg.Encryption.Reveal()
	if cfg.MaxPayload > 0 {
		opts.MaxPayload = int32(min(cfg.MaxPayload, 64<<20))
	}
	if cfg.Listen == "" {
		return opts, nil
	}
	host, port, err := splitListen(cfg.Listen)
	if err != nil {
		return nil, err
	}
	opts.DontListen, opts.Host, opts.Port = false, host, port
	guarded := !cfg.Token.IsZero() || cfg.TLS != nil && cfg.TLS.ClientAuth == tls.RequireAndVerifyClientCert
	if !guarded && !isLoopback(host) {
		return nil, fmt.Errorf("embedded NATS: listening on %s, beyond loopback, needs token_file or tls.client_ca_file", cfg.Listen)
	}
	if !cfg.Token.IsZero() {
		opts.Authorization = cfg.Token.Reveal()
	}
	if cfg.TLS != nil {
		opts.TLS, opts.TLSConfig, opts.TLSTimeout = true, cfg.TLS, 5
		opts.TLSVerify = cfg.TLS.ClientAuth == tls.RequireAndVerifyClientCert
	}
	return opts, nil
}

func splitListen(listen string) (string, int, error) {
	host, portText, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, fmt.Errorf("embedded NATS: listen %q must be host:port: %w", listen, err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("embedded NATS: listen %q has no usable port", listen)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// URL is where clients reach the server, or "" when it is kept inside the process.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil || s.server.Addr() == nil {
		return ""
	}
	return "nats://" + s.server.Addr().String()
}

// Token is what clients must show; zero when they need none.
func (s *Server) Token() secret.Value { return s.cfg.Token }

// Stop ends the server, if it runs, and returns when its files are closed.
func (s *Server) Stop() {
	s.stopServer()
	s.unlock()
}

// stopServer ends the server, if it runs, and keeps the lock on its store.
func (s *Server) stopServer() {
	s.mu.Lock()
	srv := s.server
	s.server = nil
	s.mu.Unlock()
	if srv != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
	}
}

// serverLog hands the server's log lines to zap. Its information is ours at debug level.
type serverLog struct {
	log   *zap.SugaredLogger
	last  lastLine
	fatal atomic.Bool // The server has given up.
	// unwritable is the latest line about a store that the server does not write to any more.
	unwritable lastLine
}

// Noticef logs at debug level.
func (l *serverLog) Noticef(format string, v ...any) { l.log.Debugf(format, v...) }

// Warnf logs a warning. The server goes on without a stream that it cannot decrypt; we must not,
// for it would be made anew.
func (l *serverLog) Warnf(format string, v ...any) {
	if strings.Contains(format, "Error decrypting our stream") {
		l.last.set("the store is encrypted, and nats.embedded.encryption_key_file does not hold its key")
		l.fatal.Store(true)
	}
	l.look(fmt.Sprintf(format, v...))
	l.log.Warnf(format, v...)
}

// Errorf logs an error and keeps it, to explain a server that does not start.
func (l *serverLog) Errorf(format string, v ...any) {
	l.last.set(fmt.Sprintf(format, v...))
	l.look(l.last.get())
	l.log.Errorf(format, v...)
}

// look keeps a line that says that the store cannot be written to.
func (l *serverLog) look(line string) {
	if isWriteError(line) {
		l.unwritable.set(line)
	}
}

// Fatalf logs an error and keeps it. The server counts on it to end the process; we end
// the server.
func (l *serverLog) Fatalf(format string, v ...any) {
	l.Errorf(format, v...)
	l.fatal.Store(true)
}

// Debugf logs at debug level.
func (l *serverLog) Debugf(format string, v ...any) { l.log.Debugf(format, v...) }

// Tracef drops protocol traces: they hold payloads.
func (l *serverLog) Tracef(string, ...any) {}

// started waits until the server takes connections and reports whether it does.
func (l *serverLog) started(srv *server.Server) bool {
	for end := time.Now().Add(startTimeout); time.Now().Before(end); {
		if srv.ReadyForConnections(startPoll) {
			return !l.fatal.Load()
		}
		if l.fatal.Load() {
			return false
		}
	}
	return false
}

// explain adds the server's last error line to err.
func (l *serverLog) explain(err error) error {
	if last := l.last.get(); last != "" {
		return fmt.Errorf("%w: %s", err, last)
	}
	return err
}
