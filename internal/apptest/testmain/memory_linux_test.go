package testmain

import (
	"errors"
	"io/fs"
	"os"
	"testing"
)

// TestInMemory: a folder goes when its tests end or were killed, and not before.
func TestInMemory(t *testing.T) {
	t.Parallel()
	dir, remove := inMemory()
	if dir == "" {
		t.Skip("this machine has no file system in memory with enough room")
	}
	left, err := os.MkdirTemp(memory, "rekey-tests-") //nolint:usetesting // It must be beside the others.
	if err != nil {
		t.Fatal(err)
	}
	_, removeOther := inMemory()
	removeOther()
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("other tests removed a folder that is in use: %v", err)
	}
	remove()
	for _, gone := range []string{left, dir} {
		if _, err := os.Stat(gone); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", gone, err)
		}
	}
}
