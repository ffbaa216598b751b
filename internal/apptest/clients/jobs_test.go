package clients_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"rekey/internal/apptest"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// TestSubmit: a request is stored when the answer comes, is requested by the client, and becomes the job that the answer names.
func TestSubmit(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	w := withAPI(t, rig).Start(t)
	token := apptest.Canary()
	a := as(w, soar).do("POST", "/v1/jobs", apptest.TokenRevoke(token).With("requested_by", "alice").With("reason", "IR-4711"), "Idempotency-Key", "alert-1",
		"Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").must(t, "submitting", 202)
	if got := a.header.Get("Traceparent"); got != "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" {
		t.Errorf("the answer has the trace %q", got)
	}
	id := a.get("job_id")
	if want := jobs.ID("rekey/api/soar", "alert-1"); id != want || a.get("event_id") != "alert-1" || a.header.Get("Location") != "/v1/jobs/"+id {
		t.Errorf("%s, Location %q; want the job %s", a.text, a.header.Get("Location"), want)
	}
	done := as(w, viewer).outcome(id)
	for name, want := range map[string]string{
		"job_id": id, "state": "done", "outcome": "revoked", "requested_by": "soar", "on_behalf_of": "alice", "reason": "IR-4711", "lane": "normal",
		"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	} {
		if done.get(name) != want {
			t.Errorf("%s is %q, want %q", name, done.get(name), want)
		}
	}
	if n := atlas.Revoked(token); n != 1 {
		t.Errorf("the token was revoked %d times", n)
	}
	apptest.Canaries{"token": token, "token of soar": tokenOf(soar), "token of viewer": tokenOf(viewer)}.SearchEverything(t, w)
	w.AwaitMetrics(map[string]float64{
		`rekey_api_requests_total{code="202",route="POST /v1/jobs"}`: 1, `rekey_api_requests_total{code="200",route="GET /v1/jobs/{id}"}`: 1,
	})
}

// TestSubmitTwice: the same Idempotency-Key is one job, also at the same moment; another client's is another one.
func TestSubmitTwice(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	w := withAPI(t, rig).Start(t)
	request := apptest.X509Disable(apptest.HexID(1))
	ids := make([]string, 8)
	var asking sync.WaitGroup
	for i := range ids {
		asking.Go(func() {
			a, err := as(w, soar).attempt("POST", "/v1/jobs", request, "Idempotency-Key", `"same"`)
			if err != nil || a.status != 202 {
				t.Errorf("%v %s", err, a.text)
			}
			ids[i] = a.get("job_id")
		})
	}
	asking.Wait()
	as(w, soar).outcome(ids[0])
	again := as(w, soar).do("POST", "/v1/jobs", request, "Idempotency-Key", "same").must(t, "once more", 202)
	if again.get("job_id") != ids[0] || again.body["duplicate"] != true || again.get("event_id") != "same" {
		t.Errorf("once more: %s, want a duplicate of %s", again.text, ids[0])
	}
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("jobs %v, want one", ids)
		}
	}
	w.DidOnce(t, atlas, apptest.HexID(1))
	other := as(w, soar).do("POST", "/v1/jobs", apptest.X509Disable(apptest.HexID(2)), "Idempotency-Key", "same").must(t, "another request", 409)
	if other.get("code") != "conflict" || other.get("field") != "Idempotency-Key" || other.get("job_id") != ids[0] {
		t.Errorf("another request: %s", other.text)
	}
	if of := as(w, limited).do("POST", "/v1/jobs", request, "Idempotency-Key", "same").must(t, "another client", 202); of.get("job_id") == ids[0] {
		t.Error("another client's request is a duplicate")
	}
}

