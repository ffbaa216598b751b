package imports_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// root is the module's folder, seen from this package.
const root = "../.."

// module begins the import path of every package of Rekey.
const module = "rekey/"

// TestImports: each package imports what its row says, and its row says no more than that.
func TestImports(t *testing.T) {
	t.Parallel()
	for _, problem := range compare(matrix, read(t)) {
		t.Error(problem)
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	rows := map[string]string{"internal/a": "b", "internal/b": "", "internal/gone": ""}
	have := map[string][]string{"internal/a": {"internal/b", "internal/c", "internal/b"}, "internal/b": nil, "internal/c": nil}
	want := []string{
		"matrix_test.go allows other imports to package internal/a\n\t\"internal/a\": \"b\",\nthan it has\n\t\"internal/a\": \"b c\",",
		"no row of matrix_test.go is about package internal/c, which imports\n\t\"internal/c\": \"\",",
		"matrix_test.go has a row for internal/gone, which is no package",
	}
	if diff := cmp.Diff(want, compare(rows, have)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// compare returns what is wrong with the imports of packages, or with the rows.
func compare(rows map[string]string, have map[string][]string) []string {
	var problems []string
	for _, name := range slices.Sorted(maps.Keys(have)) {
		got := short(have[name])
		allowed, ok := rows[name]
		switch {
		case !ok:
			problems = append(problems, fmt.Sprintf("no row of matrix_test.go is about package %s, which imports\n\t%q: %q,", name, name, got))
		case got != allowed:
			problems = append(problems, fmt.Sprintf("matrix_test.go allows other imports to package %s\n\t%q: %q,\nthan it has\n\t%q: %q,", name, name, allowed, name, got))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		if _, ok := have[name]; !ok {
			problems = append(problems, fmt.Sprintf("matrix_test.go has a row for %s, which is no package", name))
		}
	}
	return problems
}

// read returns the packages of the module by their folders, each with those of Rekey that its files import. Tests do not
// count: they may import what they need.
func read(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for _, folder := range []string{"cmd", "configs", "internal"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(file string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
				return err
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			name, err := filepath.Rel(root, filepath.Dir(file))
			if err != nil {
				return err
			}
			name = filepath.ToSlash(name)
			found[name] = append(found[name], own(t, parsed)...)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// own are the packages of Rekey that a file imports.
func own(t *testing.T, file *ast.File) []string {
	t.Helper()
	var list []string
	for _, spec := range file.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if name, ok := strings.CutPrefix(name, module); ok {
			list = append(list, name)
		}
	}
	return list
}

// short is a list of packages as a row has it: in order, without "internal/".
func short(list []string) string {
	for i := range list {
		list[i] = strings.TrimPrefix(list[i], "internal/")
	}
	slices.Sort(list)
	return strings.Join(slices.Compact(list), " ")
}
