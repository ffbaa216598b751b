package main

import (
	"bytes"
	"cmp"
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// worker is a binary and what its build information says about it.
type worker struct {
	binary   []byte
	sbom     []byte // CycloneDX, JSON.
	arch     string
	version  string
	revision string
	created  time.Time // When the commit was made; the beginning of 1970 when the binary does not say.
}

// open reads a binary. One that needs a C library or another system than Linux is refused.
func open(ctx context.Context, path string) (worker, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return worker{}, err
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	for key, want := range map[string]string{"GOOS": "linux", "CGO_ENABLED": "0", "-trimpath": "true"} {
		if settings[key] != want {
			return worker{}, fmt.Errorf("built with %s=%q, want %q", key, settings[key], want)
		}
	}
	w := worker{
		// A "+" may not stand in the tag of an image.
		arch: settings["GOARCH"], version: strings.ReplaceAll(cmp.Or(info.Main.Version, "dev"), "+", "-"), revision: settings["vcs.revision"], created: time.Unix(0, 0).UTC(),
	}
	if at := settings["vcs.time"]; at != "" {
		if w.created, err = time.Parse(time.RFC3339, at); err != nil {
			return worker{}, err
		}
	}
	if w.binary, err = os.ReadFile(path); err != nil {
		return worker{}, err
	}
	w.sbom, err = components(ctx, path)
	return w, err
}

// components lists the modules that a binary is made of, with the tool that go.mod pins.
func components(ctx context.Context, path string) ([]byte, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	// Without a serial number and a time, so that the same binary has the same list.
	cmd := exec.CommandContext(ctx, "go", "tool", "cyclonedx-gomod", "bin", "-json", "-std", "-noserial", "-notimestamp", path) //nolint:gosec // The path is a file that was just read.
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("listing its modules: %w: %s", err, stderr.Bytes())
	}
	return stdout.Bytes(), nil
}