func TestSubmitMistakes(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	w := withAPI(t, rig).Start(t)
	good := apptest.X509Disable(apptest.HexID(1))
	token := apptest.Canary()
	for _, tt := range []struct {
		name   string
		client string
		body   any
		header []string
		want   int
		code   string
		field  string
	}{
		{name: "not JSON", body: "kind=x", want: 400, code: "malformed"},
		{name: "a member twice", body: `{"kind":"x509.disable","kind":"idp.delete","params":{}}`, want: 400, code: "malformed", field: "kind"},
		{name: "a list", body: "[]", want: 400, code: "malformed"},
		{name: "two documents", body: good.String() + good.String(), want: 400, code: "malformed"},
		{name: "deep", body: strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100), want: 400, code: "malformed"},
		{name: "invalid UTF-8", body: "{\"kind\":\"\xff\"}", want: 400, code: "malformed"},
		{name: "no body", body: "", want: 400, code: "malformed"},
		{name: "a form", body: good, header: []string{"Content-Type", "application/x-www-form-urlencoded"}, want: 415, code: "media_type"},
		{name: "no content type", body: good, header: []string{"Content-Type", ""}, want: 415, code: "media_type"},
		{name: "compressed", body: good, header: []string{"Content-Encoding", "gzip"}, want: 415, code: "media_type"},
		{name: "too large", body: apptest.Encoded(good.With("reason", strings.Repeat("x", 2<<20))), want: 413, code: "too_large"},
		{name: "unknown field", body: good.With("target", "x"), want: 422, code: "invalid", field: "target"},
		{name: "unknown kind", body: good.With("kind", "token.love"), want: 422, code: "invalid", field: "kind"},
		{name: "no params", body: good.Without("params"), want: 422, code: "invalid", field: "params.project_id"},
		{name: "wrong parameter", body: apptest.X509Disable("zzz"), want: 422, code: "invalid", field: "params.project_id"},
		{name: "unknown account", body: good.With("account", "other"), want: 422, code: "invalid", field: "account"},
		{name: "a credential as a name", body: good, header: []string{"Idempotency-Key", "mdb_sa_sk_" + strings.Repeat("a1B2", 10)}, want: 422, code: "invalid", field: "id"},
		{name: "an empty key", body: good, header: []string{"Idempotency-Key", `""`}, want: 400, code: "malformed", field: "Idempotency-Key"},
		{name: "a long key", body: good, header: []string{"Idempotency-Key", strings.Repeat("k", 300)}, want: 400, code: "malformed", field: "Idempotency-Key"},
		{name: "no permission", client: viewer, body: good, want: 403, code: "forbidden"},
		{name: "no permission, and no JSON either", client: viewer, body: "{", want: 403, code: "forbidden"},
		{name: "another kind", client: limited, body: apptest.TokenRevoke(token), want: 403, code: "forbidden", field: "kind"},
		{name: "another account", client: limited, body: good.With("account", apptest.Legacy), want: 403, code: "forbidden", field: "account"},
		{name: "no account of two", client: limited, body: good.Without("account"), want: 403, code: "forbidden", field: "account"},
		{name: "a stranger", client: "mallory", body: good, want: 401, code: "unauthorized"},
	} {
		client := tt.client
		if client == "" {
			client = soar
		}
		a := as(w, client).do("POST", "/v1/jobs", tt.body, tt.header...)
		if a.status != tt.want || a.get("code") != tt.code || a.get("field") != tt.field || a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s, want %d %s of field %q", tt.name, a.status, a.text, tt.want, tt.code, tt.field)
		}
		if strings.Contains(a.text, token) || strings.Contains(a.text, "mdb_sa_sk_") {
			t.Errorf("%s: the answer repeats a secret: %s", tt.name, a.text)
		}
	}
	if n := w.Count("REKEY_EVENTS"); n != 0 || len(atlas.Requests(apptest.AdminPath)) != 0 {
		t.Errorf("%d events are stored", n)
	}
	apptest.Canaries{"token": token}.SearchEverything(t, w)
}

