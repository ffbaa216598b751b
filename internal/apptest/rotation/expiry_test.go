package rotation_test

import (
	"testing"
	"time"

	"rekey/internal/apptest"
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
