package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// buildWorker clones the last commit into a folder of its own and builds it there, as a release would, with a build
// cache of its own if asked for: what is taken from a cache is no proof.
func buildWorker(t *testing.T, ownCache bool) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "clone")
	home := t.TempDir()
	// The repository may belong to another user, of whom git is afraid.
	if err := os.WriteFile(filepath.Join(home, "gitconfig"), []byte("[safe]\n\tdirectory = *\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "GIT_CONFIG_GLOBAL="+filepath.Join(home, "gitconfig"), "CGO_ENABLED=0", "GOOS=linux", "GOWORK=off", "GOFLAGS=")
	if ownCache {
		env = append(env, "GOCACHE="+filepath.Join(home, "cache"))
	}
	command(t, env, ".", "git", "clone", "--quiet", "../..", root)
	command(t, env, root, "go", "build", "-buildvcs=true", "-trimpath", "-ldflags=-s -w", "-o", "worker", "./cmd/worker")
	return filepath.Join(root, "worker")
}

func command(t *testing.T, env []string, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env, cmd.Dir = env, dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// makeImage runs the program on a binary and reads back what it wrote.
func makeImage(t *testing.T, binary string) v1.Image {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "image")
	if err := run(t.Context(), []string{"-o", folder, binary}, io.Discard); err != nil {
		t.Fatal(err)
	}
	index, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		t.Fatal(err)
	}
	outer, err := index.IndexManifest()
	if err != nil || len(outer.Manifests) != 1 {
		t.Fatalf("%v, %v", outer, err)
	}
	inner, err := index.ImageIndex(outer.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := inner.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		t.Fatalf("%v, %v", manifest, err)
	}
	if got := manifest.Manifests[0].Platform.String(); got != "linux/"+runtime.GOARCH {
		t.Errorf("platform %s", got)
	}
	image, err := inner.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func digest(t *testing.T, image v1.Image) string {
	t.Helper()
	hash, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return hash.String()
}

func TestImage(t *testing.T) {
	// To compile all of it again takes minutes: that is for a release.
	first, second := buildWorker(t, false), buildWorker(t, os.Getenv("RELEASE") != "")
	image := makeImage(t, first)
	t.Run("is the same of the same commit", func(t *testing.T) {
		if a, b := digest(t, image), digest(t, makeImage(t, second)); a != b {
			t.Errorf("built twice: %s and %s", a, b)
		}
	})
	t.Run("runs without root", func(t *testing.T) {
		file, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		want := v1.Config{
			User: "65532:65532", Entrypoint: []string{"/worker"}, Cmd: []string{"run", "-c", "/etc/rekey/worker.yaml"},
			WorkingDir: "/var/lib/rekey", ExposedPorts: map[string]struct{}{"9464/tcp": {}}, Labels: file.Config.Labels,
		}
		if diff := cmp.Diff(want, file.Config); diff != "" {
			t.Error(diff)
		}
		if version := file.Config.Labels["org.opencontainers.image.version"]; !strings.HasPrefix(version, "v") {
			t.Errorf("version %q is not the build's", version)
		}
		if len(file.Config.Labels["org.opencontainers.image.revision"]) != 40 || file.Created.Year() < 2020 {
			t.Errorf("labels %v, created %v", file.Config.Labels, file.Created)
		}
	})
	root := t.TempDir()
	unpack(t, image, root)
	t.Run("has the list of its modules", func(t *testing.T) { checkComponents(t, root) })
	t.Run("has authorities and time zones inside", func(t *testing.T) {
		out := command(t, os.Environ(), ".", "go", "version", "-m", filepath.Join(root, "worker"))
		if !strings.Contains(out, "golang.org/x/crypto/x509roots/fallback") {
			t.Errorf("no authorities in the binary:\n%s", out)
		}
	})
	t.Run("needs nothing else", func(t *testing.T) { runFromNothing(t, root) })
}

// unpack writes the files of the image into a folder, and makes sure that they are the ones that belong there.
func unpack(t *testing.T, image v1.Image, root string) {
	t.Helper()
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	var files []string
	for archive := tar.NewReader(content); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(root, header.Name)
		if header.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o755)
		} else {
			files = append(files, header.Name)
			err = writeFile(path, archive)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"usr/share/rekey/sbom.cdx.json", "worker"}, slices.Sorted(slices.Values(files))); diff != "" {
		t.Errorf("files of the image\n%s", diff)
	}
}

