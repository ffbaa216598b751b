package console

import (
	"context"
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"rekey/internal/fleet"
	"rekey/internal/jobs"
)

// askTimeout bounds what a page asks of NATS.
const askTimeout = 10 * time.Second

// errSlow is the cause of the end of a question that NATS did not answer.
var errSlow = errors.New("NATS gave no answer within " + askTimeout.String())

// route is one page.
type route struct {
	pattern string // Of http.ServeMux.
	title   string // In the navigation. Empty: it is not there.
	view    func(*Console, *call) (page, error)
	live    bool // It may be followed.
}

func routes() []route {
	return []route{
		{"/{$}", "Now", (*Console).now, true},
		{"/jobs", "Jobs", (*Console).jobs, true},
		{"/jobs/{id}", "", (*Console).story, true},
	}
}

// routed answers all requests.
func (c *Console) routed() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /static/{hash}/{name}", c.static)
	for _, r := range routes() {
		mux.HandleFunc("GET "+r.pattern, func(w http.ResponseWriter, req *http.Request) { c.serve(w, req, r) })
	}
	mux.HandleFunc("GET /", func(w http.ResponseWriter, req *http.Request) {
		c.fail(&call{w: w, r: req}, failed(http.StatusNotFound, "No such page", "There is no page at this address."))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !isLocal(req) {
			http.Error(w, "These pages are shown without a login, and only at an address of this machine, such as http://127.0.0.1 or http://localhost.", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, req)
	})
}

// call is a request for a page.
type call struct {
	w     http.ResponseWriter
	r     *http.Request
	route route
	fleet *fleet.Client
	live  bool // The page is looked at once more.
}

// within is the context in which NATS is asked.
func (c *call) within() (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(c.r.Context(), askTimeout, errSlow)
}

// serve shows a page, or follows it.
func (c *Console) serve(w http.ResponseWriter, req *http.Request, r route) {
	one := &call{w: w, r: req, route: r}
	if r.live && req.Header.Get("Accept") == "text/event-stream" {
		c.follow(one)
		return
	}
	p, err := c.look(one)
	if err != nil {
		c.fail(one, err)
		return
	}
	c.render(one, http.StatusOK, p)
}

// look makes a page as it is now.
func (c *Console) look(one *call) (page, error) {
	one.fleet = c.fleet.Load()
	if one.fleet == nil {
		return page{}, failed(http.StatusServiceUnavailable, "Not ready", "The worker has not prepared its streams in NATS yet. This page looks again by itself.")
	}
	if err := one.fleet.Ready(); err != nil {
		return page{}, unavailable(err)
	}
	return one.route.view(c, one)
}

// failure is why a page is not shown.
type failure struct {
	Status int
	Title  string
	Detail string
}

// Error is what it says.
func (f *failure) Error() string { return f.Title + ": " + f.Detail }

func failed(status int, title, detail string) *failure { return &failure{status, title, detail} }

func unavailable(err error) *failure {
	return failed(http.StatusServiceUnavailable, "NATS does not answer", err.Error())
}

// failureOf is what a reader sees of an error.
func (c *Console) failureOf(one *call, err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	invalid, isInvalid := errors.AsType[*fleet.InvalidQuery](err)
	many, isAmbiguous := errors.AsType[*fleet.AmbiguousError](err)
	switch {
	case isInvalid:
		return failed(http.StatusBadRequest, "This cannot be looked for", invalid.Error())
	case isAmbiguous:
		return failed(http.StatusNotFound, "More than one begins so", many.Error())
	case errors.Is(err, jobs.ErrNotFound):
		return failed(http.StatusNotFound, "Not found", "There is no such job, or its event was not taken in yet.")
	case errors.Is(err, fleet.ErrTooSlow):
		return failed(http.StatusServiceUnavailable, "The search takes too long", "Narrow it by time or by more words.")
	}
	if one.r.Context().Err() == nil {
		c.failures.Warn(c.log, "a page could not be shown", err, zap.String("page", one.route.pattern))
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = errSlow
	}
	return unavailable(err)
}

// fail shows why there is no page.
func (c *Console) fail(one *call, err error) {
	f := c.failureOf(one, err)
	if f.Status == http.StatusServiceUnavailable {
		one.w.Header().Set("Retry-After", "5")
		one.w.Header().Set("Refresh", "5")
	}
	c.render(one, f.Status, page{Template: "failure", Title: f.Title, Data: f})
}
