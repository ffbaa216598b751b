package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rekey/checks/repo"
)

// In the prose, between backquotes: a declaration such as `jobs.Runner.step`, a path such as `internal/jobs`, a test.
var (
	goName   = regexp.MustCompile("`([a-z][a-z0-9]+)\\.((?:[A-Z]\\w*\\.)?[A-Za-z]\\w*)`")
	codePath = regexp.MustCompile("`((?:cmd|internal|checks|configs|deploy|bench|tools)/[A-Za-z0-9_./-]*)`")
	testName = regexp.MustCompile(`\b((?:Test|Fuzz|Benchmark)[A-Z]\w+)`)
)

// aboutCode are the pages whose names of declarations, files and tests must exist.
var aboutCode = []string{"docs/state-machine.md", "docs/develop.md", "docs/decisions.md", "docs/durability.md", "docs/pacing.md", "docs/security.md"}

// declared has every declaration of the worker's packages, as pkg.Name and pkg.Type.Method.
func declared(t *testing.T) map[string]bool {
	t.Helper()
	names, fset, root := map[string]bool{}, token.NewFileSet(), repo.Path(t, ".")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range file.Decls {
			for _, name := range namesOf(d) {
				names[strings.TrimSuffix(file.Name.Name, "_test")+"."+name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func namesOf(d ast.Decl) []string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			return []string{d.Name.Name}
		}
		kind := d.Recv.List[0].Type
		if star, ok := kind.(*ast.StarExpr); ok {
			kind = star.X
		}
		if generic, ok := kind.(*ast.IndexExpr); ok {
			kind = generic.X
		}
		if name, ok := kind.(*ast.Ident); ok {
			return []string{name.Name + "." + d.Name.Name}
		}
	case *ast.GenDecl:
		var names []string
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				names = append(names, spec.Name.Name)
			case *ast.ValueSpec:
				for _, name := range spec.Names {
					names = append(names, name.Name)
				}
			}
		}
		return names
	}
	return nil
}

// packages are the names that begin a declaration, so that `token.revoke` is a kind and `jobs.Runner` is code.
func isPackage(names map[string]bool, name string) bool {
	for declared := range names {
		if strings.HasPrefix(declared, name+".") {
			return true
		}
	}
	return false
}

func TestNamesOfCodeExist(t *testing.T) {
	names, tests := declared(t), map[string]bool{}
	for name := range names {
		_, short, _ := strings.Cut(name, ".")
		tests[short] = true
	}
	checked := 0
	for _, page := range aboutCode {
		text := fence.ReplaceAllString(string(repo.Read(t, page)), "")
		for _, match := range goName.FindAllStringSubmatch(text, -1) {
			if strings.ToLower(match[2]) == match[2] && page != "docs/state-machine.md" || !isPackage(names, match[1]) {
				continue // A key of the configuration or a file, such as `intake.limits` or `unit.go`.
			}
			checked++
			if !names[match[1]+"."+match[2]] {
				t.Errorf("%s: there is no %s.%s", page, match[1], match[2])
			}
		}
		for _, match := range codePath.FindAllStringSubmatch(text, -1) {
			checked++
			if _, err := os.Stat(repo.Path(t, match[1])); err != nil {
				t.Errorf("%s: there is no %s", page, match[1])
			}
		}
		for _, match := range testName.FindAllStringSubmatch(text, -1) {
			checked++
			if !tests[match[1]] {
				t.Errorf("%s: there is no %s", page, match[1])
			}
		}
	}
	if checked < 100 {
		t.Errorf("only %d names", checked)
	}
}

// The tour for developers has a row for every package.
func TestTourNamesEveryPackage(t *testing.T) {
	page := string(repo.Read(t, "docs/develop.md"))
	folders, err := os.ReadDir(repo.Path(t, "internal"))
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if name := "internal/" + folder.Name(); folder.IsDir() && !strings.Contains(page, "`"+name+"`") {
			t.Errorf("docs/develop.md does not say what is in %s", name)
		}
	}
}
