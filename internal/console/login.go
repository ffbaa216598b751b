package console

import (
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"go.uber.org/zap"

	"rekey/internal/access"
	"rekey/internal/httpserver"
	"rekey/internal/refused"
)

// maxForm bounds a form, in bytes: an event that is pasted into one is the largest.
const maxForm = 2 << 20

// codeLogin is the code of refused logins in the audit trail.
const codeLogin = "login"

// errLogin says that it is not known who asks.
var errLogin = errors.New("a login is needed")

// recognise notes who asks.
func (c *Console) recognise(one *call) error {
	if c.access == nil {
		return nil
	}
	person, err := c.access.Person(one.w, one.r)
	if errors.Is(err, access.ErrUnknown) {
		return unavailable(err)
	}
	if err != nil {
		return errLogin
	}
	one.person = person
	return nil
}

// loginView asks who is there.
type loginView struct {
	Action string // Where the form goes.
	Typed  []fact // What was typed into the form that was sent without a session.
	To     string
	Why    string
	Issuer string // Where a login at the issuer begins. Empty: there is none.
}

// logins are the routes by which persons come and go.
func (c *Console) logins(handle func(string, route, func(*call))) {
	handle("GET /login", route{}, func(one *call) { c.askLogin(one, "") })
	handle("POST /login", route{}, c.logIn)
	handle("GET /login/oidc", route{}, c.askIssuer)
	handle("GET "+access.CallbackPath, route{}, c.callback)
	handle("POST /logout", route{}, c.logOut)
}

// logOut ends a session.
func (c *Console) logOut(one *call) {
	if err := c.access.Leave(one.w, one.r); err != nil {
		c.failures.Warn(c.log, "a session could not be ended", err)
		c.fail(one, failed(http.StatusServiceUnavailable, "Logged out here alone",
			"NATS does not answer. This browser has forgotten the session, but a copy of its cookie can be used until it expires."))
		return
	}
	http.Redirect(one.w, one.r, "/login", http.StatusSeeOther)
}

// askLogin shows the login in the place of a page. What was typed into a form stays in it.
func (c *Console) askLogin(one *call, why string) {
	// A link from another site brings no strict cookie along. A second request, from this page, does.
	if one.r.Method == http.MethodGet && one.r.Header.Get("Sec-Fetch-Site") == "cross-site" && why == "" && one.route.pattern != "" {
		one.w.Header().Set("Refresh", "0")
		c.render(one, http.StatusOK, page{Template: "failure", Title: "Opening", Data: failed(http.StatusOK, "Opening", "This page opens in a moment.")})
		return
	}
	v := loginView{Action: "/login", To: local(one.field("to")), Why: why}
	if one.route.pattern != "" {
		v.To = one.r.URL.RequestURI()
	}
	if one.r.Method == http.MethodPost && one.route.pattern != "" {
		v.Action = v.To
		for name, values := range one.r.PostForm {
			for _, value := range values {
				if name != "login_token" && name != "resume" {
					v.Typed = append(v.Typed, fact{name, value})
				}
			}
		}
	}
	if c.access.HasIssuer() {
		v.Issuer = "/login/oidc?" + url.Values{"to": {v.To}}.Encode()
	}
	c.render(one, http.StatusUnauthorized, page{Template: "login", Title: "Log in", Data: v})
}

// local is an address of these pages: a login must lead nowhere else.
func local(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n\t") {
		return "/"
	}
	return to
}

// logIn begins a session with a token, and shows the page that was asked for.
func (c *Console) logIn(one *call) {
	if err := one.form(c.cfg.Bodies); err != nil {
		c.fail(one, err)
		return
	}
	if c.withToken(one) {
		http.Redirect(one.w, one.r, local(one.r.PostForm.Get("to")), http.StatusSeeOther)
	}
}

// withToken begins a session with the token of a form. Where it is refused, the login is shown once more.
func (c *Console) withToken(one *call) bool {
	person, err := c.access.LogIn(one.w, one.r, strings.TrimSpace(one.r.PostForm.Get("login_token")))
	if err != nil {
		c.refused(one, http.StatusUnauthorized, err)
		c.askLogin(one, "This token is not accepted.")
		return false
	}
	one.person = person
	c.log.Info("logged in to the console", zap.String("by", person.Name), zap.String("address", one.r.RemoteAddr))
	return true
}

