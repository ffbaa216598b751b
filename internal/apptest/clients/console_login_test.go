package clients_test

import (
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"rekey/internal/apptest"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// loggedIn is a browser in which a client has logged in.
func loggedIn(t *testing.T, w *apptest.Worker, client string) *reader {
	t.Helper()
	r := newReader(t, w.API)
	if status, _, body := r.send("POST", "/login", url.Values{"login_token": {tokenOf(client)}, "to": {"/jobs"}}); status != http.StatusSeeOther {
		t.Fatalf("logging in as %s: %d\n%s", client, status, body)
	}
	return r
}

// cookie is the session of a browser.
func (r *reader) cookie() *http.Cookie {
	r.t.Helper()
	base, err := url.Parse(r.base)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, c := range r.http.Jar.Cookies(base) {
		if c.Name == "rekey" {
			return c
		}
	}
	r.t.Fatal("there is no session")
	return nil
}

// TestLogin: pages are shown to those who have logged in, until the session ends.
func TestLogin(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	withAPI(t, rig)
	w := rig.Start(t)
	stranger := newReader(t, w.API)
	for _, path := range []string{"/", "/jobs", "/settings", "/audit/export?format=csv", "/jobs/1/cancel"} {
		if status, _, body := stranger.do("GET", path); status != http.StatusUnauthorized || !strings.Contains(body, `name="login_token"`) || strings.Contains(body, "worker-1") {
			t.Errorf("%s: %d\n%s", path, status, body)
		}
	}
	for _, token := range []string{"", "wrong", tokenOf(soar) + "x"} {
		if status, header, body := stranger.send("POST", "/login", url.Values{"login_token": {token}}); status != http.StatusUnauthorized || !strings.Contains(body, "not accepted") || header.Get("Set-Cookie") != "" {
			t.Errorf("token %q: %d %v", token, status, header)
		}
	}
	status, header, _ := stranger.send("POST", "/login", url.Values{"login_token": {tokenOf(soar)}, "to": {"//evil.example.com/"}})
	if set := header.Get("Set-Cookie"); status != http.StatusSeeOther || header.Get("Location") != "/" || !strings.Contains(set, "HttpOnly") || !strings.Contains(set, "SameSite=Strict") || strings.Contains(set, "token-5d2f") {
		t.Fatalf("%d, %v", status, header)
	}
	stranger.page("/", soar, "Log out")
	apptest.Eventually(t, "the worker to be on the page", func() bool { // It answers searches soon after it is ready.
		_, _, body := stranger.do("GET", "/")
		return strings.Contains(body, "worker-1")
	})
	stolen := stranger.cookie()
	forged := strings.Replace(stolen.Value, stolen.Value[:8], "eyJpZCI6", 1)
	for name, value := range map[string]string{"cut": stolen.Value[:len(stolen.Value)-2], "other": forged[:20] + "A" + forged[21:], "empty": "."} {
		if status, _, _ := newReader(t, w.API).do("GET", "/", "Cookie", "rekey="+value); status != http.StatusUnauthorized {
			t.Errorf("cookie %s: %d", name, status)
		}
	}
	if status, _, _ := stranger.send("POST", "/logout", nil); status != http.StatusSeeOther {
		t.Errorf("logging out: %d", status)
	}
	if status, _, _ := newReader(t, w.API).do("GET", "/", "Cookie", "rekey="+stolen.Value); status != http.StatusUnauthorized {
		t.Errorf("a session that has ended: %d", status)
	}
	apptest.Eventually(t, "the refused logins to be in the audit trail", func() bool {
		found := false
		for _, m := range w.Messages("REKEY_RESULTS") {
			found = found || strings.Contains(string(m.Data), `"route":"POST /login","status":401,"code":"login","count":3`)
		}
		return found
	})
	other := loggedIn(t, w, viewer)
	other.page("/", viewer)
	if err := os.WriteFile(rig.Cfg.API.Clients[1].Token.File, []byte("another token"), 0o600); err != nil {
		t.Fatal(err)
	}
	apptest.Eventually(t, "the end of a session whose token was taken away", func() bool {
		status, _, _ := other.do("GET", "/")
		return status == http.StatusUnauthorized
	})
	if status, _, _ := loggedIn(t, w, soar).send("POST", "/jobs/1/cancel", url.Values{"reason": {"x"}}, "Sec-Fetch-Site", "cross-site"); status != http.StatusForbidden {
		t.Errorf("a form of another site: %d", status)
	}
	if status, header, _ := loggedIn(t, w, soar).do("GET", "/v1/status"); status != http.StatusUnauthorized || !strings.Contains(header.Get("Content-Type"), "problem+json") {
		t.Errorf("the API takes a session: %d", status)
	}
}

// TestLiveWithALogin: a live page needs a session, and says when that has ended.
func TestLiveWithALogin(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	withAPI(t, rig)
	w := rig.Start(t)
	if refused := newReader(t, w.API).follow("/jobs")(); !strings.HasPrefix(refused, "401") {
		t.Errorf("without a login: %s", refused)
	}
	r := loggedIn(t, w, soar)
	next := r.follow("/jobs")
	if first := next(); !strings.Contains(first, "No job fits") {
		t.Fatalf("first event:\n%s", first)
	}
	if status, _, _ := r.send("POST", "/logout", nil); status != http.StatusSeeOther {
		t.Fatalf("logging out: %d", status)
	}
	for event := next(); !strings.Contains(event, "Your session has ended"); event = next() {
		if event == "" {
			t.Fatal("the live page ended without a word")
		}
	}
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String(), "Nats-Msg-Id", "one")
	w.Results(1)
	if status, header, _ := newReader(t, w.API).do("GET", "/nothing", "Authorization", "Bearer x"); status != http.StatusNotFound || !strings.Contains(header.Get("Content-Type"), "problem+json") {
		t.Errorf("a program at a path that there is not: %d %v", status, header)
	}
}

