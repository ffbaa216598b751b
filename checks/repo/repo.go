// Package repo finds and runs what this repository has: its root, its tools and the worker's binary.
package repo

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Chart is the Helm chart's folder below the root.
const Chart = "deploy/helm/rekey"

// Root is the root of the repository.
func Root(ctx context.Context) (string, error) {
	out, err := run(ctx, "", "go", "env", "GOMOD")
	if err != nil {
		return "", err
	}
	return filepath.Dir(filepath.Dir(strings.TrimSpace(string(out)))), nil
}

// Path is the path of a file that is named from the root.
func Path(t *testing.T, name string) string {
	t.Helper()
	root, err := Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(root, name)
}

// Read reads a file that is named from the root.
func Read(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(Path(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// helm builds the helm command that go.mod pins, once and into the build cache, and returns its path.
var helm = sync.OnceValues(func() (string, error) {
	out, err := run(context.Background(), "", "go", "tool", "-n", "helm")
	return strings.TrimSpace(string(out)), err
})

// Helm runs helm with the arguments in the root and returns what it wrote to standard output.
func Helm(ctx context.Context, args ...string) ([]byte, error) {
	path, err := helm()
	if err != nil {
		return nil, fmt.Errorf("building helm: %w", err)
	}
	root, err := Root(ctx)
	if err != nil {
		return nil, err
	}
	return run(ctx, root, path, args...)
}

// Worker builds the worker's binary, as a release is built, and returns its path. The binary goes when the test ends. REKEY_WORKER names
// one that is there already, for a test that is run often.
func Worker(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("REKEY_WORKER"); path != "" {
		if filepath.Base(path) != "worker" { // Documents call it so.
			t.Fatalf("REKEY_WORKER is %s: the file must be called worker", path)
		}
		return path
	}
	path := filepath.Join(t.TempDir(), "worker")
	t.Setenv("CGO_ENABLED", "0")
	if _, err := run(t.Context(), Path(t, "."), "go", "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", path, "./cmd/worker"); err != nil {
		t.Fatal(err)
	}
	return path
}

// run runs a command and returns its standard output. The error holds all that it wrote.
func run(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // The commands stand in the checks.
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		wrote := bytes.TrimSpace(append(stderr.Bytes(), stdout.Bytes()...))
		return nil, fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err, wrote)
	}
	return stdout.Bytes(), nil
}

// Tool is the path of a command that .ci/run takes out of a Debian package. Where it is not there, the test is
// skipped, but for CI, where nothing may be left out.
func Tool(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing", name)
	}
	t.Skipf("%s is missing: bash .ci/run deploy brings it", name)
	return ""
}

// Output runs a command in a folder that is named from the root, and fails the test with all that it wrote if it fails.
func Output(t *testing.T, dir, name string, args ...string) []byte {
	t.Helper()
	out, err := run(t.Context(), Path(t, dir), name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