// refused logs a login that was refused, and counts it for the audit trail.
func (c *Console) refused(one *call, status int, err error) {
	path := one.route.pattern
	if path == "" { // A page of the login itself, whose address has no names in it.
		path = one.r.URL.Path
	}
	c.cfg.Auditor.Refused(refused.Key{Route: one.r.Method + " " + path, Status: status, Code: codeLogin}, one.r.RemoteAddr)
	if repeated, news := c.failures.News("login", err); news {
		c.log.Warn("login refused", zap.String("reason", err.Error()), zap.String("address", one.r.RemoteAddr), repeated)
	}
}

// askIssuer sends the browser to the issuer.
func (c *Console) askIssuer(one *call) {
	to, err := c.access.AskIssuer(one.w, one.r, local(one.field("to")))
	if err != nil {
		c.refused(one, http.StatusServiceUnavailable, err)
		c.fail(one, failed(http.StatusServiceUnavailable, "The issuer cannot be reached", "The worker's log says why."))
		return
	}
	http.Redirect(one.w, one.r, to, http.StatusSeeOther)
}

// callback ends a login at the issuer. The page that was asked for is opened by this one: a redirect that another site began would
// bring no strict cookie along.
func (c *Console) callback(one *call) {
	person, to, err := c.access.Return(one.w, one.r)
	if err != nil {
		c.refused(one, http.StatusUnauthorized, err)
		c.fail(one, failed(http.StatusUnauthorized, "Not logged in", "The login was not accepted. The worker's log says why."))
		return
	}
	one.person = person
	c.log.Info("logged in to the console", zap.String("by", person.Name), zap.String("address", one.r.RemoteAddr))
	one.w.Header().Set("Refresh", "0; url="+local(to))
	c.render(one, http.StatusOK, page{Template: "failure", Title: "Logged in", Data: failed(http.StatusOK, "Logged in", "The page opens in a moment.")})
}

// formType is what browsers send the forms of these pages as.
const formType = "application/x-www-form-urlencoded"

// form reads the form of a request.
func (c *call) form(bodies *httpserver.Bodies) error {
	if media, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type")); media != formType && c.r.ContentLength != 0 { //nolint:errcheck // A broken type is another one.
		return failed(http.StatusUnsupportedMediaType, "The form cannot be read", "It must be sent as "+formType+".")
	}
	data, release, err := bodies.Read(c.w, c.r, maxForm)
	if err == nil {
		c.release = release
		c.r.PostForm, err = url.ParseQuery(string(data))
	}
	why, unread := errors.AsType[*httpserver.Unread](err)
	switch {
	case err == nil:
		return nil
	case !unread || why.Status == http.StatusBadRequest:
		return failed(http.StatusBadRequest, "The form cannot be read", "Send it again.")
	case why.Status == http.StatusRequestEntityTooLarge:
		return failed(why.Status, "Too large", "A form may have up to 2 MiB.")
	case why.Status == http.StatusRequestTimeout:
		return failed(why.Status, "Too slow", "The form did not come in time. Send it again.")
	}
	return failed(why.Status, "Too much at once", "Too many forms are being read. Send it again.")
}

// receive does what a form asks for.
func (c *Console) receive(one *call) {
	if err := one.form(c.cfg.Bodies); err != nil {
		c.fail(one, err)
		return
	}
	err := c.recognise(one)
	needed := errors.Is(err, errLogin) && one.r.PostForm.Get("login_token") != ""
	if needed && !c.withToken(one) {
		return
	}
	if needed || err == nil && one.r.PostForm.Get("resume") != "" {
		// The form was sent without a session. It is shown once more, with what was typed, before anything is done.
		one.typed = true
		c.serve(one)
		return
	}
	if err == nil {
		err = c.admit(one)
	}
	var p page
	if err == nil {
		p, err = one.make(c, one.route.act)
	}
	switch {
	case err != nil:
		c.fail(one, err)
	case p.To != "":
		http.Redirect(one.w, one.r, p.To, http.StatusSeeOther)
	default:
		c.render(one, http.StatusOK, p)
	}
}
