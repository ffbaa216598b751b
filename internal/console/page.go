package console

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"

	"rekey/internal/access"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/show"
	"rekey/internal/terminal"
)

//go:embed templates
var templates embed.FS

// page is what is shown.
type page struct {
	Template string // Its name, without .html.
	Title    string
	Data     any    // What the template shows, made for it.
	To       string // The address of another page, which is shown in its place. Empty: there is none.
}

// frame is what a template gets.
type frame struct {
	page
	call    *call
	Nav     []link
	Person  *access.Person // Nil: there is no login, or no person yet.
	Login   bool           // There is a login.
	Version string
	Self    string // The address of the page. Empty: it is not live.
}

// May reports whether the reader may do something.
func (f frame) May(permission config.Permission) bool { return f.call.may(permission) }

// link leads to another page.
type link struct {
	Path, Title string
	Current     bool
}

// newPages reads the templates, each with the frame around it.
func newPages(s static) (map[string]*template.Template, error) {
	files, err := fs.Glob(templates, "templates/*.html")
	if err != nil {
		return nil, err
	}
	functions := template.FuncMap{
		"static": func(name string) string { return s[name].path },
		"utc":    func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"rfc":    func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
		"took":   terminal.Took, "target": show.ShortTarget, "plural": terminal.Plural, "colour": colour,
		"clock": show.ClockAhead, "ready": show.Ready, "where": where,
		"every": func(ms float64) string { return terminal.Took(time.Duration(ms * float64(time.Millisecond))) },
	}
	pages := map[string]*template.Template{}
	for _, file := range files {
		name := strings.TrimSuffix(path.Base(file), ".html")
		if name == "frame" {
			continue
		}
		if pages[name], err = template.New(name).Funcs(functions).ParseFS(templates, "templates/frame.html", file); err != nil {
			return nil, err
		}
	}
	return pages, nil
}

// where is the page that shows what a command shows; "" where none does.
func where(command string) string {
	if state, ok := strings.CutPrefix(command, "worker proof ls"); ok { // The list is of one verdict; that with the message has more.
		return "/jobs?verdict=" + cmp.Or(strings.TrimPrefix(state, " --state "), string(jobs.VerdictStillAlive))
	}
	for begins, page := range map[string]string{
		"worker dlq ": "/dead-letters", "worker job ls --state waiting": "/jobs?state=waiting", "worker schedule ": "/schedules", "worker receiver ": "/receivers",
	} {
		if strings.HasPrefix(command, begins) {
			return page
		}
	}
	return ""
}

// colour is the class of a meaning.
func colour(m terminal.Meaning) string {
	return map[terminal.Meaning]string{terminal.Good: "good", terminal.Worth: "worth", terminal.Bad: "bad", terminal.Faint: "faint"}[m]
}

// draw makes the text of a page, or of the part of it that is live.
func (c *Console) draw(one *call, p page, part string, status int) ([]byte, error) {
	f := frame{page: p, call: one, Version: c.cfg.Version, Person: one.person, Login: c.access != nil}
	for _, r := range c.routes {
		if r.title != "" && (one.person == nil || !r.whole || one.person.Unlimited()) {
			at := strings.TrimSuffix(r.pattern, "{$}")
			f.Nav = append(f.Nav, link{at, r.title, at == one.r.URL.Path || at != "/" && strings.HasPrefix(one.r.URL.Path, at+"/")})
		}
	}
	if one.route.live && status == http.StatusOK {
		f.Self = one.r.URL.RequestURI()
	}
	var out bytes.Buffer
	if err := c.pages[p.Template].ExecuteTemplate(&out, part, f); err != nil {
		return nil, fmt.Errorf("showing page %s: %w", p.Template, err)
	}
	return bytes.Map(graphic, out.Bytes()), nil
}

// graphic replaces what could steer how a page is read, such as marks that turn the direction of a text around: others write many of
// the texts.
func graphic(r rune) rune {
	if r == '\n' || r == '\t' || unicode.IsGraphic(r) {
		return r
	}
	return unicode.ReplacementChar
}

// render answers with a page.
func (c *Console) render(one *call, status int, p page) {
	body, err := c.draw(one, p, "frame", status)
	if err != nil {
		c.failures.Warn(c.log, "a page could not be shown", err)
		http.Error(one.w, "This page cannot be shown: the worker's log says why.", http.StatusInternalServerError)
		return
	}
	h := one.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Vary", "Accept, Cookie")
	one.w.WriteHeader(status)
	_, _ = one.w.Write(body) // The reader may have left.
}
