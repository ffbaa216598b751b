package apptest

import (
	"os"
	"path/filepath"
	"testing"
)

// File is the path of a file or folder of the repository, whichever package the test is in.
func File(t *testing.T, path ...string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(append([]string{dir}, path...)...)
		}
		above := filepath.Dir(dir)
		if above == dir {
			t.Fatal("no go.mod is above the test's folder")
		}
		dir = above
	}
}
