package durability_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/apptest"
	"rekey/internal/secret"
)

func TestHealthAndReadiness(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	w := rig.Start(t)
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, _, body := w.Get(path, ""); status != http.StatusOK {
			t.Errorf("%s is %d %s, want 200", path, status, body)
		}
	}
}

func TestNotReadyWithoutAnAccountsSecret(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	path := filepath.Join(t.TempDir(), "mounted-late")
	rig.Cfg.Atlas.Accounts[1].PrivateKey = secret.Ref{File: path}
	rig.Cfg.Retry.MaxAttempts = 1000 // There are many until the secret comes.
	w := rig.Start(t)
	status, _, body := w.Get("/readyz", "")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, apptest.Legacy) || !strings.Contains(body, path) {
		t.Errorf("/readyz is %d %s, want 503 and the account and its file", status, body)
	}
	if strings.Contains(body, "account "+apptest.Security) {
		t.Errorf("/readyz names an account that is well: %s", body)
	}
	apptest.Eventually(t, "the log to say that it is not ready, and why", func() bool {
		unusable := rig.Logs.FilterMessage("an account cannot be used").All()
		return len(unusable) == 1 && strings.Contains(fmt.Sprint(unusable[0].ContextMap()), path) &&
			rig.Logs.FilterMessage("started, but not ready").Len() == 1 && rig.Logs.FilterMessage("ready").Len() == 0
	})
	if status, _, _ := w.Get("/healthz", ""); status != http.StatusOK {
		t.Errorf("/healthz is %d, want 200: a restart would mend nothing", status)
	}
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).With("account", apptest.Legacy).String())
	w.RecordOf(apptest.HexID(1), apptest.HasFailed)
	if err := os.WriteFile(path, []byte(rig.PrivateKey), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, body := w.Get("/readyz", ""); status != http.StatusOK {
		t.Errorf("with the secret /readyz is %d %s, want 200", status, body)
	}
	if record := w.ResultOf(apptest.HexID(1)); !record.Outcome.Success() {
		t.Errorf("the job that waited for the secret is %s: %s", record.Outcome, record.Detail)
	}
}

func TestNotReadyWithARefusedAccount(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	atlas.Script(apptest.TokenPath, apptest.JSONReply(http.StatusUnauthorized, `{"error":"invalid_client","error_description":"wrong secret"}`))
	w := rig.Start(t)
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String())
	w.Results(1)
	if status, _, body := w.Get("/readyz", ""); status != http.StatusServiceUnavailable || !strings.Contains(body, "account "+apptest.Security) {
		t.Errorf("/readyz is %d %s, want 503 and the account", status, body)
	}
	w.Publish("incident", apptest.X509Disable(apptest.HexID(2)).String())
	w.Results(2)
	if status, _, body := w.Get("/readyz", ""); status != http.StatusOK {
		t.Errorf("after a success /readyz is %d %s, want 200", status, body)
	}
}

func TestNotReadyWhileStopping(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	release := make(chan struct{})
	atlas.Script(apptest.HexID(1), apptest.Holding(release))
	w := rig.Start(t)
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String())
	atlas.Await(t, apptest.HexID(1), 1)
	w.Cancel(apptest.ErrTestOver)
	apptest.Eventually(t, "/readyz to say that the worker stops", func() bool {
		status, _, body := w.Get("/readyz", "")
		return status == http.StatusServiceUnavailable && strings.Contains(body, "stopping")
	})
	if status, _, _ := w.Get("/metrics", ""); status != http.StatusOK {
		t.Errorf("/metrics is %d while the last call ends, want 200", status)
	}
	close(release)
	w.Stop()
}

