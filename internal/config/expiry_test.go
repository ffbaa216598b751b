package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rekey/internal/config"
)

func TestSecretExpiresAt(t *testing.T) {
	for _, c := range []struct {
		name, value string
		want        time.Time
		wantErr     string
	}{
		{"a date", "2027-06-30", time.Date(2027, 6, 30, 0, 0, 0, 0, time.UTC), ""},
		{"a time", `"2027-06-30T12:00:00+02:00"`, time.Date(2027, 6, 30, 10, 0, 0, 0, time.UTC), ""},
		{"not known", `""`, time.Time{}, ""},
		{"no date", "next summer", time.Time{}, "atlas.accounts[0].secret_expires_at"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "worker.yaml")
			text := "atlas:\n  accounts:\n    - {name: a, public_key: abcdefgh, private_key_env: KEY, secret_expires_at: " + c.value + "}\n"
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg, err := config.Load(path)
			if c.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), c.wantErr) {
					t.Errorf("error %v, want one about %s", err, c.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, err := cfg.Atlas.Accounts[0].SecretExpiry(); err != nil || !got.Equal(c.want) {
				t.Errorf("%v, %v, want %v", got, err, c.want)
			}
		})
	}
}
