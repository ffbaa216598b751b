package app_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rekey/internal/jobs"
	"rekey/internal/secret"
)

// vaultWith serves one field of one path as Vault's KV engine does.
func vaultWith(t *testing.T, token, value string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/v1/secret/data/rekey/leak" || r.Header.Get("X-Vault-Token") != token {
			http.Error(w, `{"errors":["permission denied"]}`, http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, `{"data":{"data":{"token":%q},"metadata":{"created_time":"2026-03-22T02:24:06.945319214Z","deletion_time":"","destroyed":false,"version":1}}}`, value)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestTokenInAStore(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	token := canary()
	rig.env["VAULT"] = "hvs." + canary()
	rig.cfg.Vault.Address = vaultWith(t, rig.env["VAULT"], token)
	rig.cfg.Vault.Token, rig.cfg.Vault.Paths = secret.Ref{Env: "VAULT"}, []string{"rekey"}
	rig.cfg.Retry.MaxAttempts = 2
	w := rig.start(t)
	outcomes := map[string]jobs.Outcome{
		"vault:rekey/leak#token": jobs.OutcomeRevoked, "vault:rekey/nothing#token": jobs.OutcomeExhausted, "vault:admin/root#token": jobs.OutcomeRefused,
	}
	for ref := range outcomes {
		w.publish("incident", newRequest(jobs.TokenRevoke, map[string]any{"token_ref": ref}).String())
	}
	w.results(3)
	for ref, want := range outcomes {
		record := w.lastResultOf(ref)
		if record.Outcome != want || record.Params["token_ref"] != ref {
			t.Errorf("%s ended as %s (%s) with %v, want %s", ref, record.Outcome, record.Detail, record.Params, want)
		}
	}
	if got := atlas.revoked(token); got != 1 {
		t.Errorf("the API was asked %d times to revoke the token, want once", got)
	}
	w.settled()
	if got := len(w.messages("REKEY_EVENTS")); got != 3 {
		t.Errorf("%d events are left, want all three: none holds a secret", got)
	}
	canaries{"token": token, "Vault token": rig.env["VAULT"]}.searchEverything(t, w)
}

func TestTokenFilesThatMayBeRead(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	folder, outside := t.TempDir(), t.TempDir()
	write := func(path, text string) string {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, other := canary(), canary()
	secretFile := write(filepath.Join(folder, "own"), rig.clientSecret)
	link := filepath.Join(folder, "link")
	if err := os.Symlink(write(filepath.Join(outside, "other"), other), link); err != nil {
		t.Fatal(err)
	}
	rig.cfg.Intake.TokenFiles = []string{folder}
	rig.cfg.Atlas.Accounts[0].ClientSecret = secret.Ref{File: secretFile}
	w := rig.start(t)
	files := map[string]string{
		write(filepath.Join(folder, "good"), good): "", filepath.Join(outside, "other"): "not below one of intake.token_files",
		link: "not below one of intake.token_files", secretFile: "one of the worker's own secrets",
		filepath.Join(rig.cfg.NATS.Embedded.StoreDir, "seal.key"):    "one of the worker's own secrets",
		filepath.Join(folder, "..", filepath.Base(outside), "other"): "not below one of intake.token_files",
	}
	for path := range files {
		w.publish("incident", newRequest(jobs.TokenRevoke, map[string]any{"token_file": path}).String())
	}
	w.results(len(files))
	for path, want := range files {
		record := w.lastResultOf("file:" + path)
		switch {
		case want == "" && record.Outcome != jobs.OutcomeRevoked:
			t.Errorf("%s ended as %s (%s), want revoked", path, record.Outcome, record.Detail)
		case want != "" && (record.Outcome != jobs.OutcomeRefused || !strings.Contains(record.Detail, want)):
			t.Errorf("%s ended as %s (%s), want refused (%s)", path, record.Outcome, record.Detail, want)
		}
	}
	if atlas.revoked(good) != 1 || atlas.revoked(other) != 0 || atlas.revoked(rig.clientSecret) != 0 {
		t.Error("the API was sent what must not be read")
	}
}
