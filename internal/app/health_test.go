package app_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
