package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"path"
	"strings"
	"time"

	"go.uber.org/zap"

	"rekey/internal/access"
	"rekey/internal/config"
	"rekey/internal/event"
	"rekey/internal/fleet"
	"rekey/internal/httpserver"
	"rekey/internal/openapi"
	"rekey/internal/refused"
)

// errStopping ends answers that wait when the worker stops.
var errStopping = errors.New("the worker stops")

// route is one thing that can be asked.
type route struct {
	pattern string            // Of http.ServeMux; the label of its requests.
	may     config.Permission // What the client must be allowed. Empty: nothing, and it need not be known.
	handle  func(*Server, *call) error
	doc     func(*openapi.Types) openapi.Operation // In the OpenAPI document.
}

// routes are all of them.
func routes() []route {
	return []route{
		{"POST /v1/jobs", config.MaySubmit, (*Server).submit, docSubmit},
		{"GET /v1/jobs", config.MayRead, (*Server).list, docList},
		{"GET /v1/jobs/{id}", config.MayRead, (*Server).job, docJob},
		{"POST /v1/jobs/{id}/cancel", config.MayCancel, (*Server).cancel, docCancel},
		{"POST /v1/jobs/{id}/retry", config.MayRetry, (*Server).retry, docRetry},
		{"GET /v1/dead-letters", config.MayRead, (*Server).letters, docLetters},
		{"POST /v1/dead-letters/{n}/replay", config.MayReplay, (*Server).replay, docReplay},
		{"POST /v1/dead-letters/{n}/drop", config.MayDrop, (*Server).drop, docDrop},
		{"POST /v1/events/{class}", config.MayEvents, (*Server).event, docEvent},
		{"GET /v1/status", config.MayRead, (*Server).status, docStatus},
		{"GET /v1/openapi.json", "", (*Server).openAPI, docOpenAPI},
	}
}

// The routes of what is not listed in routes.
const (
	routeDoor    = "/in/{door}"
	routeConsole = "console" // Pages, and what they need.
	routeOther   = "other"   // What there is no route for.
)

// Routes are the routes by which requests are counted.
func Routes() []string {
	names := []string{}
	for _, r := range routes() {
		names = append(names, r.pattern)
	}
	return append(names, routeDoor, routeConsole, routeOther)
}

// call is a request of a client that may make it.
type call struct {
	w      http.ResponseWriter
	r      *http.Request
	client *access.Client
	fleet  *fleet.Client
	bodies *httpserver.Bodies

	release func() // What was read of the body does not count any more.
	eventID string // The id of the event that the request is, as far as it is known.
}

// handler answers all requests, and counts them.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range routes() {
		mux.Handle(r.pattern, s.counted(r.pattern, func(w http.ResponseWriter, req *http.Request) { s.serve(w, req, r) })) //nolint:contextcheck // The request has it.
	}
	mux.Handle(routeDoor, s.counted(routeDoor, s.serveDoor))
	mux.Handle(routeDoor+"/{rest...}", s.counted(routeDoor, s.serveDoor))
	other := s.counted(routeOther, func(w http.ResponseWriter, req *http.Request) { unrouted(mux, w, req) })
	pages := s.counted(routeConsole, func(w http.ResponseWriter, req *http.Request) { (*s.console.Load()).ServeHTTP(w, req) })
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(s.counted(routeOther, func(w http.ResponseWriter, req *http.Request) {
		s.auditor.Refused(refused.Key{Route: routeOther, Status: http.StatusForbidden, Code: string(CodeCrossOrigin)}, req.RemoteAddr)
		problem(http.StatusForbidden, CodeCrossOrigin, "a browser sent this from the page of another site").write(w)
	}))
	return protection.Handler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		program := strings.HasPrefix(req.URL.Path, "/v1/") || strings.HasPrefix(req.URL.Path, "/in/") || req.Header.Get("Authorization") != ""
		if s.console.Load() != nil && !program && isClean(req.URL.Path) {
			pages.ServeHTTP(w, req)
			return
		}
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		if trace := event.ValidTrace(req.Header.Get(event.HeaderTrace)); trace != "" {
			h.Set(event.HeaderTrace, trace)
		}
		if _, pattern := mux.Handler(req); pattern == "" || !isClean(req.URL.Path) {
			other.ServeHTTP(w, req)
			return
		}
		mux.ServeHTTP(w, req)
	}))
}

