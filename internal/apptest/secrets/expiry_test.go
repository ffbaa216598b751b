package secrets_test

import (
	"strings"
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

// TestWatched: a worker reads when the last certificate of a watched database user ends, on whichever page of the list it is, and the last secret
// of an MCP configuration.
func TestWatched(t *testing.T) {
	t.Parallel()
	seed, now := sandbox.DefaultSeed(), time.Now()
	last := now.Add(400 * 24 * time.Hour)
	ends := []time.Time{now.Add(-time.Hour)}
	for range 120 {
		ends = append(ends, now.Add(24*time.Hour))
	}
	seed.Projects[0].Certificates = map[string][]time.Time{sandbox.DatabaseExternalUser: append(ends, last, now.Add(48*time.Hour))}
	seed.MCPConfigs = []sandbox.MCPConfig{{ID: sandbox.OrgMCPConfigID, OrgID: sandbox.OrgID, Ends: []time.Time{last, now.Add(-time.Hour)}}}
	box, api := apptest.ServeSandbox(t, sandbox.Config{Seed: seed})
	r := apptest.SandboxRig(t, box, api)
	r.Cfg.Expiry = config.Expiry{Every: time.Second, Watch: []config.Watched{
		{Name: "batch", Account: apptest.Security, ProjectID: sandbox.ProjectID, Username: sandbox.DatabaseExternalUser},
		{Name: "assistant", Account: apptest.Security, OrgID: sandbox.OrgID, MCPConfigID: sandbox.OrgMCPConfigID},
		{Name: "gone", Account: apptest.Security, ProjectID: sandbox.ProjectID, Username: "CN=gone"},
	}}
	w := r.Start(t)
	for _, name := range []string{"batch", "assistant"} {
		series := `rekey_watched_expires_timestamp_seconds{name="` + name + `"}`
		apptest.Eventually(t, "the end of "+name, func() bool { return w.Metrics()[series] != 0 })
		if got := w.Metrics()[series]; int64(got) != last.Unix() {
			t.Errorf("of %s the metric has %d, want %d", name, int64(got), last.Unix())
		}
	}
	apptest.Eventually(t, "the log of the user that does not exist", func() bool {
		return r.Logs.FilterMessage("cannot read when the certificates or secrets of what is watched end; it will be retried").Len() == 1
	})
	if got, ok := w.Metrics()[`rekey_watched_expires_timestamp_seconds{name="gone"}`]; !ok || got != 0 {
		t.Errorf("of a user that does not exist the metric has %v", got)
	}
}

// TestExpiryIsReloaded: a running worker takes over what is watched and how often, from never to some and back, and commands are shown what ends.
func TestExpiryIsReloaded(t *testing.T) {
	t.Parallel()
	seed, last := sandbox.DefaultSeed(), time.Now().Add(13*24*time.Hour)
	seed.Projects[0].Certificates = map[string][]time.Time{sandbox.DatabaseExternalUser: {last}}
	box, api := apptest.ServeSandbox(t, sandbox.Config{Seed: seed})
	const never = "expiry: {every: 0s}\n"
	r := apptest.StartFromFile(t, api, never, func(r *apptest.Rig) { r.Env["SECURITY_SECRET"], _ = box.Secret(apptest.ClientID) })
	const secret, certificate = `rekey_account_secret_expires_timestamp_seconds{account="security"}`, `rekey_watched_expires_timestamp_seconds{name="batch"}`
	nothing := func(when string) {
		t.Helper()
		if got, shown := r.Metrics()[certificate]; shown || r.Metrics()[secret] != 0 {
			t.Errorf("%s, the metrics have %v and %v", when, r.Metrics()[secret], got)
		}
	}
	nothing("at the start")
	r.Write("expiry: {every: 1m, watch: [{name: batch, project_id: " + sandbox.ProjectID + ", username: \"" + sandbox.DatabaseExternalUser + "\"}]}\n")
	r.Reloaded()
	apptest.Eventually(t, "both ends", func() bool { return int64(r.Metrics()[certificate]) == last.Unix() && r.Metrics()[secret] != 0 })
	client := r.Operator()
	defer client.Close()
	status := client.Status(t.Context())
	if len(status.Ends) != 2 || status.Ends[0].Name != "batch" || status.Ends[0].At.Unix() != last.Unix() || status.Ends[1].Name != "security" {
		t.Errorf("the status is %s", apptest.Encoded(status))
	}
	if len(status.Act) != 1 || status.OK || !strings.HasPrefix(status.Act[0].What, "the last certificate of batch ends at ") {
		t.Errorf("a person must %s", apptest.Encoded(status.Act))
	}
	r.Write(never)
	r.Reloaded()
	nothing("when nothing is read any more")
}
