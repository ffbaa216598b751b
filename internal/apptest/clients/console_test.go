package clients_test

import (
	"bufio"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/zap"

	"rekey/internal/apptest"
	"rekey/internal/console"
)

// reader is a browser without JavaScript.
type reader struct {
	t    *testing.T
	base string
	http http.Client
}

func newReader(t *testing.T, address string) *reader {
	t.Helper()
	r := &reader{t: t, base: "http://" + address}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	r.http.Transport, r.http.Jar = &http.Transport{}, jar
	r.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	t.Cleanup(r.http.CloseIdleConnections)
	return r
}

// inline is what the policy of the pages forbids, and what calls another host.
var inline = regexp.MustCompile(`(?i)<script(?:>| [^>]*>[^<])|<style|\sstyle=|\son[a-z]+=|["']javascript:|(?:src|href|action)="(?:https?:)?//`)

// do sends a request and checks what is true of every page.
func (r *reader) do(method, path string, header ...string) (int, http.Header, string) {
	r.t.Helper()
	return r.send(method, path, nil, header...)
}

// send is do with a form.
func (r *reader) send(method, path string, form url.Values, header ...string) (int, http.Header, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		r.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := r.http.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if strings.HasSuffix(resp.Header.Get("Content-Type"), "problem+json") {
		return resp.StatusCode, resp.Header, string(body) // Of the API.
	}
	if policy := resp.Header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; script-src 'self'; style-src 'self';") || strings.Contains(policy, "unsafe") {
		r.t.Errorf("%s has the policy %q", path, policy)
	}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") && resp.StatusCode/100 != 3 {
		if found := inline.FindString(strings.ReplaceAll(string(body), `href="https://traces.example.com/`, "href=\"")); found != "" {
			r.t.Errorf("%s has %q", path, found)
		}
		if !strings.Contains(string(body), "</html>") || strings.Contains(string(body), "<no value>") {
			r.t.Errorf("%s is not whole:\n%s", path, body)
		}
	}
	return resp.StatusCode, resp.Header, string(body)
}

// lagging is what a page says while the search has not read all changes of jobs.
var lagging = regexp.MustCompile(`changes (of jobs )?are not in (these numbers|the list) yet`)

// page is a page that must be there. It is asked for again while it says that changes are missing, as it does on a machine that is busy.
func (r *reader) page(path string, want ...string) string {
	r.t.Helper()
	status, _, body := r.do("GET", path)
	for asks := 0; asks < 100 && lagging.MatchString(body); asks++ {
		status, _, body = r.do("GET", path)
	}
	if status != http.StatusOK {
		r.t.Fatalf("%s: %d\n%s", path, status, body)
	}
	for _, text := range want {
		if !strings.Contains(body, text) {
			r.t.Errorf("%s does not have %q:\n%s", path, text, body)
		}
	}
	return body
}

// TestPages: the pages say what became of jobs, and no secret.
func TestPages(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	w := rig.Start(t)
	r := newReader(t, w.HTTP)
	r.page("/", "Nothing is to be done", "There is no job yet")
	token := apptest.Canary()
	const hostile = "IR-4711 <script>alert(1)</script> \u202eevil"
	w.Publish("incident", apptest.TokenRevoke(token).With("reason", hostile).With("requested_by", "alice").CloudEvent("siem", "alert-1"))
	w.Publish("incident", `{"kind": "no.such"}`, "Nats-Msg-Id", "wrong")
	job := w.Results(1)[0].Record
	w.Letters(1)
	canaries := apptest.Canaries{"token": token, "client secret": rig.ClientSecret, "private key": rig.PrivateKey}
	for _, tt := range []struct {
		path string
		want []string
	}{
		{"/", []string{job.JobID, "dead letters wait: 1", "unknown kind"}},
		{"/jobs", []string{"1 job.", job.JobID, "revoked", "alice", "IR-4711 &lt;script&gt;"}},
		{"/jobs?q=IR-4711&requested_by=alice&state=done&outcome=revoked&since=7d", []string{job.JobID, `value="IR-4711"`, `<option selected>revoked`, "Clear"}},
		{"/jobs?q=IR-4712", []string{"No job fits"}},
		{"/jobs/" + job.JobID, []string{"siem alert-1", "Job accepted", "Attempt 1", "POST /api/oauth/revoke", "Outcome: revoked", "Result published"}},
		{"/jobs/" + job.JobID[:8], []string{job.JobID}},
	} {
		body := r.page(tt.path, tt.want...)
		if strings.Contains(body, "\u202e") {
			t.Errorf("%s has a mark that turns the text around", tt.path)
		}
		canaries.Search(t, tt.path, body)
	}
}