// TestRead: lists and records show a client what it may see, and no more.
func TestRead(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	w := withAPI(t, rig).Start(t)
	var ids []string
	for _, request := range []apptest.Request{
		apptest.X509Disable(apptest.HexID(1)), apptest.X509Disable(apptest.HexID(2)).With("account", apptest.Legacy), apptest.JwksRevoke(apptest.HexID(3)).With("reason", "Lost Laptop"),
	} {
		ids = append(ids, as(w, soar).do("POST", "/v1/jobs", request).must(t, "submitting", 202).get("job_id"))
		as(w, soar).outcome(ids[len(ids)-1])
	}
	for _, tt := range []struct {
		client, query string
		want          []int // Of ids, the latest first.
		more          bool
	}{
		{viewer, "", []int{2, 1, 0}, false},
		{viewer, "?limit=2", []int{2, 1}, true},
		{viewer, "?limit=2&after=" + ids[1], []int{0}, false},
		{viewer, "?kind=x509.disable", []int{1, 0}, false},
		{viewer, "?state=done&outcome=revoked", []int{2, 1, 0}, false},
		{viewer, "?state=waiting", nil, false},
		{viewer, "?target=" + apptest.HexID(2), []int{1}, false},
		{viewer, "?q=lost+laptop", []int{2}, false},
		{viewer, "?since=1h", []int{2, 1, 0}, false},
		{viewer, "?since=2100-01-01T00:00:00Z", nil, false},
		{limited, "", []int{0}, false},
		{limited, "?kind=jwks.revoke", nil, false},
	} {
		a := as(w, tt.client).do("GET", "/v1/jobs"+tt.query, nil).must(t, tt.query, 200)
		var got, want []string
		list, _ := a.body["jobs"].([]any)
		for _, one := range list {
			got = append(got, one.(map[string]any)["job_id"].(string))
		}
		for _, i := range tt.want {
			want = append(want, ids[i])
		}
		if strings.Join(got, " ") != strings.Join(want, " ") || a.body["more"] != tt.more || a.body["jobs"] == nil {
			t.Errorf("%s lists %s: %v, more %v; want %v", tt.client, tt.query, got, a.body["more"], want)
		}
	}
	for query, field := range map[string]string{
		"?state=asleep": "state", "?kind=x": "kind", "?outcome=x": "outcome", "?limit=0": "limit", "?limit=501": "limit", "?since=soon": "since", "?after=x": "after",
		"?colour=red": "colour", "?limit=1&limit=2": "limit", "?after=" + jobs.ID("a", "b"): "after",
	} {
		if a := as(w, viewer).do("GET", "/v1/jobs"+query, nil); a.status != 400 || a.get("field") != field {
			t.Errorf("%s: %d %s, want the field %s", query, a.status, a.text, field)
		}
	}
	for _, id := range []string{ids[1], ids[2], jobs.ID("a", "b"), strings.Repeat("a", 26)} {
		if a := as(w, limited).do("GET", "/v1/jobs?after="+id, nil); a.status != 400 || a.get("field") != "after" {
			t.Errorf("behind job %s, which the client may not see: %d %s", id, a.status, a.text)
		}
	}
	as(w, limited).do("GET", "/v1/jobs?after="+ids[0], nil).must(t, "behind its job", 200)
	for _, id := range []string{ids[1], ids[2], jobs.ID("a", "b"), "x", strings.Repeat("a", 26)} {
		if a := as(w, limited).do("GET", "/v1/jobs/"+id, nil); a.status != 404 || a.get("code") != "not_found" {
			t.Errorf("job %s, which the client may not see: %d %s", id, a.status, a.text)
		}
	}
	as(w, limited).do("GET", "/v1/jobs/"+ids[0], nil).must(t, "its job", 200)
	status := as(w, viewer).do("GET", "/v1/status", nil).must(t, "status", 200)
	if status.get("workers") != "present" {
		t.Errorf("status: %s", status.text)
	}
}

