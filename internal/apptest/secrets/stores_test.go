package secrets_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rekey/internal/apptest"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/secret"
)

func TestTokenInAStore(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	token := apptest.Canary()
	rig.Env["VAULT"] = "hvs." + apptest.Canary()
	rig.Cfg.Vault.Address = apptest.VaultWith(t, rig.Env["VAULT"], token)
	rig.Cfg.Vault.Token, rig.Cfg.Vault.Paths = secret.Ref{Env: "VAULT"}, []string{"rekey"}
	rig.Cfg.Retry.MaxAttempts = 2
	w := rig.Start(t)
	outcomes := map[string]jobs.Outcome{
		"vault:rekey/leak#token": jobs.OutcomeRevoked, "vault:rekey/nothing#token": jobs.OutcomeExhausted, "vault:admin/root#token": jobs.OutcomeRefused,
	}
	for ref := range outcomes {
		w.Publish("incident", apptest.NewRequest(kinds.TokenRevoke, map[string]any{"token_ref": ref}).String())
	}
	w.Results(3)
	for ref, want := range outcomes {
		record := w.LastResultOf(ref)
		if record.Outcome != want || record.Params["token_ref"] != ref {
			t.Errorf("%s ended as %s (%s) with %v, want %s", ref, record.Outcome, record.Detail, record.Params, want)
		}
	}
	if got := atlas.Revoked(token); got != 1 {
		t.Errorf("the API was asked %d times to revoke the token, want once", got)
	}
	w.Settled()
	if got := len(w.Messages("REKEY_EVENTS")); got != 3 {
		t.Errorf("%d events are left, want all three: none holds a secret", got)
	}
	apptest.Canaries{"token": token, "Vault token": rig.Env["VAULT"]}.SearchEverything(t, w)
}

func TestTokenFilesThatMayBeRead(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	folder, outside := t.TempDir(), t.TempDir()
	write := func(path, text string) string {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, other := apptest.Canary(), apptest.Canary()
	secretFile := write(filepath.Join(folder, "own"), rig.ClientSecret)
	link := filepath.Join(folder, "link")
	if err := os.Symlink(write(filepath.Join(outside, "other"), other), link); err != nil {
		t.Fatal(err)
	}
	rig.Cfg.Intake.TokenFiles = []string{folder}
	rig.Cfg.Atlas.Accounts[0].ClientSecret = secret.Ref{File: secretFile}
	w := rig.Start(t)
	files := map[string]string{
		write(filepath.Join(folder, "good"), good): "", filepath.Join(outside, "other"): "not below one of intake.token_files",
		link: "not below one of intake.token_files", secretFile: "one of the worker's own secrets",
		filepath.Join(rig.Cfg.NATS.Embedded.StoreDir, "seal.key"):    "one of the worker's own secrets",
		filepath.Join(folder, "..", filepath.Base(outside), "other"): "not below one of intake.token_files",
	}
	for path := range files {
		w.Publish("incident", apptest.NewRequest(kinds.TokenRevoke, map[string]any{"token_file": path}).String())
	}
	w.Results(len(files))
	for path, want := range files {
		record := w.LastResultOf("file:" + path)
		switch {
		case want == "" && record.Outcome != jobs.OutcomeRevoked:
			t.Errorf("%s ended as %s (%s), want revoked", path, record.Outcome, record.Detail)
		case want != "" && (record.Outcome != jobs.OutcomeRefused || !strings.Contains(record.Detail, want)):
			t.Errorf("%s ended as %s (%s), want refused (%s)", path, record.Outcome, record.Detail, want)
		}
	}
	if atlas.Revoked(good) != 1 || atlas.Revoked(other) != 0 || atlas.Revoked(rig.ClientSecret) != 0 {
		t.Error("the API was sent what must not be read")
	}
}
