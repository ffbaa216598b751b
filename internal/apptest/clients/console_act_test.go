package clients_test

import (
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rekey/internal/apptest"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/config"
	"rekey/internal/deliver"
	"rekey/internal/jobs"
	"rekey/internal/notify"
	"rekey/internal/secret"
)

// act shows what is about to be done, does it with a reason, and returns the answer.
func (r *reader) act(path string, form url.Values, shows ...string) (http.Header, string) {
	r.t.Helper()
	query := ""
	if len(form) > 0 {
		query = "?" + form.Encode()
	}
	r.page(path+query, append(shows, `name="reason"`, "recorded with the name "+soar)...)
	form.Set("reason", " ")
	if status, _, body := r.send("POST", path, form); status != http.StatusOK || !strings.Contains(body, "A reason is required") {
		r.t.Errorf("%s without a reason: %d\n%s", path, status, body)
	}
	form.Set("reason", "IR-4711 "+leaked)
	status, header, body := r.send("POST", path, form)
	if status != http.StatusOK && status != http.StatusSeeOther {
		r.t.Fatalf("%s: %d\n%s", path, status, body)
	}
	return header, body
}

// leaked looks like a credential: it must be in no record.
var leaked = "mdb_sa_sk_" + strings.Repeat("Ab3", 13) + "x"

// TestJobActs: a job is canceled and retried, and its record says who did that, and why.
func TestJobActs(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	withAPI(t, rig)
	atlas.Script("customerX509", apptest.RetryAfter(503, "3600"))
	w := rig.Start(t)
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String(), "Nats-Msg-Id", "a")
	job := w.RecordOf(apptest.HexID(1), func(r jobs.PublicRecord) bool { return r.State == jobs.StateWaiting })
	r, path := loggedIn(t, w, soar), "/jobs/"+job.JobID
	r.page(path, "Attempt 1", "HTTP 503", path+"/cancel", path+"/retry")
	header, _ := r.act(path+"/cancel", url.Values{}, apptest.HexID(1), "security")
	if header.Get("Location") != path {
		t.Errorf("Location is %q", header.Get("Location"))
	}
	w.RecordOf(apptest.HexID(1), func(r jobs.PublicRecord) bool { return r.Outcome == jobs.OutcomeCancelled })
	r.act(path+"/retry", url.Values{})
	done := w.RecordOf(apptest.HexID(1), func(r jobs.PublicRecord) bool { return !r.Done() && len(r.Operations) == 2 })
	if len(done.Operations) != 2 || done.Operations[0].By != soar || !strings.HasPrefix(done.Operations[0].Reason, "IR-4711 ") || strings.Contains(apptest.Encoded(done), leaked) {
		t.Errorf("operations: %+v", done.Operations)
	}
	r.act(path+"/cancel", url.Values{})
	w.RecordOf(apptest.HexID(1), func(r jobs.PublicRecord) bool { return r.Outcome == jobs.OutcomeCancelled })
	if status, _, body := r.send("POST", path+"/cancel", url.Values{"reason": {"x"}}); status != http.StatusConflict || !strings.Contains(body, "There is nothing to do") {
		t.Errorf("canceling what has ended: %d\n%s", status, body)
	}
}

// TestLetterActs: dead letters are replayed and dropped, those that were shown and no others.
func TestLetterActs(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	withAPI(t, rig)
	w := rig.Start(t)
	for _, id := range []string{"a", "b", "c"} {
		w.Publish("incident", `{"kind": "no.such"}`, "Nats-Msg-Id", id)
	}
	w.Letters(3)
	r := loggedIn(t, w, soar)
	r.page("/dead-letters", "By cause", "unknown kind", "/dead-letters/drop?numbers=1-3", `id="letter-3"`)
	r.page("/dead-letters/1", "unknown kind", `&#34;no.such&#34;`)
	r.page("/dead-letters?code=conflict", "There is no dead letter")
	shown := r.page("/dead-letters/drop?all=yes&code=malformed", `name="numbers" value="3 2 1"`)
	if !strings.Contains(shown, "deleted") {
		t.Error("it does not say what is done")
	}
	if _, body := r.act("/dead-letters/drop", url.Values{"numbers": {"1", "3"}}, `name="numbers" value="3 1"`); strings.Count(body, ">done<") != 2 {
		t.Errorf("dropping:\n%s", body)
	}
	if _, body := r.act("/dead-letters/replay", url.Values{"numbers": {"2"}}, "It would fail the same way"); !strings.Contains(body, "published as event") {
		t.Errorf("replaying:\n%s", body)
	}
	for _, tt := range []struct {
		form   url.Values
		status int
	}{
		{url.Values{"numbers": {"1"}}, 404}, {url.Values{}, 400}, {url.Values{"numbers": {"1-"}}, 400},
	} {
		if status, _, body := r.send("POST", "/dead-letters/drop", url.Values{"reason": {"x"}, "numbers": tt.form["numbers"]}); status != tt.status {
			t.Errorf("%v: %d, want %d\n%s", tt.form, status, tt.status, body)
		}
	}
}

