package deliver_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/deliver"
	"rekey/internal/secret"
)

const (
	older = "mdb_sa_sk_canary-older"
	old   = "mdb_sa_sk_canary-old"
	fresh = "mdb_sa_sk_canary-new"
)

func credential(value string) deliver.Credential {
	return deliver.Credential{Rotation: "ci", ID: "5ec0000000000000000000b1", ClientID: "mdb_sa_id_0123456789abcdef01234567", Value: secret.New(value)}
}

func open(t *testing.T, cfg deliver.Config, env deliver.Env) deliver.Store {
	t.Helper()
	stores, err := deliver.New([]deliver.Config{cfg}, env)
	if err != nil || len(stores) != 1 {
		t.Fatalf("New() = %d stores, %v", len(stores), err)
	}
	return stores[0]
}

// noCanary fails when an error shows a secret.
func noCanary(t *testing.T, err error) {
	t.Helper()
	if text := fmt.Sprintf("%v %+v %#v", err, err, err); err != nil && strings.Contains(text, "canary") {
		t.Errorf("the error shows a secret: %s", text)
	}
}

// folder writes files and returns the path of the one called secret. A text that is "/" makes a folder.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		err := os.WriteFile(path, []byte(text), 0o600)
		if text == "/" {
			err = errors.Join(os.Remove(path), os.Mkdir(path, 0o700))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "secret")
}

// files are those of the folder of a path; "/" is the text of a folder.
func files(t *testing.T, path string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, entry := range entries {
		found[entry.Name()] = "/"
		if entry.IsDir() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(filepath.Dir(path), entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		found[entry.Name()] = string(text)
	}
	return found
}

// Each row is a state in which a delivery may begin, among them all those in which a killed worker leaves the files.
func TestFileDeliver(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		before map[string]string
		want   map[string]string
	}{
		{"nothing", nil, map[string]string{"secret": fresh + "\n"}},
		{"an empty file", map[string]string{"secret": "\n"}, map[string]string{"secret": fresh + "\n"}},
		{"one secret", map[string]string{"secret": old + "\n"}, map[string]string{"secret": fresh + "\n", "secret.previous": old + "\n"}},
		{"two secrets", map[string]string{"secret": old + "\n", "secret.previous": older + "\n"}, map[string]string{"secret": fresh + "\n", "secret.previous": old + "\n"}},
		{
			"killed while the previous was written",
			map[string]string{"secret": old + "\n", "secret.previous": older + "\n", "secret.new": old[:9]},
			map[string]string{"secret": fresh + "\n", "secret.previous": old + "\n"},
		},
		{
			"killed between the two renames",
			map[string]string{"secret": old + "\n", "secret.previous": old + "\n"},
			map[string]string{"secret": fresh + "\n", "secret.previous": old + "\n"},
		},
		{
			"killed while the new was written",
			map[string]string{"secret": old + "\n", "secret.previous": old + "\n", "secret.new": fresh + "\n"},
			map[string]string{"secret": fresh + "\n", "secret.previous": old + "\n"},
		},
		{
			"killed after both",
			map[string]string{"secret": fresh + "\n", "secret.previous": old + "\n"},
			map[string]string{"secret": fresh + "\n", "secret.previous": old + "\n"},
		},
		{"killed before a look at what is left", map[string]string{"secret": fresh + "\n", "secret.new": fresh}, map[string]string{"secret": fresh + "\n"}},
		{
			"the same without a line feed",
			map[string]string{"secret": fresh, "secret.previous": old + "\n"},
			map[string]string{"secret": fresh + "\n", "secret.previous": old + "\n"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := folder(t, tt.before)
			store := open(t, deliver.Config{Type: deliver.TypeFile, Path: path}, deliver.Env{})
			for range 2 { // The second changes nothing.
				if err := store.Deliver(t.Context(), credential(fresh)); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, files(t, path)); diff != "" {
					t.Errorf("files (-want +got):\n%s", diff)
				}
				for name := range files(t, path) {
					info, err := os.Stat(filepath.Join(filepath.Dir(path), name))
					if err != nil || info.Mode() != 0o600 {
						t.Errorf("%s has the mode %s, %v", name, info.Mode(), err)
					}
				}
			}
			if got, err := store.Delivered(t.Context(), credential(fresh)); !got || err != nil {
				t.Errorf("Delivered() = %v, %v", got, err)
			}
			if got, err := store.Delivered(t.Context(), credential(old)); got || err != nil {
				t.Errorf("Delivered() of the previous = %v, %v", got, err)
			}
		})
	}
}

