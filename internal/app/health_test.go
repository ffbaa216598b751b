package app_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/secret"
)

func TestHealthAndReadiness(t *testing.T) {
	t.Parallel()
	rig, _ := standInRig(t)
	w := rig.start(t)
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, _, body := w.get(path, ""); status != http.StatusOK {
			t.Errorf("%s is %d %s, want 200", path, status, body)
		}
	}
}

func TestNotReadyWithoutAnAccountsSecret(t *testing.T) {
	t.Parallel()
	rig, _ := standInRig(t)
	path := filepath.Join(t.TempDir(), "mounted-late")
	rig.cfg.Atlas.Accounts[1].PrivateKey = secret.Ref{File: path}
	rig.cfg.Retry.MaxAttempts = 1000 // There are many until the secret comes.
	w := rig.start(t)
	status, _, body := w.get("/readyz", "")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, legacy) || !strings.Contains(body, path) {
		t.Errorf("/readyz is %d %s, want 503 and the account and its file", status, body)
	}
	if strings.Contains(body, "account "+security) {
		t.Errorf("/readyz names an account that is well: %s", body)
	}
	eventually(t, "the log to say that it is not ready, and why", func() bool {
		unusable := rig.logs.FilterMessage("an account cannot be used").All()
		return len(unusable) == 1 && strings.Contains(fmt.Sprint(unusable[0].ContextMap()), path) &&
			rig.logs.FilterMessage("started, but not ready").Len() == 1 && rig.logs.FilterMessage("ready").Len() == 0
	})
	if status, _, _ := w.get("/healthz", ""); status != http.StatusOK {
		t.Errorf("/healthz is %d, want 200: a restart would mend nothing", status)
	}
	w.publish("incident", x509Disable(hexID(1)).with("account", legacy).String())
	w.recordOf(hexID(1), hasFailed)
	if err := os.WriteFile(path, []byte(rig.privateKey), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, body := w.get("/readyz", ""); status != http.StatusOK {
		t.Errorf("with the secret /readyz is %d %s, want 200", status, body)
	}
	if record := w.resultOf(hexID(1)); !record.Outcome.Success() {
		t.Errorf("the job that waited for the secret is %s: %s", record.Outcome, record.Detail)
	}
}

func TestNotReadyWithARefusedAccount(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	atlas.script(tokenPath, jsonReply(http.StatusUnauthorized, `{"error":"invalid_client","error_description":"wrong secret"}`))
	w := rig.start(t)
	w.publish("incident", x509Disable(hexID(1)).String())
	w.results(1)
	if status, _, body := w.get("/readyz", ""); status != http.StatusServiceUnavailable || !strings.Contains(body, "account "+security) {
		t.Errorf("/readyz is %d %s, want 503 and the account", status, body)
	}
	w.publish("incident", x509Disable(hexID(2)).String())
	w.results(2)
	if status, _, body := w.get("/readyz", ""); status != http.StatusOK {
		t.Errorf("after a success /readyz is %d %s, want 200", status, body)
	}
}

func TestNotReadyWhileStopping(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	release := make(chan struct{})
	atlas.script(hexID(1), holding(release))
	w := rig.start(t)
	w.publish("incident", x509Disable(hexID(1)).String())
	atlas.await(t, hexID(1), 1)
	w.cancel(errTestOver)
	eventually(t, "/readyz to say that the worker stops", func() bool {
		status, _, body := w.get("/readyz", "")
		return status == http.StatusServiceUnavailable && strings.Contains(body, "stopping")
	})
	if status, _, _ := w.get("/metrics", ""); status != http.StatusOK {
		t.Errorf("/metrics is %d while the last call ends, want 200", status)
	}
	close(release)
	w.stop()
}