// TestScheduleActs: a schedule is paused, resumed and run, and says who did that.
func TestScheduleActs(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	withAPI(t, rig)
	s := apptest.EverySecond("weekly", apptest.HexID(7))
	s.Cron, s.TimeZone = "0 3 * * 0", "UTC"
	rig.Cfg.Schedules = []config.Schedule{s}
	w := rig.Start(t)
	r := loggedIn(t, w, soar)
	r.page("/schedules", "weekly", "0 3 * * 0", "active", "/schedules/weekly/pause")
	r.act("/schedules/weekly/pause", url.Values{}, "x509.disable", apptest.HexID(7))
	r.page("/schedules", "paused", "/schedules/weekly/resume", "pause by <bdi>"+soar)
	if status, _, _ := r.send("POST", "/schedules/weekly/pause", url.Values{"reason": {"x"}}); status != http.StatusConflict {
		t.Errorf("pausing twice: %d", status)
	}
	r.act("/schedules/weekly/resume", url.Values{})
	header, _ := r.act("/schedules/weekly/run", url.Values{})
	job := w.RecordOf(apptest.HexID(7), func(r jobs.PublicRecord) bool { return r.Done() })
	if header.Get("Location") != "/jobs/"+job.JobID || job.RequestedBy != soar+" (schedule weekly)" {
		t.Errorf("Location %q of a job that %q requested", header.Get("Location"), job.RequestedBy)
	}
	if status, _, _ := r.do("GET", "/schedules/daily/run"); status != http.StatusNotFound {
		t.Errorf("a schedule that there is not: %d", status)
	}
}

// TestReceiverActs: a receiver gets a sample, and the page says what it answered.
func TestReceiverActs(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	withAPI(t, rig)
	hook := apptest.NewHook(t, nil)
	rig.Cfg.Receivers = []config.Receiver{{Name: "siem", Type: notify.TypeWebhook, URL: secret.Ref{File: apptest.InFile(t, hook.URL)}, SigningSecret: secret.Ref{File: apptest.InFile(t, apptest.SigningSecret())}, Timeout: apptest.Patience}}
	w := rig.Start(t)
	r := loggedIn(t, w, soar)
	r.page("/receivers", "siem", "webhook")
	if _, body := r.act("/receivers/siem/test", url.Values{}, "siem"); !strings.Contains(body, "has taken the sample") {
		t.Errorf("test:\n%s", body)
	}
	hook.SwitchTo(http.StatusForbidden)
	if _, body := r.act("/receivers/siem/test", url.Values{}); !strings.Contains(body, "has not taken the sample") || !strings.Contains(body, "403") {
		t.Errorf("test:\n%s", body)
	}
	for _, path := range []string{"/receivers", "/settings"} {
		if strings.Contains(r.page(path), hook.URL) {
			t.Errorf("%s shows the address of a receiver", path)
		}
	}
}

