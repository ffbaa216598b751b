package intake_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"rekey/internal/apptest"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/config"
	"rekey/internal/door"
	"rekey/internal/event"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/policy"
	"rekey/internal/secret"
)

// withDoors opens doors of a rig's worker.
func withDoors(t *testing.T, rig *apptest.Rig, doors ...config.Door) {
	t.Helper()
	rig.Cfg.API.Listen = "127.0.0.1:0"
	for _, d := range doors {
		d.Class, d.Tolerance, d.Direct = "incident", door.Tolerance, true
		rig.Cfg.API.Doors = append(rig.Cfg.API.Doors, d)
	}
}

// post posts to a worker's door.
func post(t *testing.T, w *apptest.Worker, path, body string, headers map[string]string) *http.Response {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+w.API+"/in/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/json")
	for name, value := range headers {
		q.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(content))
	return resp
}

// wantStatus fails unless an answer has a status.
func wantStatus(t *testing.T, resp *http.Response, want int) {
	t.Helper()
	if resp.StatusCode != want {
		body, _ := io.ReadAll(resp.Body) //nolint:errcheck // For the message alone.
		t.Fatalf("status %d, want %d: %s", resp.StatusCode, want, body)
	}
}

// hubSignature signs as GitHub does.
func hubSignature(key, body string) string {
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(m.Sum(nil))
}

// leakedPolicy revokes the token of a webhook's body.
func leakedPolicy() policy.Rule {
	return policy.Rule{
		Name: "leaked", When: `event.type == "rekey.door.github.v1" && event.headers["x-github-event"] == "secret_scanning_alert"`,
		Jobs: []policy.Job{{
			Kind: kinds.TokenRevoke, Account: `"security"`, Params: map[string]policy.Expr{"token": "event.data.alert.leaked"}, Reason: `"alert " + string(event.data.alert.number)`,
		}},
	}
}

// TestDoorsEventsAreOrdinaryEvents: policy, signature, trace and identity go on; nothing that is secret is ever published.
func TestDoorsEventsAreOrdinaryEvents(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	key, _, err := event.GenerateSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	rig.Cfg.Intake.Signatures, rig.Cfg.Intake.SigningSeed = config.SignaturesRequired, secret.Ref{File: apptest.InFile(t, key.Seed().Reveal())}
	rig.Cfg.Policies.List = []policy.Rule{leakedPolicy()}
	rig.Env["HUB"] = "k3y-" + rand.Text()
	withDoors(t, rig, config.Door{Name: "github", Type: door.TypeGitHub, Secret: secret.Ref{Env: "HUB"}})
	w := rig.Start(t)
	published := make(chan *nats.Msg, 10)
	if _, err := w.Nc.ChanSubscribe("rekey.v1.event.>", published); err != nil {
		t.Fatal(err)
	}
	if err := w.Nc.Flush(); err != nil { // The event comes over another connection.
		t.Fatal(err)
	}
	token := apptest.Canary() // Its member is called so that only the policy knows it for a secret.
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	body := `{"action":"created","alert":{"number":7,"secret_type":"mongodb_atlas_token","leaked":"` + token + `","note":"` + jwt() + `"}}`
	headers := map[string]string{
		"X-GitHub-Event": "secret_scanning_alert", "X-GitHub-Delivery": "d-1", "X-Hub-Signature-256": hubSignature(rig.Env["HUB"], body), "traceparent": trace,
	}
	wantStatus(t, post(t, w, "github", body, headers), http.StatusAccepted)
	record := w.Results(1)[0].Record
	if record.Outcome != jobs.OutcomeRevoked || record.Reason != "alert 7" || record.Trace != trace || atlas.Revoked(token) != 1 {
		t.Errorf("got %s", apptest.Encoded(record))
	}
	wantStatus(t, post(t, w, "github", body, headers), http.StatusAccepted)
	headers["X-Hub-Signature-256"] = hubSignature("another", body)
	wantStatus(t, post(t, w, "github", body, headers), http.StatusUnauthorized)
	w.AwaitMetrics(map[string]float64{
		`rekey_events_received_total{result="duplicate"}`:              1,
		`rekey_door_events_total{door="github",result="accepted"}`:     2,
		`rekey_door_events_total{door="github",result="unauthorized"}`: 1,
		`rekey_door_events_total{door="github",result="unavailable"}`:  0,
	})
	canaries := apptest.Canaries{"token": token, "key": rig.Env["HUB"]}
	for range 2 {
		canaries.Search(t, "a published event", string((<-published).Data))
	}
	canaries.SearchEverything(t, w)
}