// The current secret is never lost: where the delivery cannot be completed, it is where it was.
func TestFileRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		before map[string]string
		value  string
		want   string // Of the error, without the store's name.
	}{
		{"the previous one cannot be kept", map[string]string{"secret": old + "\n", "secret.previous": "/"}, fresh, "reading the previous secret: it is no regular file (d"},
		{"a folder", map[string]string{"secret": "/"}, fresh, "reading the file: it is no regular file (d"},
		{"too large", map[string]string{"secret": strings.Repeat("canary", 20<<10)}, fresh, "reading the file: it is larger than 64 KiB, which no secret is"},
		{"no secret", map[string]string{"secret": old + "\n"}, "", "checking the secret: it is empty, or has several lines"},
		{"two lines", map[string]string{"secret": old + "\n"}, "canary\ncanary", "checking the secret: it is empty, or has several lines"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := folder(t, tt.before)
			store := open(t, deliver.Config{Type: deliver.TypeFile, Path: path}, deliver.Env{})
			err := store.Deliver(t.Context(), credential(tt.value))
			failure, ok := errors.AsType[*deliver.Failure](err)
			if !ok || failure.Retryable || failure.Store != "file "+path || !strings.HasPrefix(failure.Err.Error(), tt.want) {
				t.Errorf("Deliver() = %v, want %q", err, tt.want)
			}
			noCanary(t, err)
			if diff := cmp.Diff(tt.before, files(t, path)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

// A link would have the secret written elsewhere, or be replaced.
func TestFileLink(t *testing.T) {
	t.Parallel()
	path := folder(t, map[string]string{"other": old + "\n"})
	if err := os.Symlink("other", path); err != nil {
		t.Fatal(err)
	}
	store := open(t, deliver.Config{Type: deliver.TypeFile, Path: path}, deliver.Env{})
	if err := store.Deliver(t.Context(), credential(fresh)); err == nil || !strings.Contains(err.Error(), "it is no regular file (L") {
		t.Errorf("Deliver() = %v", err)
	}
	if diff := cmp.Diff(map[string]string{"other": old + "\n", "secret": old + "\n"}, files(t, path)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// A folder that is not there yet may be that of a volume which is mounted later.
func TestFileNoFolder(t *testing.T) {
	t.Parallel()
	store := open(t, deliver.Config{Type: deliver.TypeFile, Path: filepath.Join(t.TempDir(), "absent", "secret")}, deliver.Env{})
	got, err := store.Delivered(t.Context(), credential(fresh))
	if got || err != nil {
		t.Errorf("Delivered() = %v, %v", got, err)
	}
	err = store.Deliver(t.Context(), credential(fresh))
	if failure, ok := errors.AsType[*deliver.Failure](err); !ok || !failure.Retryable {
		t.Errorf("Deliver() = %v", err)
	}
	noCanary(t, err)
}

func TestFileOwnerAndMode(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root gives a file to another user")
	}
	tests := []struct {
		name, owner, mode string
		before            [2]int // User and group of the file before.
		wantUID, wantGID  uint32
		wantMode          os.FileMode
	}{
		{"kept", "", "", [2]int{12, 34}, 12, 34, 0o600},
		{"user", "56", "0400", [2]int{12, 34}, 56, 34, 0o400},
		{"user and group", "56:78", "0640", [2]int{12, 34}, 56, 78, 0o640},
		{"by name", "root:root", "0440", [2]int{12, 34}, 0, 0, 0o440},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := folder(t, map[string]string{"secret": old + "\n"})
			if err := os.Chown(path, tt.before[0], tt.before[1]); err != nil {
				t.Fatal(err)
			}
			store := open(t, deliver.Config{Type: deliver.TypeFile, Path: path, Owner: tt.owner, Mode: tt.mode}, deliver.Env{})
			if err := store.Deliver(t.Context(), credential(fresh)); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{path, path + ".previous"} {
				info, err := os.Stat(name)
				if err != nil {
					t.Fatal(err)
				}
				owner, ok := info.Sys().(*syscall.Stat_t)
				if !ok || owner.Uid != tt.wantUID || owner.Gid != tt.wantGID || info.Mode() != tt.wantMode {
					t.Errorf("%s belongs to %v with the mode %s", name, owner, info.Mode())
				}
			}
		})
	}
}

func TestFileUnknownOwner(t *testing.T) {
	t.Parallel()
	path := folder(t, map[string]string{"secret": old + "\n"})
	store := open(t, deliver.Config{Type: deliver.TypeFile, Path: path, Owner: "no-such-user"}, deliver.Env{})
	if err := store.Deliver(t.Context(), credential(fresh)); err == nil || !strings.Contains(err.Error(), "looking up the owner: user: unknown user no-such-user") {
		t.Errorf("Deliver() = %v", err)
	}
}

// Killed after the file was replaced and before the previous one was removed, the next delivery removes it.
func TestFileBack(t *testing.T) {
	t.Parallel()
	for _, now := range []string{fresh, old} {
		path := folder(t, map[string]string{"secret": now + "\n", "secret.previous": old + "\n"})
		store := open(t, deliver.Config{Type: deliver.TypeFile, Path: path}, deliver.Env{})
		if now == fresh {
			testBack(t, store, "")
		} else if err := store.Deliver(t.Context(), credential(old)); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(map[string]string{"secret": old + "\n"}, files(t, path)); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
	}
}

func TestFileInspect(t *testing.T) {
	t.Parallel()
	there, fresh := folder(t, map[string]string{"secret": old + "\n"}), folder(t, nil)
	inspect(t, open(t, deliver.Config{Type: deliver.TypeFile, Path: there}, deliver.Env{}), "the file exists, and its folder can be written", "")
	inspect(t, open(t, deliver.Config{Type: deliver.TypeFile, Path: fresh}, deliver.Env{}), "the folder can be written; the file does not exist yet", "")
	if diff := cmp.Diff(map[string]string{"secret": old + "\n"}, files(t, there)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if err := os.Chmod(filepath.Dir(there), 0o777); err != nil {
		t.Fatal(err)
	}
	inspect(t, open(t, deliver.Config{Type: deliver.TypeFile, Path: there}, deliver.Env{}), "",
		"file "+there+": looking at the folder: every user can replace its files: take the right to write from others")
	absent := filepath.Join(filepath.Dir(there), "absent", "secret")
	inspect(t, open(t, deliver.Config{Type: deliver.TypeFile, Path: absent}, deliver.Env{}), "",
		"file "+absent+": looking at the folder: stat "+filepath.Dir(absent)+": no such file or directory")
}
