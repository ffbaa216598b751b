package intake_test

import (
	"crypto/rand"
	"encoding/base64"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"rekey/internal/apptest"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/policy"
	"rekey/internal/secret"
)

// containHints are all hints that a responder may have.
func containHints() map[string]any {
	return map[string]any{"org_id": sandbox.OrgID, "project_id": sandbox.ProjectID}
}

// contain asks to contain what leaked.
func contain(leaked string, hints map[string]any) apptest.Request {
	params := map[string]any{"secret": leaked}
	maps.Copy(params, hints)
	return apptest.NewRequest(kinds.LeakContain, params)
}

// jwt is a bearer token unlike any other.
func jwt() string {
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	return part(`{"alg":"ES512"}`) + "." + part(`{"sub":"`+rand.Text()+`"}`) + "." + part(rand.Text())
}

// containedBy are the results by what they contained.
func containedBy(results []apptest.Result) map[string]apptest.Result {
	found := map[string]apptest.Result{}
	for _, r := range results {
		found[r.Record.Contained] = r
	}
	return found
}

// TestLeakContainChangesTheSandbox: each shape is the job of the kind that fits, by a direct request, sealed, and by a policy.
func TestLeakContainChangesTheSandbox(t *testing.T) {
	t.Parallel()
	box, url := apptest.StartSandbox(t)
	rig := apptest.SandboxRig(t, box, url)
	rig.Cfg.Policies.List = []policy.Rule{{
		Name: "leaks", When: `event.class == "scanner" && credential.kind(event.data.found) == "service_account_secret"`,
		Jobs: []policy.Job{{Kind: kinds.LeakContain, Account: `"security"`, Params: map[string]policy.Expr{"secret": "event.data.found", "org_id": `"` + sandbox.OrgID + `"`}}},
	}}
	w := rig.Start(t)
	token := jwt()
	secret, _ := box.Secret(sandbox.LeakedSecretID)
	private, password := "7d1f3a52-9b0c-4eef-8a11-3c5e7f90abcd", rand.Text()
	w.Publish("incident", contain(token, nil).String())
	w.Publish("scanner", apptest.Encoded(map[string]string{"found": secret}))
	w.Publish("incident", contain(sandbox.LeakedPublicKey+":"+private, containHints()).With("reason", "found "+private).String())
	w.Publish("incident", contain("mongodb+srv://"+sandbox.DatabaseUser+":"+password+"@cluster0.abcde.mongodb.net/shop?authSource=admin", containHints()).
		With("reason", "found "+password).String())
	found := containedBy(w.Results(4))
	for was, kind := range map[string]jobs.Kind{
		"jwt": kinds.TokenRevoke, "service_account_secret": kinds.ServiceAccountSecretDelete,
		"api_key": kinds.APIKeyDelete, "connection_string": kinds.DatabaseUserScramble,
	} {
		r := found[was]
		if r.Record.Kind != kind || r.Record.Outcome != jobs.OutcomeRevoked || r.Subject != "rekey.v1.result."+kind.SubjectToken()+".revoked" {
			t.Errorf("%s: %s on %s: %s", was, apptest.Encoded(r.Record), r.Subject, r.Record.Detail)
		}
	}
	state := apptest.Encoded(box.State())
	if strings.Contains(state, sandbox.LeakedSecretID) || strings.Contains(state, sandbox.LeakedPublicKey) {
		t.Error("something that leaked is still there")
	}
	for _, p := range box.State().Projects {
		for _, u := range p.DatabaseUsers {
			if want := map[string]int{sandbox.DatabaseUser: 1}[u.Username]; u.PasswordChanges != want {
				t.Errorf("%s got %d other passwords, want %d", u.Username, u.PasswordChanges, want)
			}
		}
	}
	apptest.Canaries{"token": token, "secret": secret, "private key": private, "password": password}.SearchEverything(t, w)
}

// TestLeakContainOfWeakPasswords: one that is also the name of its user, or a word in the names of the event, is taken away like any other.
func TestLeakContainOfWeakPasswords(t *testing.T) {
	t.Parallel()
	box, url := apptest.StartSandbox(t)
	w := apptest.SandboxRig(t, box, url).Start(t)
	passwords := []string{"incident", sandbox.DatabaseUser, sandbox.DatabaseUser + "2024"}
	for _, password := range passwords {
		user := strings.Replace(password, "incident", sandbox.DatabaseUser, 1)
		w.Publish("incident", contain("mongodb+srv://"+user+":"+password+"@cluster0.abcde.mongodb.net/", containHints()).With("coalesce", false).String())
	}
	for _, r := range w.Results(len(passwords)) {
		if r.Record.Kind != kinds.DatabaseUserScramble || r.Record.Outcome != jobs.OutcomeRevoked && r.Record.Params["username"] == sandbox.DatabaseUser {
			t.Errorf("%s on %s: %s", r.Record.Kind, r.Record.Target, r.Record.Detail)
		}
	}
}

