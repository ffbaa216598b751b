package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/config"
)

const (
	policyA = "- {name: a, jobs: [{kind: x509.disable, params: {project_id: event.data.project}}]}\n"
	policyB = "- {name: b, jobs: [{kind: x509.disable, params: {project_id: event.data.project}}]}\n"
)

func TestPolicyProblems(t *testing.T) {
	const account = "atlas: {accounts: [{name: s, client_id: mdb_sa_id_0123456789abcdef01234567, client_secret_env: S}]}\n"
	runProblemTests(t, []problemTest{
		{name: "short form", text: "policies:\n" + policyA + policyB, want: []string{""}},
		{name: "long form", text: "policies:\n  list:\n" + strings.ReplaceAll("  "+policyA, "\n", "\n  "), want: []string{""}},
		{
			name: "expressions", text: "policies:\n  - name: a\n    when: evnt.id == ''\n    jobs:\n      - kind: x509.disable\n        params: {project_id: 7}\n        lane: urgent\n",
			want: []string{
				"3: policies[0].when: column 1: undeclared reference to 'evnt'",
				"6: policies[0].jobs[0].params.project_id: must be a string, not a number: put it in quotes",
				`7: policies[0].jobs[0].lane: column 1: undeclared reference to 'urgent'; if the text is meant, it needs quotes of its own: '"urgent"'`,
			},
		},
		{
			name: "long form has its own paths", text: "policies:\n  list:\n    - name: a\n      when: '('\n      jobs: []\n",
			want: []string{
				"4: policies.list[0].when: column 2: Syntax error: mismatched input '<EOF>'",
				"5: policies.list[0].jobs: is required: what the policy asks for",
			},
		},
		{name: "name twice", text: "policies:\n" + policyA + policyA, want: []string{"3: policies[1].name: is taken: the same name is on line 2"}},
		{name: "unknown key", text: "policies:\n- {name: a, wen: 'true', jobs: [{kind: x509.disable, params: {project_id: '\"0123456789abcdef01234567\"'}}]}\n", want: []string{"2: policies[0].wen: unknown key; did you mean when?"}},
		{name: "no boolean", text: "policies:\n- {name: a, dry_run: 'yes', jobs: [{kind: x509.disable, params: {project_id: event.id}}]}\n", want: []string{"2: policies[0].dry_run: must be true or false, not a string"}},
		{name: "text", text: "policies: all\n", want: []string{"1: policies: must be a mapping (key: value), not a string"}},
		{
			name: "limits", text: account + "intake:\n  unmatched: drop\n  max_event_age: -1s\n  max_clock_skew: 0\n  limits:\n    max_jobs_per_event: 10001\n    max_jobs_per_hour: -1\n" +
				"    allow: {kinds: [jwks.revoked], accounts: [x]}\n    deny: {projects: [0123], organizations: [" + canary + "], federations: [0123456789ABCDEF01234567]}\n",
			want: []string{
				"3: intake.unmatched: must be one of keep, dead_letter",
				"4: intake.max_event_age: must be from 0s to 720h, not -1s",
				"5: intake.max_clock_skew: must be from 1s to 24h, not 0s",
				"7: intake.limits.max_jobs_per_event: must be from 0 to 10000, not 10001",
				"8: intake.limits.max_jobs_per_hour: must be from 0 to 1000000, not -1",
				"9: intake.limits.allow.kinds[0]: unknown kind; the kinds are " + kindList(),
				"9: intake.limits.allow.accounts[0]: is not the name of an account; there is s",
				"10: intake.limits.deny.projects[0]: must be a string, not a number: put it in quotes",
				"10: intake.limits.deny.organizations[0]: must be 24 lower-case hexadecimal digits",
				"10: intake.limits.deny.federations[0]: must be 24 lower-case hexadecimal digits",
			},
		},
		{name: "limits of a policy", text: "policies:\n- {name: a, limits: {max_jobs_per_hour: -1}, jobs: [{kind: x509.disable, params: {project_id: event.id}}]}\n", want: []string{
			"2: policies[0].limits.max_jobs_per_hour: must be from 0 to 1000000, not -1",
		}},
	})
}

