package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rekey/internal/config"
)

// TestFiles: each change of the configuration's files is seen, and where nothing has changed from outside they are not even
// read, however large they are.
func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	policies, file := filepath.Join(dir, "policies"), filepath.Join(dir, "worker.yaml")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-time.Hour)
	write := func(name, text string, at time.Time) {
		t.Helper()
		must(os.WriteFile(name, []byte(text), 0o600))
		must(os.Chtimes(name, at, at))
	}
	must(os.Mkdir(policies, 0o700))
	named := "policies: {dir: " + policies + "}\n"
	write(file, named, long)
	write(filepath.Join(policies, "a.yaml"), "policies: []\n", long)
	files := config.NewFiles(file)
	last := files.Sum()
	look := func(what string, changes bool, do func()) {
		t.Helper()
		do()
		for range 2 { // It stays so.
			if sum := files.Sum(); (sum != last) != changes {
				t.Errorf("%s: changed %v", what, sum != last)
			}
		}
		last = files.Sum()
	}
	look("nothing", false, func() {})
	look("a file of the folder", true, func() { write(filepath.Join(policies, "a.yaml"), "policies: [ ]\n", long) })
	look("another file in the folder", true, func() { write(filepath.Join(policies, "b.yaml"), "policies: []\n", long) })
	look("one file less", true, func() { must(os.Remove(filepath.Join(policies, "b.yaml"))) })
	look("another file", false, func() { write(filepath.Join(policies, "README"), "x", long) })
	look("another file in its place", true, func() {
		write(file+".new", named+"log: {level: warn}\n", long)
		must(os.Rename(file+".new", file))
	})
	look("the same file again", false, func() {
		write(file+".new", named+"log: {level: warn}\n", long.Add(time.Minute))
		must(os.Rename(file+".new", file))
	})
	look("as long and as old, and just written", true, func() { write(file, named+"log: {level: info}\n", time.Now()) })
	look("once more in the same moment", true, func() { write(file, named+"log: {level: warn}\n", time.Now()) })
	look("it is away", true, func() { must(os.Remove(file)) })
	look("it is empty", true, func() { write(file, " \n", long) })
	if !files.IsEmpty() {
		t.Error("an empty file is not said to be one")
	}
	look("it is back, without the folder", true, func() { write(file, strings.Repeat("# much\n", 10_000), long) })
	look("the folder is not its matter any more", false, func() { write(filepath.Join(policies, "c.yaml"), "policies: []\n", long) })
	look("what nothing shows from outside", false, func() { write(file, strings.Repeat("# more\n", 10_000), long) })
}