// TestRefusals: a page that cannot be shown says why.
func TestRefusals(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	w := rig.Start(t)
	r := newReader(t, w.HTTP)
	w.Publish("incident", `{"kind": "no.such"}`, "Nats-Msg-Id", "wrong")
	w.Letters(1)
	for _, tt := range []struct {
		name, method, path string
		header             []string
		status             int
		says               string
	}{
		{"no such page", "GET", "/nothing", nil, 404, "There is no page"},
		{"no such job", "GET", "/jobs/00000000000000000000000000", nil, 404, "There is no such job"},
		{"wrong filter", "GET", "/jobs?state=asleep", nil, 400, "state: must be one of"},
		{"wrong time", "GET", "/jobs?since=yesterday", nil, 400, "since must be"},
		{"nothing can be done", "POST", "/jobs", nil, 405, "Method Not Allowed"},
		{"name of another site", "GET", "/", []string{"Host", "rebound.example.com"}, 403, "without a login"},
		{"name of this machine", "GET", "/", []string{"Host", "localhost:1"}, 200, "Now"},
		{"file of another release", "GET", "/static/000000000000/console.js", nil, 404, "not found"},
	} {
		status, _, body := r.do(tt.method, tt.path, tt.header...)
		if status != tt.status || !strings.Contains(body, tt.says) {
			t.Errorf("%s: %d, want %d and %q:\n%s", tt.name, status, tt.status, tt.says, body)
		}
	}
}

// TestNotReady: without NATS there is a page that says so, and looks again by itself.
func TestNotReady(t *testing.T) {
	t.Parallel()
	c, err := console.New(console.Config{Version: "1.2.3", Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/jobs", "/jobs/1"} {
		w := httptest.NewRecorder()
		req := httptest.NewRequestWithContext(t.Context(), "GET", "http://127.0.0.1"+path, nil)
		c.ServeHTTP(w, req)
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Refresh") == "" || !strings.Contains(w.Body.String(), "not prepared its streams") {
			t.Errorf("%s: %d %v\n%s", path, w.Code, w.Header(), w.Body)
		}
	}
}

// follow opens a live page and returns what it sends, event by event.
func (r *reader) follow(path string) (next func() string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), "GET", r.base+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := r.http.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			r.t.Fatal(err)
		}
		return func() string { return resp.Status + " " + string(body) }
	}
	lines := bufio.NewScanner(resp.Body)
	return func() string {
		var event strings.Builder
		for lines.Scan() && lines.Text() != "" {
			event.WriteString(lines.Text() + "\n")
		}
		return event.String()
	}
}

// TestLive: a live page sends what is new, and ends with the worker.
func TestLive(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	w := rig.Start(t)
	next := newReader(t, w.HTTP).follow("/jobs")
	if first := next(); !strings.HasPrefix(first, "event: live\ndata: ") || !strings.Contains(first, "No job fits") {
		t.Fatalf("first event:\n%s", first)
	}
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String(), "Nats-Msg-Id", "one")
	for event := next(); !strings.Contains(event, "revoked"); event = next() {
		if event == "" {
			t.Fatal("the live page ended before the job did")
		}
	}
	w.Stop()
	for event := next(); event != ""; event = next() {
		t.Log(event)
	}
	if n := rig.Logs.FilterMessageSnippet("did not stop").Len(); n > 0 {
		t.Error("a part did not stop in time")
	}
}

// TestLiveIsBounded: one reader can open so many live pages, and no more.
func TestLiveIsBounded(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	w := rig.Start(t)
	r := newReader(t, w.HTTP)
	for range 16 { // As docs/console.md says.
		if first := r.follow("/jobs")(); !strings.HasPrefix(first, "event: live") {
			t.Fatalf("first event:\n%s", first)
		}
	}
	if refused := r.follow("/jobs")(); !strings.HasPrefix(refused, "503") {
		t.Errorf("one more live page: %s", refused)
	}
	r.page("/jobs")
}