// TestGitLabsArrayIsOneJobEach: an array that is posted twice is the same jobs, although its secrets are sealed anew.
func TestGitLabsArrayIsOneJobEach(t *testing.T) {
	t.Parallel()
	box, url := apptest.StartSandbox(t)
	rig := apptest.SandboxRig(t, box, url)
	rig.Env["GITLAB"] = rand.Text()
	withDoors(t, rig, config.Door{
		Name: "gitlab", Type: door.TypeGitLabRevocation, Token: secret.Ref{Env: "GITLAB"}, TokenTypes: []string{"gitleaks_rule_id_x"},
		Account: "security", Params: map[string]string{"org_id": sandbox.OrgID},
	})
	w := rig.Start(t)
	token := jwt()
	leaked, _ := box.Secret(sandbox.LeakedSecretID)
	var list []map[string]string
	for _, one := range []string{token, leaked} {
		list = append(list, map[string]string{"type": "gitleaks_rule_id_x", "token": one, "location": "https://gitlab.example.com/a/-/blob/1/b"})
	}
	auth := map[string]string{"Authorization": rig.Env["GITLAB"]}
	wantStatus(t, post(t, w, "gitlab/v1/revoke_tokens", apptest.Encoded(list), auth), http.StatusNoContent)
	found := containedBy(w.Results(2))
	for _, was := range []string{"jwt", "service_account_secret"} {
		if r := found[was]; r.Record.Outcome != jobs.OutcomeRevoked || r.Record.RequestedBy != "GitLab" {
			t.Errorf("%s: %s", was, apptest.Encoded(r.Record))
		}
	}
	wantStatus(t, post(t, w, "gitlab/v1/revoke_tokens", apptest.Encoded(list), auth), http.StatusNoContent)
	w.AwaitMetrics(map[string]float64{`rekey_events_received_total{result="duplicate"}`: 2})
	apptest.Canaries{"token": token, "secret": leaked, "key": rig.Env["GITLAB"]}.SearchEverything(t, w)
}

// TestDoorsAskToSendAgain: nothing is accepted that NATS has not acknowledged, and what is sent again then is done once.
func TestDoorsAskToSendAgain(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	srv := apptest.StartNATS(t, nil)
	rig.Cfg.NATS.URL = srv.ClientURL()
	rig.Env["SIEM"] = rand.Text()
	withDoors(t, rig, config.Door{Name: "siem", Type: door.TypeBearer, Token: secret.Ref{Env: "SIEM"}})
	w := rig.Launch(t)
	w.Addresses = <-w.Ready
	token := apptest.Canary()
	headers := map[string]string{"Authorization": "Bearer " + rig.Env["SIEM"], "Idempotency-Key": "case-1"}
	body := apptest.TokenRevoke(token).With("account", "security").String()
	address, dir := strings.TrimPrefix(srv.ClientURL(), "nats://"), srv.StoreDir()
	apptest.StopNATS(srv)
	resp := post(t, w, "siem", body, headers)
	wantStatus(t, resp, http.StatusServiceUnavailable)
	if resp.Header.Get("Retry-After") == "" {
		t.Error("there is no Retry-After")
	}
	apptest.StartNATS(t, apptest.At(t, address, dir))
	w.Connected(t)
	apptest.Eventually(t, "the door takes the event", func() bool { return post(t, w, "siem", body, headers).StatusCode == http.StatusAccepted })
	record := w.Results(1)[0].Record
	if record.Outcome != jobs.OutcomeRevoked || atlas.Revoked(token) != 1 || record.Events[0].Source != "rekey/door/siem" || record.Events[0].ID != "case-1" {
		t.Errorf("got %s", apptest.Encoded(record))
	}
}
