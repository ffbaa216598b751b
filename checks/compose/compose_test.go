package compose_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"sigs.k8s.io/yaml"

	"rekey/checks/repo"
)

// project is what the check needs of the file; docker compose itself is not to be had where this runs.
type project struct {
	Services map[string]struct {
		Image   string   `json:"image"`
		Command []string `json:"command"`
		Configs []struct {
			Source string `json:"source"`
		} `json:"configs"`
		Volumes []string `json:"volumes"`
	} `json:"services"`
	Configs map[string]struct {
		Content string `json:"content"`
	} `json:"configs"`
	Volumes map[string]any `json:"volumes"`
}

func load(t *testing.T) project {
	t.Helper()
	var p project
	if err := yaml.Unmarshal(repo.Read(t, "deploy/compose/compose.yaml"), &p); err != nil {
		t.Fatal(err)
	}
	if len(p.Services) != 5 {
		t.Fatalf("%d services", len(p.Services))
	}
	return p
}

// write writes one of the inline files, which the program that reads it checks.
func (p project) write(t *testing.T, name, file string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), file)
	if p.Configs[name].Content == "" {
		t.Fatalf("there is no config %s", name)
	}
	if err := os.WriteFile(path, []byte(p.Configs[name].Content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheWorkerTakesItsConfiguration(t *testing.T) {
	path := load(t).write(t, "worker", "worker.yaml")
	if out, err := exec.CommandContext(t.Context(), repo.Worker(t), "config", "check", path).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestNATSTakesItsConfiguration(t *testing.T) {
	options, err := server.ProcessConfigFile(load(t).write(t, "nats", "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if !options.SyncAlways {
		t.Error("writes are not synced")
	}
}

func TestPrometheusTakesItsConfiguration(t *testing.T) {
	promtool := repo.Tool(t, "promtool")
	path := load(t).write(t, "prometheus", "prometheus.yml")
	repo.Output(t, ".", promtool, "check", "config", "--syntax-only", path)
}

// A name that is mistyped would only be found where the file is used.
func TestEverythingThatIsNamedIsThere(t *testing.T) {
	p := load(t)
	used := map[string]bool{}
	for name, s := range p.Services {
		for _, c := range s.Configs {
			used[c.Source] = true
			if _, ok := p.Configs[c.Source]; !ok {
				t.Errorf("service %s: no config %s", name, c.Source)
			}
		}
		for _, v := range s.Volumes {
			source, _, _ := strings.Cut(v, ":")
			if source[0] == '.' {
				if _, err := os.Stat(filepath.Join(repo.Path(t, "deploy/compose"), source)); err != nil {
					t.Errorf("service %s: %v", name, err)
				}
			} else if _, ok := p.Volumes[source]; !ok {
				t.Errorf("service %s: no volume %s", name, source)
			}
		}
	}
	for name := range p.Configs {
		if !used[name] {
			t.Errorf("no service uses config %s", name)
		}
	}
}
