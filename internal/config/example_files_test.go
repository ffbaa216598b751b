package config

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rekey/configs"
	"rekey/internal/secret"
)

func TestWorkerYAMLShowsDefaults(t *testing.T) {
	cfg, err := Load("../../configs/worker.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// An empty list that is written out is the same to its readers as none.
	want := Default()
	want.Seal.Keys = cfg.Seal.Keys
	want.Atlas.Accounts, want.Schedules, want.Policies = cfg.Atlas.Accounts, cfg.Schedules, cfg.Policies
	want.Intake.Limits.Allow, want.Intake.Limits.Deny = cfg.Intake.Limits.Allow, cfg.Intake.Limits.Deny
	if diff := cmp.Diff(want, cfg); diff != "" {
		t.Errorf("configs/worker.yaml does not show the defaults (-default +file):\n%s", diff)
	}
	if len(cfg.Atlas.Accounts)+len(cfg.Schedules)+len(cfg.Policies.List) > 0 {
		t.Error("configs/worker.yaml has accounts, schedules or policies that are not its user's")
	}
}

// uncommented returns configs/worker.yaml with all settings on. A comment is a setting when a
// key (or another comment) follows "#" at once or after two spaces or more; prose follows after one.
func uncommented(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../../configs/worker.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`(?m)^ {0,2}(accounts|signers|token_files|paths|schedules|rotations|policies|keys|receivers|clients|doors|watch): \[\]\n`).ReplaceAllString(string(data), "")
	setting := regexp.MustCompile(`(?m)^( *)#((?: {2,})?(?:- )?[a-z0-9_]+:(?: |$)| {2,}#)`)
	for before := ""; before != text; {
		before = text
		text = setting.ReplaceAllString(text, "$1$2")
	}
	return text
}

func TestWorkerYAMLHasEveryKey(t *testing.T) {
	r := newReport()
	root := parseYAML(r, []byte(uncommented(t)))
	cfg := Default()
	if root != nil {
		d := decoder{report: r}
		d.value("", root, reflect.ValueOf(cfg).Elem())
	}
	for _, problem := range r.problems {
		// Both places of a secret are shown, so this is what it should say.
		if !strings.Contains(problem.Message, "are both set") {
			t.Errorf("with all settings on, configs/worker.yaml:%s", problem)
		}
	}
	anyIndex := regexp.MustCompile(`\[\d+\]`)
	present := map[string]bool{}
	for path := range r.places {
		present[anyIndex.ReplaceAllString(path, "[]")] = true
	}
	for _, path := range keyPaths("", reflect.TypeFor[Config]()) {
		if !present[path] {
			t.Errorf("configs/worker.yaml does not show %s", path)
		}
	}
}

// keyPaths lists the paths of all keys of a struct, with [] for the items of lists.
func keyPaths(path string, t reflect.Type) []string {
	switch {
	case t.Kind() == reflect.Slice:
		return keyPaths(path+"[]", t.Elem())
	case t.Kind() != reflect.Struct:
		return nil
	}
	var paths []string
	for field := range t.Fields() {
		key := join(path, field.Tag.Get("yaml"))
		if field.Tag.Get("yaml") == "-" {
			continue // The endpoint sets are in the table of kinds.
		}
		if field.Type == reflect.TypeFor[secret.Ref]() {
			paths = append(paths, key+"_file", key+"_env")
			continue
		}
		paths = append(append(paths, key), keyPaths(key, field.Type)...)
	}
	return paths
}

func TestWorkerYAMLExamplesAreValid(t *testing.T) {
	// The alternatives exclude each other: keep the first of each.
	text := uncommented(t)
	for _, key := range []string{
		"credentials_file", "nkey_file", "user", "password_file", "password_env", "token_env", "client_secret_env", "private_key_env", "signing_seed_env", "url_env", "key_env", "signing_secret_env", "cert_name", "claims", "secret_env", "cert_names", "jwks_url", "stream_token_env",
	} {
		text = regexp.MustCompile(`(?m)^ *`+key+`:.*\n`).ReplaceAllString(text, "")
	}
	text = regexp.MustCompile(`(?m)^    project_id: 5ec0000000000000000000f1\n`).ReplaceAllString(text, "") // Of a rotation, which has org_id.
	text = strings.Replace(text, `url: ""`, "url: nats://a.example.com:4222", 1)
	text = strings.Replace(text, `address: ""`, "address: https://vault.example.com:8200", 1)
	if _, err := Parse("worker.yaml", []byte(text)); err != nil {
		t.Error(err)
	}
}

func TestDemo(t *testing.T) {
	cfg, err := Parse("demo.yaml", configs.Demo)
	if err != nil {
		t.Fatal(err)
	}
	want := []Account{
		{Name: "security", ClientID: "mdb_sa_id_5ec0000000000000000000a1", ClientSecret: secret.Ref{Env: "REKEY_SANDBOX_CLIENT_SECRET"}},
		{Name: "legacy", PublicKey: "sandboxk", PrivateKey: secret.Ref{Env: "REKEY_SANDBOX_PRIVATE_KEY"}},
	}
	if diff := cmp.Diff(want, cfg.Atlas.Accounts); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
	if got, want := cfg.Atlas.BaseURL, "http://127.0.0.1:8474"; got != want {
		t.Errorf("base URL %q, want %q", got, want)
	}
	if got, want := cfg.NATS.Embedded.StoreDir, "./rekey-demo-data"; got != want {
		t.Errorf("store folder %q, want %q", got, want)
	}
	file, err := os.ReadFile("../../configs/demo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(file), string(configs.Demo)); diff != "" {
		t.Errorf("what is embedded is not the file (-file +embedded):\n%s", diff)
	}
}

func TestDemoExampleIsValid(t *testing.T) {
	text := regexp.MustCompile(`(?m)^#((?: *- | *)[a-z_]+:)`).ReplaceAllString(string(configs.Demo), "$1")
	text = regexp.MustCompile(`(?m)^#  `).ReplaceAllString(text, "#")
	cfg, err := Parse("demo.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Schedules) != 1 {
		t.Errorf("%d schedules with the example on, want 1", len(cfg.Schedules))
	}
}
