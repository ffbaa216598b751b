package kinds_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rekey/internal/kinds"
)

// constants are how Go code could name a kind by its constant.
var constants = regexp.MustCompile(`\bkinds\.(?:` + strings.Join([]string{
	"TokenRevoke", "JWKSRevoke", "X509Disable", "IDPDelete", "RoleMappingDelete",
	"ServiceAccountSecretDelete", "ServiceAccountDelete", "APIKeyDelete", "DatabaseUserDelete", "DatabaseUserScramble",
	"OrgUserRemove", "ProjectUserRemove", "LeakContain", "ServiceAccountSecretRotate", "APIKeyRotate",
}, "|") + `)\b`)

// TestNoOtherFileNamesAKind: what depends on a kind is in its declaration. The sandbox plays the API, and apptest is for tests.
func TestNoOtherFileNamesAKind(t *testing.T) {
	root := filepath.Join("..", "..")
	read := 0
	for _, top := range []string{"cmd", "internal"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			name, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			switch filepath.ToSlash(name) {
			case "internal/kinds", "internal/atlas/sandbox", "internal/apptest":
				return filepath.SkipDir
			}
			if entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			read++
			for number, line := range bytes.Split(text, []byte("\n")) {
				if namesKind(string(line)) {
					t.Errorf("%s:%d names a kind: let its declaration in internal/kinds say what is special about it", filepath.ToSlash(name), number+1)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if read < 200 {
		t.Errorf("only %d files were read", read)
	}
}

func namesKind(line string) bool {
	for _, name := range kinds.Names() {
		if strings.Contains(line, string(name)) {
			return true
		}
	}
	return constants.MatchString(line)
}

// TestNamesKind: the search finds each kind, by its name and by its constant.
func TestNamesKind(t *testing.T) {
	found := constants.String()
	for _, name := range kinds.Names() {
		constant := strings.NewReplacer(".", "", "_", "").Replace(string(name))
		if !namesKind(`if kind == "`+string(name)+`" {`) || !strings.Contains(strings.ToLower(found), constant) {
			t.Errorf("%s would not be found", name)
		}
	}
	if namesKind("if kinds.Of(kind).PerAccount {") {
		t.Error("a line without a kind is found")
	}
}
