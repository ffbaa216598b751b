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

// TestWatchProblems: each mistake in what is watched names its key and its line.
func TestWatchProblems(t *testing.T) {
	const accounts = "atlas: {accounts: [{name: a, client_id: mdb_sa_id_0123456789abcdef01234567, client_secret_file: /run/a}]}\n"
	const org, project = "5ec0000000000000000000b1", "5ec0000000000000000000f1"
	entry := func(keys string) string { return "    - {name: b, account: a, " + keys + "}\n" }
	with := func(entries string) string { return accounts + "expiry:\n  watch:\n" + entries }
	one := func(name, account, project, username string) string {
		return "    - {name: " + name + ", account: " + account + ", project_id: " + project + ", username: '" + username + "'}\n"
	}
	runProblemTests(t, []problemTest{
		{name: "right", text: with(one("batch", "a", project, "CN=batch/1,OU=jobs") + one("other", "''", project, "CN=other")), want: []string{""}},
		{name: "name", text: with(one("Batch", "a", project, "CN=b")), want: []string{"4: expiry.watch[0].name: must be 1 to 64 lower-case letters, digits, - and _"}},
		{name: "name twice", text: with(one("b", "a", project, "CN=b") + one("b", "a", project, "CN=c")), want: []string{"5: expiry.watch[1].name: is taken: the same name is on line 4"}},
		{name: "account", text: with(one("b", "c", project, "CN=b")), want: []string{"4: expiry.watch[0].account: is not the name of an account; there is a"}},
		{name: "project", text: with(one("b", "a", "f1", "CN=b")), want: []string{"4: expiry.watch[0].project_id: must be 24 lower-case hexadecimal digits"}},
		{name: "no user", text: with(one("b", "a", project, "")), want: []string{"4: expiry.watch[0]: needs username or mcp_config_id"}},
		{name: "user twice", text: with(one("b", "a", project, "CN=b") + one("c", "a", project, "CN=b")), want: []string{"5: expiry.watch[1]: is watched already: the same one is on line 4"}},
		{name: "user with an organization", text: with(entry("project_id: " + project + ", username: CN=b, org_id: " + org)), want: []string{"4: expiry.watch[0].org_id: is not for a database user, which is in a project"}},
		{name: "user without project", text: with(entry("username: CN=b")), want: []string{"4: expiry.watch[0].project_id: must be 24 lower-case hexadecimal digits"}},
		{name: "user name", text: with(entry("project_id: " + project + ", username: CN=" + strings.Repeat("b", 1022))), want: []string{"4: expiry.watch[0].username: must have 1 to 1024 bytes"}},
		{name: "MCP configurations", text: with(entry("org_id: "+org+", mcp_config_id: m") + "    - {name: c, project_id: " + project + ", mcp_config_id: m}\n"), want: []string{""}},
		{name: "MCP configuration twice", text: with(entry("org_id: "+org+", mcp_config_id: m") + "    - {name: c, org_id: " + org + ", mcp_config_id: m}\n"), want: []string{"5: expiry.watch[1]: is watched already: the same one is on line 4"}},
		{name: "MCP configuration nowhere", text: with(entry("mcp_config_id: m")), want: []string{"4: expiry.watch[0]: needs org_id or project_id"}},
		{name: "MCP configuration in both", text: with(entry("org_id: " + org + ", project_id: " + project + ", mcp_config_id: m")), want: []string{"4: expiry.watch[0]: has either org_id or project_id, not both"}},
		{name: "organization", text: with(entry("org_id: b1, mcp_config_id: m")), want: []string{"4: expiry.watch[0].org_id: must be 24 lower-case hexadecimal digits"}},
		{name: "MCP configuration", text: with(entry("org_id: " + org + ", mcp_config_id: m/n")), want: []string{"4: expiry.watch[0].mcp_config_id: must be 1 to 64 letters, digits, - and _"}},
		{name: "both", text: with(entry("project_id: " + project + ", username: CN=b, mcp_config_id: m")), want: []string{"4: expiry.watch[0]: has either username or mcp_config_id, not both"}},
		{name: "unknown key", text: with("    - {name: b, project_id: " + project + ", user: CN=b}\n"), want: []string{"4: expiry.watch[0].user: unknown key; did you mean username?"}},
		{name: "nothing is read", text: accounts + "expiry:\n  every: 0s\n  watch:\n" + one("b", "a", project, "CN=b"), want: []string{"4: expiry.watch: needs expiry.every, which is 0s: nothing is read"}},
	})
}