// TestSessionOutlivesTheWorker: a restart ends no session.
func TestSessionOutlivesTheWorker(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	withAPI(t, rig)
	w := rig.Start(t)
	session := loggedIn(t, w, soar).cookie()
	w.Stop()
	again := newReader(t, rig.Start(t).API)
	if status, _, body := again.do("GET", "/jobs", "Cookie", "rekey="+session.Value); status != http.StatusOK {
		t.Errorf("%d\n%s", status, body)
	}
}

// TestRoles: a person may do what the client may, with the jobs that it may see.
func TestRoles(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	withAPI(t, rig)
	w := rig.Start(t)
	w.Publish("incident", apptest.JwksRevoke(apptest.HexID(1)).String(), "Nats-Msg-Id", "a")
	w.Publish("incident", apptest.X509Disable(apptest.HexID(2)).String(), "Nats-Msg-Id", "b")
	byKind := map[jobs.Kind]string{}
	for _, r := range w.Results(2) {
		byKind[r.Record.Kind] = r.Record.JobID
	}
	looker, part := loggedIn(t, w, viewer), loggedIn(t, w, limited)
	for _, tt := range []struct {
		name         string
		r            *reader
		method, path string
		status       int
	}{
		{"viewer looks", looker, "GET", "/jobs/" + byKind[kinds.JWKSRevoke], 200},
		{"viewer cancels", looker, "GET", "/jobs/" + byKind[kinds.JWKSRevoke] + "/cancel", 403},
		{"viewer cancels with a form", looker, "POST", "/jobs/" + byKind[kinds.JWKSRevoke] + "/cancel", 403},
		{"viewer drops", looker, "POST", "/dead-letters/drop", 403},
		{"viewer tests a receiver", looker, "GET", "/receivers/x/test", 403},
		{"limited looks at its own", part, "GET", "/jobs/" + byKind[kinds.X509Disable], 200},
		{"limited looks at another", part, "GET", "/jobs/" + byKind[kinds.JWKSRevoke], 404},
		{"limited looks at the beginning of another", part, "GET", "/jobs/" + byKind[kinds.JWKSRevoke][:6], 404},
		{"limited retries another", part, "GET", "/jobs/" + byKind[kinds.JWKSRevoke] + "/retry", 404},
		{"limited goes on behind another", part, "GET", "/jobs?after=" + byKind[kinds.JWKSRevoke], 404},
		{"limited goes on where a list was not looked through", part, "GET", "/jobs?after=at.1.0", 200},
		{"limited looks at all", part, "GET", "/", 403},
		{"limited exports", part, "GET", "/audit/export?format=csv", 403},
		{"limited pauses", part, "GET", "/schedules/x/pause", 403},
	} {
		var form url.Values
		if tt.method == "POST" {
			form = url.Values{"reason": {"because"}}
		}
		if status, _, body := tt.r.send(tt.method, tt.path, form); status != tt.status {
			t.Errorf("%s: %d, want %d\n%s", tt.name, status, tt.status, body)
		}
	}
	if body := part.page("/jobs", byKind[kinds.X509Disable]); strings.Contains(body, byKind[kinds.JWKSRevoke]) {
		t.Error("a limited client sees another job in the list")
	}
}