func writeFile(path string, content io.Reader) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close())
}

func checkComponents(t *testing.T, root string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, "usr", "share", "rekey", "sbom.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Format     string `json:"bomFormat"`
		Components []struct {
			Name string `json:"name"`
			PURL string `json:"purl"`
		} `json:"components"`
	}
	if err := json.Unmarshal(content, &list); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range list.Components {
		names = append(names, c.Name)
		if !strings.HasPrefix(c.PURL, "pkg:golang/") {
			t.Errorf("%s has the address %q", c.Name, c.PURL)
		}
	}
	for _, want := range []string{"std", "github.com/nats-io/nats-server/v2", "go.uber.org/zap"} {
		if list.Format != "CycloneDX" || !slices.Contains(names, want) {
			t.Errorf("%s with %v, want %s among them", list.Format, names, want)
		}
	}
}

// The whole way with nothing but the image: its files, read-only and as another user's, no network but loopback, no
// /proc and no /dev. Only what a container has as well is writable: the folder for data.
const fromNothing = `
mount --bind "$1" "$1"
mount -t tmpfs -o mode=0700,uid=65532,gid=65532 none "$1/var/lib/rekey"
mount --bind -o ro "$2" "$1/etc/rekey"
mount -o remount,bind,ro "$1"
ip link set lo up 2>/dev/null || true
cd /
chroot=$(command -v chroot)
worker() { env -i TMPDIR=/var/lib/rekey "$chroot" --userspec=65532:65532 "$1" /worker "${@:2}"; }
worker "$1" version
worker "$1" config check /etc/rekey/worker.yaml
worker "$1" schedule next berlin -n 1 -c /etc/rekey/worker.yaml
if worker "$1" demo >/dev/null 2>&1 </dev/null; then echo demo is through; fi
if chroot "$1" /bin/sh -c true 2>/dev/null; then echo there is a shell; fi
`

func runFromNothing(t *testing.T, root string) {
	t.Helper()
	if os.Getuid() != 0 && os.Getenv("CI") == "" {
		t.Skip("needs root to change it")
	}
	etc := t.TempDir()
	config := "schedules:\n  - {name: berlin, cron: '0 3 * * 0', time_zone: Europe/Berlin, job: {kind: x509.disable, account: a, params: {project_id: '0123456789abcdef01234567'}}}\n" +
		"atlas: {accounts: [{name: a, public_key: abcdefgh, private_key_env: KEY}]}\n"
	if err := errors.Join(os.Chmod(etc, 0o755), os.WriteFile(filepath.Join(etc, "worker.yaml"), []byte(config), 0o644)); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(t.TempDir(), "run")
	if err := os.WriteFile(script, []byte("set -eu\n"+fromNothing), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"unshare", "--mount", "--net", "--pid", "--fork", "bash", script, root, etc}
	if os.Getuid() != 0 {
		args = append([]string{"sudo", "-n"}, args...)
	}
	out := command(t, os.Environ(), ".", args[0], args[1:]...)
	for _, want := range []string{"rekey ", "ok\n", "CE", "demo is through"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "there is a shell") {
		t.Errorf("the image has a shell")
	}
}

func TestBinariesThatNeedMoreAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other")
	command(t, append(os.Environ(), "CGO_ENABLED=0", "GOOS=darwin"), ".", "go", "build", "-trimpath", "-o", path, ".")
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"another system", []string{"-o", t.TempDir(), path}, `GOOS="darwin"`},
		{"no binary", []string{"-o", t.TempDir(), "container_test.go"}, "container_test.go"},
		{"nothing to do", []string{"-o", t.TempDir()}, "usage"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := run(t.Context(), c.args, io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestArchiveIsTheSameTwice(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "small")
	command(t, append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux"), ".", "go", "build", "-trimpath", "-o", binary, ".")
	var archives [2][]byte
	for i := range archives {
		path := filepath.Join(dir, "image.tar")
		if err := run(t.Context(), []string{"-o", path, binary}, io.Discard); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		archives[i] = content
	}
	if len(archives[0]) == 0 || !bytes.Equal(archives[0], archives[1]) {
		t.Errorf("%d and %d bytes", len(archives[0]), len(archives[1]))
	}
}
