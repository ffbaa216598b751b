package rotation_test

import (
	"testing"
	"time"

	"rekey/internal/apptest"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/config"
)

// TestOwnSecretEnds: a worker reads from the API when the secret of its own account ends, and the metric shows it, whatever is configured.
func TestOwnSecretEnds(t *testing.T) {
	t.Parallel()
	r, _, _ := rig(t)
	r.Cfg.Expiry.Every = time.Second // The first read comes after it, or after a minute.
	r.Cfg.Atlas.Accounts[0].SecretExpiresAt = "2040-01-01"
	w := r.Start(t)
	const series = `rekey_account_secret_expires_timestamp_seconds{account="security"}`
	configured := time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)
	apptest.Eventually(t, "the end of the secret", func() bool { return w.Metrics()[series] != float64(configured.Unix()) })
	if left := time.Until(time.Unix(int64(w.Metrics()[series]), 0)); left < time.Hour || left > 366*24*time.Hour {
		t.Errorf("the secret ends in %s, want what the sandbox says", left)
	}
	if n := r.Logs.FilterMessage("secret_expires_at differs from what the API says, which is used").Len(); n != 1 {
		t.Errorf("the log says %d times that both differ", n)
	}
}

// TestWatchedCertificate: a worker reads when the last certificate of a watched database user ends, on whichever page of the list it is.
func TestWatchedCertificate(t *testing.T) {
	t.Parallel()
	seed, now := sandbox.DefaultSeed(), time.Now()
	last := now.Add(400 * 24 * time.Hour)
	ends := []time.Time{now.Add(-time.Hour)}
	for range 120 {
		ends = append(ends, now.Add(24*time.Hour))
	}
	seed.Projects[0].Certificates = map[string][]time.Time{sandbox.DatabaseExternalUser: append(ends, last, now.Add(48*time.Hour))}
	box, api := apptest.ServeSandbox(t, sandbox.Config{Seed: seed})
	r := apptest.SandboxRig(t, box, api)
	r.Cfg.Expiry = config.Expiry{Every: time.Second, Watch: []config.Watched{
		{Name: "batch", Account: apptest.Security, ProjectID: sandbox.ProjectID, Username: sandbox.DatabaseExternalUser},
		{Name: "gone", Account: apptest.Security, ProjectID: sandbox.ProjectID, Username: "CN=gone"},
	}}
	w := r.Start(t)
	const series, gone = `rekey_certificate_expires_timestamp_seconds{certificate="batch"}`, `rekey_certificate_expires_timestamp_seconds{certificate="gone"}`
	apptest.Eventually(t, "the end of the certificate", func() bool { return w.Metrics()[series] != 0 })
	if got := w.Metrics()[series]; int64(got) != last.Unix() {
		t.Errorf("the metric has %d, want %d", int64(got), last.Unix())
	}
	apptest.Eventually(t, "the log of the user that does not exist", func() bool {
		return r.Logs.FilterMessage("cannot read when the certificates of the database user end; it will be retried").Len() == 1
	})
	if got, ok := w.Metrics()[gone]; !ok || got != 0 {
		t.Errorf("of a user that does not exist the metric has %v", got)
	}
}