// TestWait: 200 says that the outcome is known, 202 that it is not yet.
func TestWait(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Retry.Base, rig.Cfg.Retry.Cap = time.Hour, time.Hour
	w := withAPI(t, rig).Start(t)
	atlas.Script(apptest.HexID(1), apptest.JSONReply(http.StatusInternalServerError, "{}"))
	id := as(w, soar).do("POST", "/v1/jobs", apptest.X509Disable(apptest.HexID(1))).must(t, "submitting", 202).get("job_id")
	pending := as(w, soar).do("GET", "/v1/jobs/"+id+"?wait=1s", nil).must(t, "a job that waits", 202)
	if pending.get("job_id") != id || pending.get("outcome") != "" {
		t.Errorf("a job that waits: %s", pending.text)
	}
	for _, id := range []string{id, jobs.ID("a", "b")} { // Whether a job of others waits, nothing tells.
		if a := as(w, revoker).do("GET", "/v1/jobs/"+id+"?wait=1m", nil); a.status != 404 || a.get("code") != "not_found" || a.get("job_id") != "" {
			t.Errorf("waiting for job %s of others: %d %s", id, a.status, a.text)
		}
	}
	for _, query := range []string{"?wait=6m", "?wait=-1s", "?wait=soon", "?until=outcome", "?wait=1s&until=lunch"} {
		as(w, soar).do("GET", "/v1/jobs/"+id+query, nil).must(t, query, 400)
	}
	as(w, soar).do("GET", "/v1/jobs/"+jobs.ID("a", "b")+"?wait=1m", nil).must(t, "a job that cannot come any more", 404)
	as(w, soar).do("POST", "/v1/jobs/"+id+"/cancel", map[string]string{"reason": "false alarm"}).must(t, "cancelling", 200)
	done := as(w, soar).outcome(id)
	if done.get("outcome") != "cancelled" || !strings.Contains(done.text, "false alarm") || !strings.Contains(done.text, `"by":"soar"`) {
		t.Errorf("a cancelled job: %s", done.text)
	}
	as(w, soar).do("POST", "/v1/jobs/"+id+"/cancel", nil).must(t, "cancelling once more", 409)
	as(w, viewer).do("POST", "/v1/jobs/"+id+"/retry", nil).must(t, "retrying without the permission", 403)
	as(w, limited).do("POST", "/v1/jobs/"+id+"/retry", map[string]any{"because": 1}).must(t, "another member", 422)
	as(w, limited).do("POST", "/v1/jobs/"+id+"/retry", nil).must(t, "retrying", 200)
	if done := as(w, soar).outcome(id); done.get("outcome") != "revoked" {
		t.Errorf("a job that was retried: %s", done.text)
	}
	as(w, soar).do("POST", "/v1/jobs/"+id+"/retry", nil).must(t, "retrying a success", 409)
}

// TestOwnLeak: a client learns what became of the leak that it has handed over, whatever kind of job that is.
func TestOwnLeak(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	w := withAPI(t, rig).Start(t)
	id := as(w, leaks).do("POST", "/v1/jobs", apptest.NewRequest(kinds.LeakContain, map[string]any{
		"secret": "mongodb+srv://app:hunter22-canary@cluster0.abcde.mongodb.net/", "project_id": apptest.HexID(1),
	})).must(t, "submitting", 202).get("job_id")
	if done := as(w, leaks).outcome(id); done.get("kind") != string(kinds.DatabaseUserScramble) {
		t.Errorf("a leak that was handed over: %s", done.text)
	}
	as(w, leaks).do("GET", "/v1/jobs/"+id, nil).must(t, "its own leak, without a wait", 200)
	as(w, revoker).do("GET", "/v1/jobs/"+id, nil).must(t, "the leak of another", 404)
}