// TestDeletedUnderARunningWorker: whatever is deleted in NATS, what is published afterwards is done, also where it joins a
// job whose message was lost.
func TestDeletedUnderARunningWorker(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Retry.Base, rig.Cfg.Retry.Cap = 2*time.Second, 2*time.Second
	atlas.Script(apptest.HexID(2), apptest.Reply{Status: http.StatusServiceUnavailable}, apptest.Reply{Status: http.StatusServiceUnavailable})
	w := rig.Start(t)
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String())
	w.Results(1)
	w.Publish("incident", apptest.X509Disable(apptest.HexID(2)).String())
	w.RecordOf(apptest.HexID(2), apptest.HasFailed) // It waits for its next attempt.
	for _, stream := range []string{"REKEY_JOBS", "REKEY_EVENTS", "REKEY_RESULTS", "REKEY_DLQ", "KV_REKEY_TARGETS", "KV_REKEY_PACE", "KV_REKEY_AUDIT"} {
		if err := w.Js.DeleteStream(t.Context(), stream); err != nil {
			t.Fatal(err)
		}
	}
	apptest.Eventually(t, "what was deleted to be made again", func() bool {
		_, err := w.Js.Stream(t.Context(), "REKEY_DLQ")
		return err == nil && rig.Logs.FilterMessage("a stream was deleted; it is made again, and what it held is lost").Len() == 7
	})
	apptest.Eventually(t, "the worker to be ready", func() bool { status, _, _ := w.Get("/readyz", ""); return status == http.StatusOK })
	for i := range 3 {
		w.Publish("incident", apptest.X509Disable(apptest.HexID(2+i)).String())
	}
	done := map[string]bool{}
	apptest.Eventually(t, "all jobs to be done", func() bool {
		for _, r := range w.Results(3) {
			done[r.Record.Target] = r.Record.Outcome.Success()
		}
		return len(done) == 3 && done["project/"+apptest.HexID(2)] && done["project/"+apptest.HexID(3)] && done["project/"+apptest.HexID(4)]
	})
	for _, consumer := range []string{"intake", "intake-incident"} {
		if err := w.Js.DeleteConsumer(t.Context(), "REKEY_EVENTS", consumer); err != nil {
			t.Fatal(err)
		}
	}
	for _, consumer := range []string{"jobs-urgent", "jobs-normal", "jobs-bulk"} {
		if err := w.Js.DeleteConsumer(t.Context(), "REKEY_JOBS", consumer); err != nil {
			t.Fatal(err)
		}
	}
	w.Publish("incident", apptest.X509Disable(apptest.HexID(5)).String())
	if r := w.ResultOf(apptest.HexID(5)); !r.Outcome.Success() {
		t.Errorf("after the consumers were deleted: %s", apptest.Encoded(r))
	}
}

// TestNotReadyWhenNothingIsTakenIn: under settings of NATS under which no event comes in, the worker says so, at the start
// and later.
func TestNotReadyWhenNothingIsTakenIn(t *testing.T) {
	t.Parallel()
	srv := apptest.StartNATS(t, nil)
	stranger := apptest.DialNATS(t, srv.ClientURL())
	create := func(cfg jetstream.StreamConfig) {
		t.Helper()
		if _, err := stranger.Js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	create(jetstream.StreamConfig{Name: "SIEM", Subjects: []string{"rekey.v1.event.*"}})
	rig, _ := apptest.StandInRig(t)
	rig.Cfg.NATS.URL, rig.Cfg.HTTP.Listen = srv.ClientURL(), apptest.FreeAddress(t)
	w := rig.Launch(t)
	w.HTTP = rig.Cfg.HTTP.Listen
	says := func(what string) {
		t.Helper()
		body := ""
		apptest.Eventually(t, "/readyz to say "+what, func() bool {
			status, _, text := w.Get("/readyz", "")
			body = text
			return status == http.StatusServiceUnavailable && strings.Contains(text, what)
		})
		if !strings.Contains(body, `"name":"streams","ok":false`) {
			t.Errorf("/readyz is %s", body)
		}
	}
	apptest.Eventually(t, "the worker to look at NATS", func() bool { return rig.Logs.FilterMessage(notReady).Len() > 0 })
	says("the stream SIEM has its subjects")
	if err := stranger.Js.DeleteStream(t.Context(), "SIEM"); err != nil {
		t.Fatal(err)
	}
	w.AwaitReady()
	if status, _, body := w.Get("/readyz", ""); status != http.StatusOK {
		t.Fatalf("without the other stream /readyz is %d %s", status, body)
	}
	if err := stranger.Js.DeleteStream(t.Context(), "REKEY_EVENTS"); err != nil {
		t.Fatal(err)
	}
	create(jetstream.StreamConfig{Name: "REKEY_EVENTS", Subjects: []string{"rekey.v1.event.>"}, Retention: jetstream.WorkQueuePolicy, AllowDirect: true})
	says("REKEY_EVENTS: retention is WorkQueue instead of Limits")
}

// TestNotReadyWithoutAccounts: a worker that refuses all that it is asked for is not ready.
func TestNotReadyWithoutAccounts(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	rig.Cfg.Atlas.Accounts = nil
	w := rig.Start(t)
	if status, _, body := w.Get("/readyz", ""); status != http.StatusServiceUnavailable || !strings.Contains(body, "no account is configured (atlas.accounts)") {
		t.Errorf("/readyz is %d %s", status, body)
	}
}