// TestDeletedUnderARunningWorker: whatever is deleted in NATS, what is published afterwards is done, also where it joins a
// job whose message was lost.
func TestDeletedUnderARunningWorker(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Retry.Base, rig.cfg.Retry.Cap = 2*time.Second, 2*time.Second
	atlas.script(hexID(2), reply{status: http.StatusServiceUnavailable}, reply{status: http.StatusServiceUnavailable})
	w := rig.start(t)
	w.publish("incident", x509Disable(hexID(1)).String())
	w.results(1)
	w.publish("incident", x509Disable(hexID(2)).String())
	w.recordOf(hexID(2), hasFailed) // It waits for its next attempt.
	for _, stream := range []string{"REKEY_JOBS", "REKEY_EVENTS", "REKEY_RESULTS", "REKEY_DLQ", "REKEY_INDEX", "KV_REKEY_TARGETS", "KV_REKEY_PACE", "KV_REKEY_AUDIT"} {
		if err := w.js.DeleteStream(t.Context(), stream); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "what was deleted to be made again", func() bool {
		_, err := w.js.Stream(t.Context(), "REKEY_DLQ")
		return err == nil && rig.logs.FilterMessage("a stream was deleted; it is made again, and what it held is lost").Len() == 8
	})
	eventually(t, "the worker to be ready", func() bool { status, _, _ := w.get("/readyz", ""); return status == http.StatusOK })
	for i := range 3 {
		w.publish("incident", x509Disable(hexID(2+i)).String())
	}
	done := map[string]bool{}
	eventually(t, "all jobs to be done", func() bool {
		for _, r := range w.results(3) {
			done[r.record.Target] = r.record.Outcome.Success()
		}
		return len(done) == 3 && done["project/"+hexID(2)] && done["project/"+hexID(3)] && done["project/"+hexID(4)]
	})
	for _, consumer := range []string{"intake", "intake-incident"} {
		if err := w.js.DeleteConsumer(t.Context(), "REKEY_EVENTS", consumer); err != nil {
			t.Fatal(err)
		}
	}
	for _, consumer := range []string{"jobs-urgent", "jobs-normal", "jobs-bulk"} {
		if err := w.js.DeleteConsumer(t.Context(), "REKEY_JOBS", consumer); err != nil {
			t.Fatal(err)
		}
	}
	w.publish("incident", x509Disable(hexID(5)).String())
	if r := w.resultOf(hexID(5)); !r.Outcome.Success() {
		t.Errorf("after the consumers were deleted: %s", encoded(r))
	}
}

// TestNotReadyWhenNothingIsTakenIn: under settings of NATS under which no event comes in, the worker says so, at the start
// and later.
func TestNotReadyWhenNothingIsTakenIn(t *testing.T) {
	t.Parallel()
	srv := startNATS(t, nil)
	stranger := dialNATS(t, srv.ClientURL())
	create := func(cfg jetstream.StreamConfig) {
		t.Helper()
		if _, err := stranger.js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	create(jetstream.StreamConfig{Name: "SIEM", Subjects: []string{"rekey.v1.event.*"}})
	rig, _ := standInRig(t)
	rig.cfg.NATS.URL, rig.cfg.HTTP.Listen = srv.ClientURL(), freeAddress(t)
	w := rig.launch(t)
	w.HTTP = rig.cfg.HTTP.Listen
	says := func(what string) {
		t.Helper()
		body := ""
		eventually(t, "/readyz to say "+what, func() bool {
			status, _, text := w.get("/readyz", "")
			body = text
			return status == http.StatusServiceUnavailable && strings.Contains(text, what)
		})
		if !strings.Contains(body, `"name":"streams","ok":false`) {
			t.Errorf("/readyz is %s", body)
		}
	}
	eventually(t, "the worker to look at NATS", func() bool { return rig.logs.FilterMessage(notReady).Len() > 0 })
	says("the stream SIEM has its subjects")
	if err := stranger.js.DeleteStream(t.Context(), "SIEM"); err != nil {
		t.Fatal(err)
	}
	w.awaitReady()
	if status, _, body := w.get("/readyz", ""); status != http.StatusOK {
		t.Fatalf("without the other stream /readyz is %d %s", status, body)
	}
	if err := stranger.js.DeleteStream(t.Context(), "REKEY_EVENTS"); err != nil {
		t.Fatal(err)
	}
	create(jetstream.StreamConfig{Name: "REKEY_EVENTS", Subjects: []string{"rekey.v1.event.>"}, Retention: jetstream.WorkQueuePolicy, AllowDirect: true})
	says("REKEY_EVENTS: retention is WorkQueue instead of Limits")
}

// TestNotReadyWithoutAccounts: a worker that refuses all that it is asked for is not ready.
func TestNotReadyWithoutAccounts(t *testing.T) {
	t.Parallel()
	rig, _ := standInRig(t)
	rig.cfg.Atlas.Accounts = nil
	w := rig.start(t)
	if status, _, body := w.get("/readyz", ""); status != http.StatusServiceUnavailable || !strings.Contains(body, "no account is configured (atlas.accounts)") {
		t.Errorf("/readyz is %d %s", status, body)
	}
}
