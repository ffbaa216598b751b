package deliver_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"rekey/internal/deliver"
)

// TestFullFileSystem: a look finds that the file system is full, a delivery fails and may be repeated, and what is in the file stays.
func TestFullFileSystem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=0700"); err != nil {
		t.Skipf("a small file system cannot be mounted (root may): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(dir, "secret")
	if err := os.WriteFile(path, []byte(old+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	store := open(t, deliver.Config{Type: deliver.TypeFile, Path: path}, deliver.Env{})
	inspect(t, store, "the file exists, and its folder can be written", "")
	filler, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	if err := filler.Close(); err != nil {
		t.Fatal(err)
	}
	inspect(t, store, "", "file "+path+": looking at the space of the folder: no space left on device")
	err = store.Deliver(t.Context(), credential(fresh))
	failure, ok := errors.AsType[*deliver.Failure](err)
	if !ok || !failure.Retryable || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("delivering: %v", err)
	}
	if now, err := os.ReadFile(path); err != nil || string(now) != old+"\n" {
		t.Errorf("the file has %d bytes, and not the old secret; error %v", len(now), err)
	}
	if err := os.Remove(filler.Name()); err != nil {
		t.Fatal(err)
	}
	if err := store.Deliver(t.Context(), credential(fresh)); err != nil {
		t.Error(err)
	}
}
