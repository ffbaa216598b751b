package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// withRotation is a configuration whose rotation has another value for one of its keys: each key is on a line of its own.
func withRotation(key, value string) string {
	lines := []string{
		"atlas: {accounts: [{name: a, client_id: mdb_sa_id_0123456789abcdef01234567, client_secret_file: /run/a}]}",
		"rotations:",
		"  - name: ci",
		"    account: a",
		"    org_id: 5ec0000000000000000000b1",
		"    client_id: mdb_sa_id_0123456789abcdef01234568",
		"    lifetime: 2160h",
		"    quiet_for: 48h",
		"    when_full: wait",
		"    overdue: alert",
		"    deliver: [{type: file, path: /var/lib/ci}]",
		"vault: {paths: []}",
	}
	for i, line := range lines {
		if at := strings.Index(line, key+": "); i > 1 && at >= 0 {
			lines[i] = line[:at] + key + ": " + value
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// withKeyRotation is a configuration with a rotation of an API key.
func withKeyRotation(lines string) string {
	return "atlas: {accounts: [{name: a, client_id: mdb_sa_id_0123456789abcdef01234567, client_secret_file: /run/a}]}\nrotations:\n  - name: ci\n" +
		"    account: a\n    org_id: 5ec0000000000000000000b1\n    " + lines + "\n    deliver: [{type: file, path: /var/lib/ci}]\n"
}

// TestRotationProblems: each mistake names its key and its line.
func TestRotationProblems(t *testing.T) {
	const (
		deliver = "11: rotations[0].deliver"
		store   = deliver + "[0]"
	)
	runProblemTests(t, []problemTest{
		{name: "right", text: withRotation("name", "ci"), want: []string{""}},
		{name: "no name", text: withRotation("name", "''"), want: []string{"3: rotations[0].name: is required"}},
		{name: "name", text: withRotation("name", "C.I"), want: []string{"3: rotations[0].name: must be 1 to 64 lower-case letters, digits, - and _"}},
		{name: "account", text: withRotation("account", "b"), want: []string{"4: rotations[0].account: is not the name of an account; there is a"}},
		{name: "no place", text: withRotation("org_id", "''"), want: []string{"3: rotations[0]: needs org_id or project_id"}},
		{name: "two places", text: withRotation("org_id", "5ec0000000000000000000b1\n    project_id: 5ec0000000000000000000f1"), want: []string{
			"3: rotations[0]: has either org_id or project_id, not both",
		}},
		{name: "organization", text: withRotation("org_id", "prod"), want: []string{"5: rotations[0].org_id: must be 24 lower-case hexadecimal digits"}},
		{name: "no client", text: withRotation("client_id", "''"), want: []string{"3: rotations[0]: needs client_id or api_key_id"}},
		{name: "client", text: withRotation("client_id", "ci"), want: []string{"6: rotations[0].client_id: must be mdb_sa_id_ and 24 hexadecimal digits"}},
		{name: "two subjects", text: withRotation("client_id", "mdb_sa_id_0123456789abcdef01234568\n    api_key_id: 5ec000000000000000000603"), want: []string{
			"3: rotations[0]: has one of client_id, api_key_id only",
		}},
		{name: "API key", text: withKeyRotation("api_key_id: 5ec000000000000000000603"), want: []string{""}},
		{name: "id of an API key", text: withKeyRotation("api_key_id: sandboxr"), want: []string{"6: rotations[0].api_key_id: must be 24 lower-case hexadecimal digits"}},
		{name: "API key of a project", text: strings.Replace(withKeyRotation("api_key_id: 5ec000000000000000000603"), "org_id", "project_id", 1), want: []string{
			"5: rotations[0].project_id: is not for rotations with api_key_id",
		}},
		{name: "API key with an end", text: withKeyRotation("api_key_id: 5ec000000000000000000603\n    lifetime: 2160h\n    overdue: alert"), want: []string{
			"7: rotations[0].lifetime: is not for rotations with api_key_id: API keys have no end", "8: rotations[0].overdue: is not for rotations with api_key_id: API keys have no end",
		}},
		{name: "API key that rests long", text: withKeyRotation("api_key_id: 5ec000000000000000000603\n    quiet_for: 120h"), want: []string{""}},
		{name: "schedule of another kind", text: withKeyRotation("api_key_id: 5ec000000000000000000603") + "schedules: [{name: s, cron: '@daily', job: {kind: service_account_secret.rotate, params: {rotation: ci}}}]\n", want: []string{
			"8: schedules[0].job.kind: must be api_key.rotate, which makes the rotation",
		}},
		{name: "lifetime", text: withRotation("lifetime", "2160h30m"), want: []string{"7: rotations[0].lifetime: must be whole hours"}},
		{name: "lifetime and rest", text: withRotation("lifetime", "60h"), want: []string{"7: rotations[0].lifetime: must be a day longer than quiet_for at least, which is 48h"}},
		{name: "long rest", text: withRotation("quiet_for", "121h"), want: []string{"8: rotations[0].quiet_for: must be from 1s to 120h, not 121h"}},
		{name: "full", text: withRotation("when_full", "delete"), want: []string{"9: rotations[0].when_full: must be one of wait, delete_unused"}},
		{name: "overdue", text: withRotation("overdue", "ignore"), want: []string{"10: rotations[0].overdue: must be one of alert, delete"}},
		{name: "no store", text: withRotation("deliver", "[]"), want: []string{deliver + ": needs a store at least: a secret that is not delivered has no user"}},
		{name: "unknown key", text: withRotation("overdue", "alert\n    overdeu: alert"), want: []string{"11: rotations[0].overdeu: unknown key; did you mean overdue?"}},
		{name: "type", text: withRotation("deliver", "[{type: ftp}]"), want: []string{store + ".type: must be one of file, vault, kubernetes, aws_secrets_manager"}},
		{name: "key of another type", text: withRotation("deliver", "[{type: file, path: /var/lib/ci, region: eu-central-1}]"), want: []string{store + ".region: is not for stores of the type file"}},
		{name: "relative path", text: withRotation("deliver", "[{type: file, path: ci}]"), want: []string{store + ".path: must be an absolute path without . and .."}},
		{name: "no vault", text: withRotation("deliver", "[{type: vault, path: ci, field: secret}]"), want: []string{store + ": needs vault.address as well"}},
		{name: "one place twice", text: withRotation("deliver", "[{type: file, path: /var/lib/ci}, {type: file, path: /var/lib/ci}]"), want: []string{
			deliver + "[1]: is the place of rotations[0].deliver[0] as well",
		}},
		{name: "a secret of the worker", text: withRotation("deliver", "[{type: file, path: /run/a}]"), want: []string{
			store + ".path: is where atlas.accounts[0].client_secret_file is, which is another secret of the worker",
		}},
		{name: "external server", text: withRotation("overdue", "alert") + "nats: {url: nats://h}\n", want: []string{
			"2: rotations: need seal.keys with an external NATS server: a new secret is sealed before it is delivered, and keys that are derived from accounts' secrets end with those",
		}},
		{name: "schedule of no rotation", text: withRotation("name", "ci") + "schedules: [{name: s, cron: '@daily', job: {kind: service_account_secret.rotate, params: {rotation: other}}}]\n", want: []string{
			"13: schedules[0].job.params.rotation: is not the name of a rotation under rotations",
		}},
	})
}

// TestRotationOverALink: a store does not write over another secret of the worker through a folder that is a link, or one that a link leads to.
func TestRotationOverALink(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"real", "real/secret"} {
		if err := os.Mkdir(filepath.Join(folder, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"linked": "real", "token": "real/secret/a"} {
		if err := os.Symlink(filepath.Join(folder, to), filepath.Join(folder, link)); err != nil {
			t.Fatal(err)
		}
	}
	written := filepath.Join(folder, "real", "secret", "a")
	if err := os.WriteFile(written, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, read := range []string{"linked/secret/a", "token", "real/secret/a.previous"} {
		text := strings.Replace(withRotation("deliver", "[{type: file, path: "+written+"}]"), "/run/a", filepath.Join(folder, read), 1)
		runProblemTests(t, []problemTest{{name: read, text: text, want: []string{
			"11: rotations[0].deliver[0].path: is where atlas.accounts[0].client_secret_file is, which is another secret of the worker",
		}}})
	}
}

// TestRotationTwice: an account has one rotation, and rotations have different names and places.
func TestRotationTwice(t *testing.T) {
	text := withRotation("name", "ci")
	second := text[strings.Index(text, "  - name"):strings.Index(text, "vault")]
	text = strings.Replace(text, "vault", second+"vault", 1)
	runProblemTests(t, []problemTest{{name: "twice", text: text, want: []string{
		"12: rotations[1].name: is taken: the same name is on line 3",
		"15: rotations[1].client_id: is rotated by the rotation on line 6 already",
		"20: rotations[1].deliver[0]: is the place of rotations[0].deliver[0] as well",
	}}})
}