// TestLostSession: what was typed is there after the login, and nothing is done before.
func TestLostSession(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	withAPI(t, rig)
	atlas.Script("customerX509", apptest.RetryAfter(503, "3600").Always())
	w := rig.Start(t)
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String(), "Nats-Msg-Id", "a")
	job := w.RecordOf(apptest.HexID(1), func(r jobs.PublicRecord) bool { return r.State == jobs.StateWaiting })
	r, path := newReader(t, w.API), "/jobs/"+job.JobID+"/cancel"
	typed := url.Values{"reason": {`IR-4711 "false alarm"`}}
	status, _, body := r.send("POST", path, typed)
	if status != http.StatusUnauthorized || !strings.Contains(body, `action="`+path+`"`) || !strings.Contains(body, `name="reason" value="IR-4711 &#34;false alarm&#34;"`) || strings.Contains(body, apptest.HexID(1)) {
		t.Fatalf("%d\n%s", status, body)
	}
	typed.Set("login_token", tokenOf(soar))
	status, _, body = r.send("POST", path, typed)
	if status != http.StatusOK || !strings.Contains(body, `name="reason" value="IR-4711 &#34;false alarm&#34;"`) || !strings.Contains(body, apptest.HexID(1)) {
		t.Fatalf("%d\n%s", status, body)
	}
	if again := w.RecordOf(apptest.HexID(1), func(jobs.PublicRecord) bool { return true }); again.CancelAsked || len(again.Operations) > 0 {
		t.Fatalf("the job was cancelled by a form that was sent without a session: %+v", again)
	}
	if status, header, body := r.send("POST", path, url.Values{"reason": {"IR-4711"}}); status != http.StatusSeeOther || header.Get("Location") != "/jobs/"+job.JobID {
		t.Fatalf("%d %v\n%s", status, header, body)
	}
	r.page("/jobs/"+job.JobID, "Operator: cancel", "IR-4711", soar)
}

// TestProxy: a person is whom a trusted proxy names, and no one whom another sender names.
func TestProxy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, addresses string
		header          []string
		status          int
		says            string
	}{
		{"of the group", "127.0.0.0/8", []string{"X-User", "alice", "X-Groups", "staff, ir"}, 200, "responders/alice"},
		{"of another group", "127.0.0.1", []string{"X-User", "alice", "X-Groups", "staff"}, 401, "login_token"},
		{"no name", "127.0.0.1", []string{"X-User", "", "X-Groups", "ir"}, 401, "login_token"},
		{"from elsewhere", "192.0.2.0/24", []string{"X-User", "alice", "X-Groups", "ir"}, 401, "login_token"},
	} {
		rig, _ := apptest.StandInRig(t)
		withAPI(t, rig)
		rig.Cfg.API.Console.Proxy = config.ConsoleProxy{Addresses: []string{tt.addresses}, UserHeader: "X-User", GroupsHeader: "X-Groups"}
		rig.Cfg.API.Clients = append(rig.Cfg.API.Clients, config.APIClient{Name: "responders", Claims: map[string]string{"groups": "ir"}, May: config.Permissions()})
		status, _, body := newReader(t, rig.Start(t).API).do("GET", "/jobs", tt.header...)
		if status != tt.status || !strings.Contains(body, tt.says) {
			t.Errorf("%s: %d, want %d and %q\n%s", tt.name, status, tt.status, tt.says, body)
		}
	}
}