// TestLeakContainIsTheJobOfItsKind: a leak joins the identity rules of the kind that it is.
func TestLeakContainIsTheJobOfItsKind(t *testing.T) {
	t.Parallel()
	box, url := apptest.StartSandbox(t)
	w := apptest.SandboxRig(t, box, url).Start(t)
	token := jwt()
	w.Publish("incident", contain(token, nil).CloudEvent("urn:soar", "1"))
	first := w.Results(1)[0].Record
	w.Publish("incident", apptest.TokenRevoke(token).CloudEvent("urn:soar", "1"))
	w.AwaitMetrics(map[string]float64{`rekey_events_received_total{result="duplicate"}`: 1})
	if first.JobID != jobs.ID("urn:soar", "1") || first.Target != apptest.Fingerprint(token) {
		t.Errorf("got job %s on %s", first.JobID, first.Target)
	}
}

// TestLeakContainRefuses: what cannot be taken away, or lacks a hint, is refused with what it is, and nothing is asked of the API.
func TestLeakContainRefuses(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	w := rig.Start(t)
	rows := []struct {
		text, want string
		hints      map[string]any
	}{
		{"ghp_NONCE", "a GitHub token", containHints()},
		{"mdb_sa_id_5ec0000000000000000000a4", "ask for service_account.delete", containHints()},
		{"mdb_sa_sk_NONCE", "add org_id or project_id", nil},
		{"mdb_sa_sk_NONCE mdb_sa_sk_NONCEother", "several secrets", containHints()},
		{"7d1f3a52-9b0c-4eef-8a11-3c5e7f90abce", "add public_key", containHints()},
		{"sandboxl 7d1f3a52-9b0c-4eef-8a11-3c5e7f90abcf", "add org_id", nil},
		{"mongodb+srv://u:NONCE@cluster0.abcde.mongodb.net", "add project_id", nil},
		{"mongodb://u:NONCE@db.example.com/", "not of Atlas", containHints()},
		{"mongodb+srv://u:NONCE@cluster0.abcde.mongodb.net/?authMechanism=PLAIN&authSource=%24external", "without a password in Atlas", containHints()},
		{"postgres://u:NONCE@db.example.com/shop", "a connection string", containHints()},
		{"-----BEGIN PRIVATE KEY-----NONCE", "a PEM block", containHints()},
		{"NONCENONCE", "does not say what it is", containHints()},
	}
	planted := apptest.Canaries{}
	for _, row := range rows {
		nonce := rand.Text()
		if strings.Contains(row.text, "NONCE") {
			planted[row.want] = nonce
		}
		w.Publish("incident", contain(strings.ReplaceAll(row.text, "NONCE", nonce), row.hints).String())
	}
	results := w.Results(len(rows))
	for _, row := range rows {
		if !slices.ContainsFunc(results, func(r apptest.Result) bool {
			return r.Record.Outcome == jobs.OutcomeRefused && r.Subject == "rekey.v1.result.leak-contain.refused" &&
				r.Record.Contained != "" && len(r.Record.Attempts) == 0 && strings.Contains(r.Record.Detail, row.want)
		}) {
			t.Errorf("no refusal says %q", row.want)
		}
	}
	if calls := atlas.Requests("/"); len(calls) > 0 {
		t.Errorf("the API was asked: %v", calls)
	}
	w.AwaitMetrics(map[string]float64{`rekey_jobs_finished_total{kind="leak.contain",outcome="refused"}`: float64(len(rows))})
	planted.SearchEverything(t, w)
}