// isClean reports whether a path is written as the routes are. http.ServeMux would send a client to the clean one, and senders take that for a
// failure, or post there what was meant for another door.
func isClean(p string) bool {
	return p != "" && strings.TrimSuffix(p, "/") == strings.TrimSuffix(path.Clean(p), "/")
}

// unrouted answers what no route is for: with 405 where the path has other methods, else with 404.
func unrouted(mux *http.ServeMux, w http.ResponseWriter, req *http.Request) {
	h, _ := mux.Handler(req)
	found := &discarded{header: http.Header{}}
	h.ServeHTTP(found, req)
	if found.status == http.StatusMethodNotAllowed {
		allow := found.header.Get("Allow")
		w.Header().Set("Allow", allow)
		problem(http.StatusMethodNotAllowed, CodeMethod, "the methods of this path are "+allow).write(w)
		return
	}
	problem(http.StatusNotFound, CodeNotFound, "there is nothing at this path; GET /v1/openapi.json lists what there is").write(w)
}

// discarded takes an answer of which only status and header count.
type discarded struct {
	header http.Header
	status int
}

// Header implements http.ResponseWriter.
func (d *discarded) Header() http.Header { return d.header }

// WriteHeader implements http.ResponseWriter.
func (d *discarded) WriteHeader(status int) { d.status = status }

// Write implements http.ResponseWriter.
func (d *discarded) Write(b []byte) (int, error) { return len(b), nil }

// counted counts the answers of a handler by their status.
func (s *Server) counted(route string, handle http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		seen := &observed{ResponseWriter: w, status: http.StatusOK}
		defer func() { s.recorder.APIRequest(route, seen.status) }()
		handle(seen, req)
	})
}

