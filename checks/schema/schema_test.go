package schema_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"

	"rekey/checks/repo"
)

func compile(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	schema, err := compiler.Compile(repo.Path(t, "docs/schema/"+name))
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// check validates a document in YAML, of which JSON is a part.
func check(t *testing.T, schema *jsonschema.Schema, document []byte) error {
	t.Helper()
	content, err := yaml.YAMLToJSON(document)
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := json.Unmarshal(content, &value); err != nil {
		t.Fatal(err)
	}
	if value == nil {
		value = map[string]any{}
	}
	return schema.Validate(value)
}

func TestExampleConfigurations(t *testing.T) {
	schema := compile(t, "config.schema.json")
	files, err := filepath.Glob(repo.Path(t, "configs/*.yaml"))
	if err != nil || len(files) < 2 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, path := range files {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := check(t, schema, content); err != nil {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
}

// What is commented out in worker.yaml is an example as well.
func TestExamplesInComments(t *testing.T) {
	schema := compile(t, "config.schema.json")
	example := []string{}
	for line := range strings.Lines(string(repo.Read(t, "configs/worker.yaml"))) {
		if strings.HasPrefix(line, "schedules: []") {
			continue
		}
		if rest, ok := strings.CutPrefix(line, "#schedules:"); ok {
			example = append(example, "schedules:"+rest)
		} else if rest, ok := strings.CutPrefix(line, "#  "); ok && len(example) > 0 {
			example = append(example, "  "+rest)
		} else if len(example) > 0 {
			break
		}
	}
	if len(example) < 5 {
		t.Fatalf("the example of schedules has %d lines", len(example))
	}
	if err := check(t, schema, []byte(strings.Join(example, ""))); err != nil {
		t.Errorf("%v in\n%s", err, strings.Join(example, ""))
	}
}

func TestConfigurationsThatTheSchemaRefuses(t *testing.T) {
	schema := compile(t, "config.schema.json")
	for _, c := range []struct{ name, document string }{
		{"unknown key", "worker: {concurency: 3}"},
		{"number as text", "worker: {concurrency: many}"},
		{"duration without a unit", "worker: {drain_timeout: 30}"},
		{"secret in the file", "nats: {password: hunter2}"},
		{"secret in two places", "nats: {password_file: a, password_env: B}"},
		{"unknown kind", "schedules: [{name: a, cron: '@daily', job: {kind: jwks.delete}}]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := check(t, schema, []byte(c.document)); err == nil {
				t.Errorf("%s is valid", c.document)
			}
		})
	}
}

func TestEvents(t *testing.T) {
	schema := compile(t, "event.schema.json")
	const id = `"5ec0000000000000000000c1"`
	for _, c := range []struct {
		name, document string
		valid          bool
	}{
		{"plain", `{"kind":"x509.disable","account":"a","params":{"project_id":` + id + `},"reason":"IR-1","lane":"urgent"}`, true},
		{"sealed token", `{"kind":"token.revoke","params":{"token_sealed":"x"},"expires_at":"2026-01-02T03:04:05Z","coalesce":false}`, true},
		{
			"CloudEvent", `{"specversion":"1.0","id":"1","source":"siem","type":"rekey.job.requested.v1","data":{"kind":"jwks.revoke",` +
				`"params":{"federation_id":` + id + `,"identity_provider_id":` + id + `}}}`, true,
		},
		{"unknown kind", `{"kind":"x509.enable","params":{}}`, false},
		{"missing parameter", `{"kind":"jwks.revoke","params":{"federation_id":` + id + `}}`, false},
		{"unknown parameter", `{"kind":"x509.disable","params":{"project_id":` + id + `,"force":"yes"}}`, false},
		{"malformed id", `{"kind":"x509.disable","params":{"project_id":"5EC"}}`, false},
		{"two tokens", `{"kind":"token.revoke","params":{"token":"a","token_file":"b"}}`, false},
		{"unknown field", `{"kind":"x509.disable","params":{"project_id":` + id + `},"urgent":true}`, false},
		{"no time", `{"kind":"x509.disable","params":{"project_id":` + id + `},"expires_at":"tomorrow"}`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := check(t, schema, []byte(c.document)); (err == nil) != c.valid {
				t.Errorf("valid %v, want %v: %v", err == nil, c.valid, err)
			}
		})
	}
}
