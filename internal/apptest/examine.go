package apptest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rekey/internal/doctor"
)

// Examine writes a configuration, lets the doctor look at it, and checks that no secret is in what it says.
func Examine(t *testing.T, r *Rig, text string) []doctor.Finding {
	t.Helper()
	return ExamineWith(t, r, text, doctor.Doctor{})
}

// ExamineWith is Examine with settings of the doctor.
func ExamineWith(t *testing.T, r *Rig, text string, d doctor.Doctor) []doctor.Finding {
	t.Helper()
	d.File, d.Version, d.LookupEnv = filepath.Join(t.TempDir(), "worker.yaml"), "1.2.3", r.LookupEnv
	if err := os.WriteFile(d.File, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*Patience)
	defer cancel()
	found := d.Examine(ctx)
	shown, err := json.MarshalIndent(found, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range r.Env {
		if !strings.HasPrefix(name, "OTEL_") && strings.Contains(string(shown), value) {
			t.Errorf("a secret is shown: %s", shown)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("found: %s", shown)
		}
	})
	return found
}

// MustFind checks that something was found with a status, and that what is said of it matches.
func MustFind(t *testing.T, list []doctor.Finding, area, what string, status doctor.Status, pattern string) {
	t.Helper()
	for _, f := range list {
		if f.Area != area || f.What != what || f.Status != status {
			continue
		}
		if regexp.MustCompile(pattern).MatchString(f.Found + " → " + f.Do) {
			return
		}
	}
	t.Errorf("no finding %s, %s, %s matches %q", area, what, status, pattern)
}

// Plain is a configuration with the accounts of a rig.
func Plain(r *Rig, nats, more string) string {
	return fmt.Sprintf(`
nats: %s
atlas:
  base_url: %s
  accounts:
    - {name: security, client_id: %s, client_secret_env: SECURITY_SECRET}
    - {name: legacy, public_key: %s, private_key_env: LEGACY_KEY}
http: {listen: ""}
%s`, nats, r.Cfg.Atlas.BaseURL, r.Cfg.Atlas.Accounts[0].ClientID, r.Cfg.Atlas.Accounts[1].PublicKey, more)
}

// MustRefuseNothing checks that a server has refused a worker nothing.
func MustRefuseNothing(t *testing.T, r *Rig) {
	t.Helper()
	for _, entry := range r.Logs.All() {
		if text := fmt.Sprint(entry.Message, entry.ContextMap()); strings.Contains(text, "ermissions") {
			t.Errorf("the server refuses something: %s", text)
		}
	}
}