// TestLeakContainInFilesAndStores: what leaked may be elsewhere. It is read when the event is taken in, and the same secret by another
// form is the same target. A store that is down holds up its event, and refuses nothing.
func TestLeakContainInFilesAndStores(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	folder, inFile, late, inStore := t.TempDir(), jwt(), jwt(), jwt()
	store := newFailingStore(t, inStore)
	rig.Env["VAULT"] = "hvs." + apptest.Canary()
	rig.Cfg.Vault.Address, rig.Cfg.Vault.Token = store.url, secret.Ref{Env: "VAULT"}
	rig.Cfg.Intake.TokenFiles = []string{folder}
	rig.Cfg.Retry.MaxAttempts = 200 // As long as all of them take is the late file waited for.
	w := rig.Start(t)
	write(t, filepath.Join(folder, "leak"), inFile)
	elsewhere := write(t, filepath.Join(t.TempDir(), "leak"), jwt())
	ask := func(name, value, id string) {
		w.Publish("incident", apptest.NewRequest(kinds.LeakContain, map[string]any{name: value}).CloudEvent("urn:soar", id))
	}
	ask("secret_file", filepath.Join(folder, "late"), "late")
	ask("secret_ref", "vault:rekey/leak#token", "store")
	ask("secret_file", elsewhere, "elsewhere")
	ask("secret_file", filepath.Join(folder, "leak"), "file")
	w.Results(2)
	apptest.Eventually(t, "the store is asked twice", func() bool { return store.asked.Load() > 1 })
	write(t, filepath.Join(folder, "late"), late)
	store.up.Store(true)
	w.Results(4)
	ask("secret", inFile, "clear")
	results := w.Results(5)
	for id, token := range map[string]string{"late": late, "store": inStore, "file": inFile, "clear": inFile} {
		r := resultOf(results, jobs.ID("urn:soar", id))
		if r.Kind != kinds.TokenRevoke || r.Contained != "jwt" || r.Outcome != jobs.OutcomeRevoked || r.Target != apptest.Fingerprint(token) {
			t.Errorf("%s: %s", id, apptest.Encoded(r))
		}
	}
	r := resultOf(results, jobs.ID("urn:soar", "elsewhere"))
	if r.Kind != kinds.LeakContain || r.Outcome != jobs.OutcomeRefused || !strings.Contains(r.Detail, "forbidden: it is not below one of intake.token_files") {
		t.Errorf("what may not be read: %s", apptest.Encoded(r))
	}
	if letters := w.Messages("REKEY_DLQ"); atlas.Revoked(inStore) != 1 || atlas.Revoked(late) != 1 || len(letters) != 1 {
		t.Errorf("there are %d dead letters, want that of what may not be read", len(letters))
	}
	apptest.Canaries{"file": inFile, "late": late, "store": inStore}.SearchEverything(t, w)
}

// TestLeakContainIsNowhere: what a file does not have in time is a dead letter, and its replay reads it once more.
func TestLeakContainIsNowhere(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	rig.Cfg.Retry.MaxAttempts = 1
	w := rig.Start(t)
	file := filepath.Join(t.TempDir(), "leak")
	w.Publish("incident", apptest.NewRequest(kinds.LeakContain, map[string]any{"secret_file": file}).CloudEvent("urn:soar", "1"))
	letter := w.Letters(1)[0]
	if code, why := letter.Header.Get("Rekey-Code"), letter.Header.Get("Rekey-Reason"); code != "unread" || !strings.Contains(why, "params.secret_file") || !strings.Contains(why, "no such file") {
		t.Errorf("got %s: %s", code, why)
	}
	write(t, file, jwt())
	if _, err := w.Operator().Replay(t.Context(), letter.Sequence, jobs.Operation{By: "test"}); err != nil {
		t.Fatal(err)
	}
	if r := w.Results(1)[0].Record; r.Kind != kinds.TokenRevoke || r.Outcome != jobs.OutcomeRevoked {
		t.Errorf("the replay: %s", apptest.Encoded(r))
	}
}

// failingStore is a Vault that is down until it is up.
type failingStore struct {
	url   string
	up    atomic.Bool
	asked atomic.Int32
}

func newFailingStore(t *testing.T, value string) *failingStore {
	t.Helper()
	s := &failingStore{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		if !s.up.Load() {
			http.Error(w, `{"errors":["Vault is sealed"]}`, http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte(apptest.Encoded(map[string]any{"data": map[string]any{"data": map[string]any{"token": value}, "metadata": map[string]any{"version": 1}}})))
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// resultOf is the record of a job among results.
func resultOf(results []apptest.Result, id string) jobs.PublicRecord {
	for _, r := range results {
		if r.Record.JobID == id {
			return r.Record
		}
	}
	return jobs.PublicRecord{}
}