// observed remembers the status of an answer.
type observed struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (o *observed) WriteHeader(status int) {
	o.status = status
	o.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (o *observed) Unwrap() http.ResponseWriter { return o.ResponseWriter }

// serve recognises the client, checks that it may ask, and answers.
func (s *Server) serve(w http.ResponseWriter, req *http.Request, r route) {
	c := &call{w: w, r: req, fleet: s.fleet.Load(), bodies: s.bodies, release: func() {}}
	defer func() { c.release() }()
	err := s.admit(c, r)
	if err == nil {
		end := s.trace(c, r.pattern)
		defer func() { end(statusOf(w)) }()
		err = r.handle(s, c)
	}
	if err == nil {
		return
	}
	p := s.problemOf(c, err)
	if p.Status == http.StatusServiceUnavailable {
		p.EventID = cmp.Or(p.EventID, c.knownID(r))
	}
	if p.refusal() {
		s.refused(c, r.pattern, p, err)
	}
	p.write(w)
}

// knownID is the id of the event that a request is, with which the client can send it again: what is known of it, also where nothing was
// read yet. "" where it has none, and for a stranger.
func (c *call) knownID(r route) string {
	if c.eventID != "" || c.client == nil || r.may != config.MaySubmit && r.may != config.MayEvents || len(c.r.Header.Values("Idempotency-Key")) == 0 {
		return c.eventID
	}
	id, err := c.key()
	if err != nil { // A request that is malformed, too: it says so once it is read.
		return ""
	}
	return id
}

// trace begins the span of a request of a client, which is above all that the request leads to. Strangers get none: they must not decide how
// many there are.
func (s *Server) trace(c *call, route string) (end func(status int)) {
	if s.tracer == nil {
		return func(int) {}
	}
	ctx, below, end := s.tracer.Request(c.r.Context(), route, event.ValidTrace(c.r.Header.Get(event.HeaderTrace)))
	c.r = c.r.Clone(ctx)
	if below != "" {
		c.r.Header.Set(event.HeaderTrace, below)
		c.w.Header().Set(event.HeaderTrace, below)
	}
	return end
}

// statusOf is the status of an answer that was written.
func statusOf(w http.ResponseWriter) int {
	if o, ok := w.(*observed); ok {
		return o.status
	}
	return http.StatusOK
}

// admit reports, as a *Problem, why a request is refused before any of it is read.
func (s *Server) admit(c *call, r route) error {
	if r.may == "" {
		return nil
	}
	var err error
	switch c.client, err = s.clients.Load().Recognise(c.r); {
	case errors.Is(err, access.ErrUnsure):
		return unavailable("the issuer of the token does not say which keys it has: send the request again")
	case err != nil:
		p := problem(http.StatusUnauthorized, CodeUnauthorized, "a bearer token or a certificate of a client is required")
		p.challenge = true
		return &refusal{p, err.Error()}
	}
	if !c.client.Allowed(r.may) {
		return problem(http.StatusForbidden, CodeForbidden, "this client may not "+string(r.may))
	}
	if l := c.client.Limiter; l != nil {
		if wait := l.Reserve(); wait.Delay() > 0 {
			p := problem(http.StatusTooManyRequests, CodeRateLimited, "this client has made as many requests as it may in a minute")
			p.retryAfter = wait.Delay()
			wait.Cancel()
			return p
		}
	}
	if c.fleet == nil {
		return unavailable("the worker has not prepared its streams in NATS yet")
	}
	if err := c.fleet.Ready(); err != nil {
		return unavailable(err.Error())
	}
	return nil
}

// refusal is a problem with a reason that its client does not receive.
type refusal struct {
	*Problem
	why string
}

// Unwrap is what the client receives.
func (r *refusal) Unwrap() error { return r.Problem }

// refusal reports whether the client was not allowed what it asked for.
func (p *Problem) refusal() bool {
	return p.Status == http.StatusUnauthorized || p.Status == http.StatusForbidden || p.Status == http.StatusTooManyRequests
}

// refused logs that a client was refused, and keeps it for the audit trail. Repetitions are logged once a minute, with their number.
func (s *Server) refused(c *call, route string, p *Problem, err error) {
	detail := p.Detail
	if r, ok := errors.AsType[*refusal](err); ok {
		detail = r.why
	}
	name := ""
	if c.client != nil {
		name = c.client.Name
	}
	s.auditor.Refused(refused.Key{Client: name, Route: route, Status: p.Status, Code: string(p.Code)}, c.r.RemoteAddr)
	repeated, news := s.failures.News("refused "+name+" "+route, errors.New(detail))
	if !news {
		return
	}
	address, _, _ := strings.Cut(c.r.RemoteAddr, "%")
	s.log.Warn("request refused", zap.String("client", name), zap.String("route", route), zap.Int("status", p.Status),
		zap.String("code", string(p.Code)), zap.String("reason", detail), zap.String("address", address), repeated)
}

// unavailable is the problem of a request of which nothing was done because NATS does not work.
func unavailable(detail string) *Problem {
	p := problem(http.StatusServiceUnavailable, CodeUnavailable, detail)
	p.retryAfter = retryLater
	return p
}

// problemOf is the problem that an error is.
func (s *Server) problemOf(c *call, err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	if c.r.Context().Err() != nil {
		return problem(http.StatusServiceUnavailable, CodeUnavailable, "the request was cut off")
	}
	s.failures.Warn(s.log, "a request failed", err, zap.String("route", c.r.Pattern))
	return unavailable("NATS does not answer: " + err.Error())
}

// serveDoor hands a delivery to its door.
func (s *Server) serveDoor(w http.ResponseWriter, req *http.Request) {
	if doors := s.doors.Load(); doors != nil {
		if door, ok := (*doors)[req.PathValue("door")]; ok {
			door.ServeHTTP(w, req)
			return
		}
	}
	problem(http.StatusNotFound, CodeNotFound, "there is no such door").write(w)
}

// askTimeout bounds what a request asks of NATS, but for what it waits for on purpose.
const askTimeout = 10 * time.Second

// within is the context in which NATS is asked.
func (c *call) within() (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(c.r.Context(), askTimeout, errSlow)
}
