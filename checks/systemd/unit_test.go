package systemd_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rekey/checks/repo"
)

const folder = "deploy/systemd"

// The exposure that docs/install.md states: 0.0 is none, 10.0 is all.
const exposure = "1.2"

var overall = regexp.MustCompile(`Overall exposure level for rekey\.service: ([0-9.]+)`)

func TestExposure(t *testing.T) {
	analyze := repo.Tool(t, "systemd-analyze")
	out := repo.Output(t, folder, analyze, "security", "--offline=true", "--no-pager", "./rekey.service")
	match := overall.FindSubmatch(out)
	if len(match) < 2 || string(match[1]) != exposure {
		t.Errorf("exposure %s, stated is %s\n%s", match, exposure, out)
	}
	if !strings.Contains(string(repo.Read(t, "docs/install.md")), "exposure level is "+exposure) {
		t.Errorf("docs/install.md does not state the exposure level %s", exposure)
	}
}

// systemd-analyze verify wants the programs to be there, so they are, in a folder of their own.
func TestUnitIsValid(t *testing.T) {
	analyze := repo.Tool(t, "systemd-analyze")
	root := t.TempDir()
	unit := string(repo.Read(t, folder+"/rekey.service"))
	for _, program := range []string{"/usr/bin/rekey-worker", "/bin/kill"} {
		if !strings.Contains(unit, program) {
			t.Fatalf("the unit has no %s", program)
		}
		stub := filepath.Join(root, filepath.Base(program))
		if err := os.WriteFile(stub, []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		unit = strings.ReplaceAll(unit, program, stub)
	}
	path := filepath.Join(root, "rekey.service")
	if err := os.WriteFile(path, []byte(unit), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := repo.Output(t, ".", analyze, "verify", "--man=no", path); len(out) > 0 {
		t.Errorf("systemd-analyze verify: %s", out)
	}
}