// TestDeadLetters: what went wrong is listed, replayed and dropped by clients that may see it.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	w := withAPI(t, rig).Start(t)
	for _, n := range []int{1, 2} {
		atlas.Script(apptest.HexID(n), apptest.JSONReply(http.StatusForbidden, `{"errorCode":"USER_UNAUTHORIZED"}`))
	}
	first := as(w, soar).do("POST", "/v1/jobs", apptest.X509Disable(apptest.HexID(1))).must(t, "submitting", 202).get("job_id")
	second := as(w, soar).do("POST", "/v1/jobs", apptest.X509Disable(apptest.HexID(2)).With("account", apptest.Legacy)).must(t, "submitting", 202).get("job_id")
	for _, id := range []string{first, second} {
		if done := as(w, soar).outcome(id); done.get("outcome") != "refused" {
			t.Fatalf("a job that the API forbids: %s", done.text)
		}
	}
	w.Publish("incident", "{")
	w.Letters(3)
	count := func(client string) int {
		list, _ := as(w, client).do("GET", "/v1/dead-letters", nil).must(t, "dead letters", 200).body["dead_letters"].([]any)
		return len(list)
	}
	if all, some := count(viewer), count(limited); all != 3 || some != 1 {
		t.Errorf("%d and %d dead letters, want 3 and 1", all, some)
	}
	if a := as(w, viewer).do("GET", "/v1/dead-letters?limit=2", nil).must(t, "two", 200); a.body["more"] != true {
		t.Errorf("two dead letters: %s", a.text)
	}
	letter := map[string]string{}
	list, _ := as(w, viewer).do("GET", "/v1/dead-letters", nil).body["dead_letters"].([]any)
	for _, one := range list {
		fields := one.(map[string]any)
		id, _ := fields["job_id"].(string)
		letter[id] = apptest.Encoded(fields["number"])
	}
	as(w, limited).do("POST", "/v1/dead-letters/"+letter[second]+"/replay", nil).must(t, "another account's", 404)
	as(w, limited).do("POST", "/v1/dead-letters/"+letter[""]+"/drop", nil).must(t, "an event's, of a client with limits", 404)
	as(w, viewer).do("POST", "/v1/dead-letters/"+letter[first]+"/replay", nil).must(t, "replaying without the permission", 403)
	as(w, soar).do("POST", "/v1/dead-letters/x/replay", nil).must(t, "no number", 404)
	replayed := as(w, limited).do("POST", "/v1/dead-letters/"+letter[first]+"/replay", map[string]string{"reason": "role granted"}).must(t, "replaying", 200)
	if replayed.get("job_id") != first {
		t.Errorf("replayed: %s", replayed.text)
	}
	if done := as(w, soar).outcome(first); done.get("outcome") != "revoked" || !strings.Contains(done.text, "role granted") {
		t.Errorf("a job that was replayed: %s", done.text)
	}
	as(w, soar).do("POST", "/v1/dead-letters/"+letter[second]+"/drop", nil).must(t, "dropping", 200)
	as(w, soar).do("POST", "/v1/dead-letters/"+letter[second]+"/drop", nil).must(t, "dropping once more", 404)
	if all := count(viewer); all != 1 {
		t.Errorf("%d dead letters, want 1", all)
	}
}

// TestWaitForProof: the answer comes with the outcome, or with the verdict on the target where that is waited for.
func TestWaitForProof(t *testing.T) {
	t.Parallel()
	box, url := apptest.StartSandbox(t)
	rig := withAPI(t, apptest.SandboxRig(t, box, url))
	rig.Cfg.Proof = config.Default().Proof
	w := rig.Start(t)
	if err := box.Inject(sandbox.Fault{Operation: sandbox.OperationIDPDelete, Kind: sandbox.FaultLag, Delay: time.Second}); err != nil {
		t.Fatal(err)
	}
	id := as(w, soar).do("POST", "/v1/jobs", map[string]any{
		"kind": kinds.IDPDelete, "account": apptest.Security,
		"params": map[string]string{"federation_id": sandbox.FederationID, "identity_provider_id": sandbox.IdentityProviderID},
	}).must(t, "submitting", 202).get("job_id")
	as(w, soar).do("GET", "/v1/jobs/"+id+"?wait=30s", nil).must(t, "the outcome", 200)
	pending := as(w, soar).do("GET", "/v1/jobs/"+id+"?wait=1ms&until=proof", nil).must(t, "no verdict yet", 202)
	if pending.get("outcome") != "revoked" || !strings.Contains(pending.text, `"verdict":"pending"`) {
		t.Errorf("before the verdict: %s", pending.text)
	}
	proven := as(w, soar).do("GET", "/v1/jobs/"+id+"?wait=30s&until=proof", nil).must(t, "the verdict", 200)
	if !strings.Contains(proven.text, `"verdict":"verified"`) {
		t.Errorf("the verdict: %s", proven.text)
	}
	if list := as(w, soar).do("GET", "/v1/jobs?verdict=verified", nil).must(t, "those that are dead", 200); !strings.Contains(list.text, id) {
		t.Errorf("those that are dead: %s", list.text)
	}
	if list := as(w, soar).do("GET", "/v1/jobs?verdict=still_alive", nil).must(t, "those that are alive", 200); strings.Contains(list.text, id) {
		t.Errorf("those that are alive: %s", list.text)
	}
	as(w, soar).do("GET", "/v1/jobs?verdict=dead", nil).must(t, "no verdict", 400)
}
