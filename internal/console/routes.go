package console

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"rekey/internal/access"
	"rekey/internal/config"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/schedule"
)

// askTimeout bounds what a page asks of NATS.
const askTimeout = 10 * time.Second

// errSlow is the cause of the end of a question that NATS did not answer.
var errSlow = errors.New("NATS gave no answer within " + askTimeout.String())

// view makes a page.
type view = func(*Console, context.Context, *call) (page, error)

// route is one page.
type route struct {
	pattern string // Of http.ServeMux.
	title   string // In the navigation. Empty: it is not there.
	may     config.Permission
	live    bool // It may be followed.
	whole   bool // It shows more than the jobs of some kinds or accounts.
	view    view
	act     view // Does what a form of the page asks for, and returns what became of it. Nil: there is nothing to do.
}

func routes() []route {
	list := []route{
		{pattern: "/{$}", title: "Now", live: true, whole: true, view: (*Console).now},
		{pattern: "/jobs", title: "Jobs", live: true, view: (*Console).jobs},
		{pattern: "/jobs/{id}", live: true, view: (*Console).story},
		{pattern: "/dead-letters", title: "Dead letters", live: true, view: (*Console).letters},
		{pattern: "/dead-letters/{n}", view: (*Console).letter},
		{pattern: "/schedules", title: "Schedules", live: true, whole: true, view: (*Console).schedules},
		{pattern: "/rotations", title: "Rotations", live: true, whole: true, view: (*Console).rotations},
		{pattern: "/pacing", title: "Pacing", live: true, whole: true, view: (*Console).pacing},
		{pattern: "/policies", title: "Policies", whole: true, view: (*Console).policies, act: (*Console).policies},
		{pattern: "/receivers", title: "Receivers", live: true, whole: true, view: (*Console).receivers},
		{pattern: "/audit", title: "Audit", whole: true, view: (*Console).audit},
		{pattern: "/settings", title: "Settings", whole: true, view: (*Console).settings},
	}
	for i := range list {
		list[i].may = config.MayRead
	}
	return append(list, acts()...)
}

// routed answers all requests.
func (c *Console) routed() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, r route, do func(*call)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, req *http.Request) {
			one := &call{w: w, r: req, route: r, release: func() {}}
			defer func() { one.release() }()
			do(one)
		})
	}
	mux.Handle("GET /static/{hash}/{name}", c.static)
	for _, r := range c.routes {
		handle("GET "+r.pattern, r, c.serve)
		if r.act != nil {
			handle("POST "+r.pattern, r, c.receive)
		}
	}
	handle("GET /audit/export", route{pattern: "/audit/export", may: config.MayRead, whole: true}, c.export)
	handle("GET /", route{}, func(one *call) {
		c.fail(one, failed(http.StatusNotFound, "No such page", "There is no page at this address."))
	})
	if c.access != nil {
		c.logins(handle)
		return mux
	}
	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !isLocal(req) {
			http.Error(w, "These pages are shown without a login, and only at an address of this machine, such as http://127.0.0.1 or http://localhost.", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, req)
	}))
}

// call is a request for a page.
type call struct {
	w      http.ResponseWriter
	r      *http.Request
	route  route
	person *access.Person // Nil: there is no login, or none was needed.
	*served
	release func() // What was read of the body does not count any more.
	live    bool   // The page is looked at once more.
	typed   bool   // The page shows what was typed before a login.
}

// may reports whether the reader may do something.
func (c *call) may(p config.Permission) bool {
	return c.person != nil && c.person.Allowed(p)
}

// sees reports whether the reader may see a job.
func (c *call) sees(r *jobs.PublicRecord) bool {
	return c.person == nil || c.person.Allows(r.Kind, r.Account) == ""
}

// serve shows a page, or follows it.
func (c *Console) serve(one *call) {
	if one.route.live && one.r.Header.Get("Accept") == "text/event-stream" {
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
	if err := c.admit(one); err != nil {
		return page{}, err
	}
	return one.make(c, one.route.view)
}

// make has a page made in a context in which NATS is asked.
func (c *call) make(console *Console, v view) (page, error) {
	ctx, cancel := context.WithTimeoutCause(c.r.Context(), askTimeout, errSlow)
	defer cancel()
	return v(console, ctx, c)
}

// admit reports, as an error, why a reader does not get a page.
func (c *Console) admit(one *call) error {
	if c.access != nil && one.person == nil || one.live {
		if err := c.recognise(one); err != nil {
			return err
		}
	}
	switch {
	case c.access == nil && one.route.may != config.MayRead:
		return failed(http.StatusForbidden, "Read-only", "These pages are shown without a login. What changes something is done at the address of the HTTP API (api.listen), or by the commands.")
	case one.person != nil && !one.person.Allowed(one.route.may):
		return failed(http.StatusForbidden, "Not allowed", one.person.Name+" may not "+string(one.route.may)+": the list \"may\" of client "+one.person.Client.Name+" does not have it.")
	case one.person != nil && one.route.whole && !one.person.Unlimited():
		return failed(http.StatusForbidden, "Not allowed", "This page shows more than the jobs of some kinds or accounts, to which client "+one.person.Client.Name+" is limited.")
	}
	s := c.served.Load()
	if s == nil {
		return failed(http.StatusServiceUnavailable, "Not ready", "The worker has not prepared its streams in NATS yet. This page looks again by itself.")
	}
	one.served = s
	if err := s.fleet.Ready(); err != nil {
		return unavailable(err)
	}
	return nil
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
	case errors.Is(err, jobs.ErrSucceeded), errors.Is(err, jobs.ErrEnded), errors.Is(err, jobs.ErrRunning), errors.Is(err, fleet.ErrNotReplayable),
		errors.Is(err, schedule.ErrPaused), errors.Is(err, schedule.ErrNotPaused):
		return failed(http.StatusConflict, "There is nothing to do", err.Error())
	case isInvalid:
		return failed(http.StatusBadRequest, "This cannot be looked for", invalid.Error())
	case isAmbiguous:
		return failed(http.StatusNotFound, "More than one begins so", many.Error())
	case errors.Is(err, jobs.ErrNotFound):
		return failed(http.StatusNotFound, "Not found", missing(one.route.pattern))
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

// missing says what a page does not find.
func missing(pattern string) string {
	switch {
	case strings.HasPrefix(pattern, "/jobs"):
		return "There is no such job, or its event was not taken in yet."
	case strings.HasPrefix(pattern, "/dead-letters"):
		return "There is no such dead letter. It may have been replayed or dropped."
	}
	return "The configuration of this worker does not have it."
}

// fail shows why there is no page.
func (c *Console) fail(one *call, err error) {
	if errors.Is(err, errLogin) {
		c.askLogin(one, "")
		return
	}
	f := c.failureOf(one, err)
	if f.Status == http.StatusServiceUnavailable {
		one.w.Header().Set("Retry-After", "5")
		one.w.Header().Set("Refresh", "5")
	}
	c.render(one, f.Status, page{Template: "failure", Title: f.Title, Data: f})
}