// TestRotationActs: a rotation is run and abandoned. Its job says who did that, and its story has the steps.
func TestRotationActs(t *testing.T) {
	t.Parallel()
	box, api := apptest.ServeSandbox(t, sandbox.Config{})
	rig := apptest.SandboxRig(t, box, api)
	withAPI(t, rig)
	rig.Cfg.Rotations = []config.Rotation{{
		Name: "ci", Account: apptest.Security, OrgID: sandbox.OrgID, ClientID: sandbox.RotatedClientID, Lifetime: 720 * time.Hour, QuietFor: 48 * time.Hour,
		WhenFull: config.WhenFullWait, Overdue: config.OverdueAlert, Deliver: []deliver.Config{{Type: deliver.TypeFile, Path: filepath.Join(t.TempDir(), "secret")}},
	}}
	w := rig.Start(t)
	r := loggedIn(t, w, soar)
	if status, _, _ := r.do("GET", "/rotations/ci/abandon"); status != http.StatusConflict {
		t.Errorf("abandoning what has not begun: %d", status)
	}
	if status, _, _ := r.do("GET", "/rotations/no-such/run"); status != http.StatusNotFound {
		t.Errorf("running what there is not: %d", status)
	}
	header, _ := r.act("/rotations/ci/run", url.Values{}, sandbox.RotatedClientID, "cut to a week", "48h", "file ")
	job := strings.TrimPrefix(header.Get("Location"), "/jobs/")
	r.page("/jobs/"+job, "Requested by", soar, "IR-4711")
	w.RecordOf("", func(r jobs.PublicRecord) bool {
		return r.JobID == job && r.Rotation != nil && r.Rotation.Step == jobs.StepAdopt
	})
	r.page("/rotations", "adopt", "/rotations/ci/abandon")
	r.page("/jobs/"+job, "Step: create", "Step: deliver", "Step: adopt", "under way: ", "Old secret", sandbox.RotatedSecretID)
	r.page("/jobs/"+job+"/cancel", "the new secret is deleted")
	if header, _ = r.act("/rotations/ci/run", url.Values{}, "This rotation is unfinished"); header.Get("Location") != "/jobs/"+job {
		t.Errorf("a second one is at %q", header.Get("Location"))
	}
	r.act("/rotations/ci/abandon", url.Values{}, job, "the rotation goes on")
	r.page("/jobs/"+job, "Operator: cancel", "by <code>"+soar)
}

// TestFurtherPages: what is only looked at, without a secret.
func TestFurtherPages(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	withAPI(t, rig)
	atlas.Script(apptest.RevokePath, apptest.RetryAfter(429, "1"))
	rig.Cfg.Rotations = []config.Rotation{{Name: "ci", Account: apptest.Security, OrgID: apptest.Org, ClientID: "mdb_sa_id_5ec0000000000000000000a7", Lifetime: 2160 * time.Hour, QuietFor: 48 * time.Hour}}
	rig.Cfg.API.Console.TraceURL = "https://traces.example.com/trace/{trace_id}"
	rig.Cfg.Policies.List = append(rig.Cfg.Policies.List, apptest.LeakPolicy())
	w := rig.Start(t)
	token := apptest.Canary()
	w.Publish("incident", apptest.TokenRevoke(token).With("reason", "IR-4711").CloudEvent("siem", "a"), "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	job := w.Results(1)[0].Record
	r := loggedIn(t, w, soar)
	canaries := apptest.Canaries{"token": token, "client secret": rig.ClientSecret, "private key": rig.PrivateKey, "token of a client": tokenOf(soar)}
	for _, tt := range []struct {
		path string
		want []string
	}{
		{"/", []string{job.JobID, "Last 24 hours", `id="worst-` + job.JobID}},
		{"/jobs/" + job.JobID, []string{"IR-4711", `href="https://traces.example.com/trace/0af7651916cd43dd8448eb211c80319c"`}},
		{"/pacing", []string{"oauth_revoke"}},
		{"/rotations", []string{"ci", "has not run yet"}},
		{"/policies", []string{apptest.LeakPolicy().Name, "worker-1"}},
		{"/audit", []string{"ocsf"}},
		{"/settings", []string{"atlas.accounts[0].client_secret_env", "SECURITY_SECRET", "api.clients[0].name", "worker.concurrency"}},
		{"/audit/export?format=jsonl&since=1h", []string{job.JobID, "IR-4711"}},
		{"/audit/export?format=csv", []string{job.JobID}},
	} {
		canaries.Search(t, tt.path, r.page(tt.path, tt.want...))
	}
	event := apptest.Leak(token)
	status, _, body := r.send("POST", "/policies", url.Values{"class": {"siem"}, "event": {event}})
	if status != http.StatusOK || !strings.Contains(body, "token.revoke") || !strings.Contains(body, "1 job") || !strings.Contains(body, apptest.Fingerprint(token)) {
		t.Errorf("testing an event: %d\n%s", status, body)
	}
	if n := len(w.Results(1)); n != 1 {
		t.Errorf("%d jobs were made", n)
	}
	if status, _, _ := r.do("GET", "/audit/export?format=pdf"); status != http.StatusBadRequest {
		t.Errorf("another format: %d", status)
	}
	canaries.SearchEverything(t, w)
}
