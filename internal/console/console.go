package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"rekey/internal/access"
	"rekey/internal/config"
	"rekey/internal/fleet"
	"rekey/internal/httpserver"
	"rekey/internal/quiet"
	"rekey/internal/refused"
)

// How many live pages may be open: of all readers, and of one, who must not keep the others from it.
const (
	maxStreams      = 128
	maxStreamsOfOne = 16
)

// errStopping ends live pages when the worker stops.
var errStopping = errors.New("the worker stops")

// Config is what a Console is made of.
type Config struct {
	// Version is the worker's release.
	Version string
	// Access recognises persons. Nil: there is no login; the pages only show, and only to readers on this machine.
	Access *access.Sessions
	// Auditor takes refused logins. Required with Access.
	Auditor Auditor
	// Bodies reads the bodies of requests. Nil: one for these pages alone.
	Bodies *httpserver.Bodies
	// Lookup finds environment variables, for the tests of receivers.
	Lookup func(string) (string, bool)
	// Logger takes what goes wrong while serving. Required.
	Logger *zap.Logger
}

// Auditor counts refused requests for the audit trail.
type Auditor interface {
	// Refused counts a request from a remote address that was refused.
	Refused(k refused.Key, remote string)
}

// Console is the pages. Its methods may be called from several
// goroutines at once.
type Console struct {
	cfg      Config
	access   *access.Sessions // Nil: no login.
	log      *zap.Logger
	failures quiet.Failures
	handler  http.Handler
	pages    map[string]*template.Template
	static   static
	streams  *httpserver.Crowd
	looking  chan struct{} // Holds a token for each live page that is looked at.
	status   statusCache

	served atomic.Pointer[served] // Nil until the worker has what it needs in NATS.

	routes   []route
	stopping context.Context //nolint:containedctx // It ends with the console, and so do the live pages.
	stop     context.CancelCauseFunc
}

// embedded is what the program has with it.
type embedded struct {
	static static
	pages  map[string]*template.Template
}

// content is the same for all consoles: reading it is half of the start of a worker.
var content = sync.OnceValues(func() (e embedded, err error) {
	if e.static, err = newStatic(); err != nil {
		return e, fmt.Errorf("reading the files of the console: %w", err)
	}
	if e.pages, err = newPages(e.static); err != nil {
		return e, fmt.Errorf("reading the pages of the console: %w", err)
	}
	return e, nil
})

// New builds a console that answers 503 until Serve.
func New(cfg Config) (*Console, error) {
	c := &Console{cfg: cfg, access: cfg.Access, log: cfg.Logger.Named("console"), streams: httpserver.NewCrowd(maxStreams, maxStreamsOfOne), looking: make(chan struct{}, liveLooks)}
	c.cfg.Bodies = cmp.Or(cfg.Bodies, httpserver.NewBodies())
	c.stopping, c.stop = context.WithCancelCause(context.Background())
	read, err := content()
	if err != nil {
		return nil, err
	}
	c.static, c.pages = read.static, read.pages
	c.routes = routes()
	c.handler = c.routed()
	return c, nil
}

// served is what the pages show.
type served struct {
	fleet  *fleet.Client
	config *config.Config
}

// Serve lets the pages show a fleet from now on, and the configuration that is in force.
func (c *Console) Serve(f *fleet.Client, cfg *config.Config) { c.served.Store(&served{f, cfg}) }

// Stop ends the live pages. The server that has the console ends the other requests.
func (c *Console) Stop(context.Context) error {
	c.stop(errStopping)
	return nil
}

// ServeHTTP implements http.Handler.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	c.handler.ServeHTTP(w, r)
}

// isLocal reports whether a request names this machine. Without a login, nothing else keeps the page of another site, whose name its
// owner lets lead here, from reading along.
func isLocal(r *http.Request) bool {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