// writeFiles writes files into a new folder and returns it.
func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPolicyFolder(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"b.yaml": "policies:\n" + policyB, "a.yml": "policies:\n" + policyA, "empty.yaml": "",
		"README.md": "no policies", ".hidden.yaml": "nonsense",
	})
	file := filepath.Join(writeFiles(t, map[string]string{
		"worker.yaml": "policies:\n  dir: " + dir + "\n  list:\n  " + strings.Replace(policyA, "name: a", "name: own", 1),
	}), "worker.yaml")
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, rule := range cfg.Policies.List {
		names = append(names, rule.Name)
	}
	if diff := cmp.Diff([]string{"own", "a", "b"}, names); diff != "" {
		t.Errorf("policies (-want +got):\n%s", diff)
	}
}

func TestPolicyFolderProblems(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"a.yaml": "policies:\n" + policyA,
		"b.yaml": "policies:\n" + policyA + policyB + policyB,
		"c.yaml": "policies:\n- {name: c, when: '1', jobs: [{kind: x509.disable, params: {project_id: event.id}}]}\nnats: {}\n",
	})
	tests := []struct {
		name string
		text string
		want []string
	}{
		{name: "mistakes", text: "policies: {dir: " + dir + "}\n", want: []string{
			dir + "/b.yaml:2: policies[0].name: is taken by a policy in " + dir + "/a.yaml",
			dir + "/b.yaml:4: policies[2].name: is taken: the same name is on line 3",
			dir + "/c.yaml:2: policies[0].when: gives int, but must give true or false",
			dir + "/c.yaml:3: nats: unknown key; the keys here are policies",
		}},
		{name: "no folder", text: "policies: {dir: " + dir + "/none}\n", want: []string{
			"WORKER:1: policies.dir: cannot be read: open " + dir + "/none: no such file or directory",
		}},
		{name: "no folder, and another mistake", text: "atlas: {timeout: soon}\npolicies: {dir: " + dir + "/none}\nlog: {level: loud}\n", want: []string{
			"WORKER:1: atlas.timeout: is not a duration: write a number with its unit, such as 30s, 5m or 1h30m",
			"WORKER:2: policies.dir: cannot be read: open " + dir + "/none: no such file or directory",
			"WORKER:3: log.level: must be one of debug, info, warn, error",
		}},
		{name: "mistakes in both", text: "policies: {dir: " + dir + "}\nlog: {level: loud}\n", want: []string{
			"WORKER:2: log.level: must be one of debug, info, warn, error",
			dir + "/b.yaml:2: policies[0].name: is taken by a policy in " + dir + "/a.yaml",
			dir + "/b.yaml:4: policies[2].name: is taken: the same name is on line 3",
			dir + "/c.yaml:2: policies[0].when: gives int, but must give true or false",
			dir + "/c.yaml:3: nats: unknown key; the keys here are policies",
		}},
		{name: "a mistake on which policies rest", text: "policies: {dir: " + dir + "}\natlas: {timeout: soon}\n", want: []string{
			"WORKER:2: atlas.timeout: is not a duration: write a number with its unit, such as 30s, 5m or 1h30m",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(writeFiles(t, map[string]string{"worker.yaml": tt.text}), "worker.yaml")
			_, err := config.Load(file)
			if err == nil {
				t.Fatal("it was loaded")
			}
			if diff := cmp.Diff(tt.want, strings.Split(strings.ReplaceAll(err.Error(), file, "WORKER"), "\n")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if invalid, ok := errors.AsType[*config.Invalid](err); ok && len(invalid.Problems) != len(tt.want) {
				t.Errorf("%d problems", len(invalid.Problems))
			}
		})
	}
}
