package main

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// source is what the Go files of the worker's packages say about its types, read and not compiled: this module does
// not depend on the worker's.
type source struct {
	types  map[string]*ast.TypeSpec // By package and name: config.NATS.
	docs   map[string]string        // Of types.
	consts map[string]string        // Text constants, by package and name.
	typed  map[string][]string      // The text constants of a named type, by package and name of the type.
	kinds  []declared
	vars   map[string]ast.Expr // Initial values of package variables.
	funcs  map[string]*ast.FuncDecl
}

func readSource(ctx context.Context, root string, packages ...string) (*source, error) {
	s := &source{
		types: map[string]*ast.TypeSpec{}, docs: map[string]string{}, consts: map[string]string{}, typed: map[string][]string{},
		vars: map[string]ast.Expr{}, funcs: map[string]*ast.FuncDecl{},
	}
	for _, name := range packages {
		files, err := filepath.Glob(filepath.Join(root, "internal", name, "*.go"))
		if err != nil || len(files) == 0 {
			return nil, fmt.Errorf("package %s: %d files, %w", name, len(files), os.ErrNotExist)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			s.add(name, file)
		}
	}
	var err error
	s.kinds, err = declarations(ctx, root)
	for _, k := range s.kinds { // They are declared, and no constants of one list.
		s.typed["jobs.Kind"] = append(s.typed["jobs.Kind"], k.Name)
	}
	// A receiver is notified of what is known.
	s.typed["jobs.Verdict"] = slices.DeleteFunc(s.typed["jobs.Verdict"], func(one string) bool { return one == "pending" })
	return s, err
}

func (s *source) add(pkg string, file *ast.File) {
	for _, declaration := range file.Decls {
		switch d := declaration.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				s.funcs[pkg+"."+d.Name.Name] = d
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				s.addSpec(pkg, d, spec)
			}
		}
	}
}

func (s *source) addSpec(pkg string, d *ast.GenDecl, spec ast.Spec) {
	switch sp := spec.(type) {
	case *ast.TypeSpec:
		name := pkg + "." + sp.Name.Name
		s.types[name] = sp
		doc := sp.Doc
		if doc == nil {
			doc = d.Doc
		}
		s.docs[name] = oneLine(doc)
	case *ast.ValueSpec:
		for i, name := range sp.Names {
			if i >= len(sp.Values) {
				continue
			}
			full := pkg + "." + name.Name
			s.vars[full] = sp.Values[i]
			literal, ok := sp.Values[i].(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING || d.Tok != token.CONST {
				continue
			}
			text, err := strconv.Unquote(literal.Value)
			if err != nil {
				continue // The parser has read it: it cannot be malformed.
			}
			s.consts[full] = text
			if named, ok := sp.Type.(*ast.Ident); ok {
				s.typed[pkg+"."+named.Name] = append(s.typed[pkg+"."+named.Name], text)
			}
		}
	}
}

// field is a key of a mapping.
type field struct {
	key, doc string
	kind     typeOf
	secret   bool // Written as two keys, key_file and key_env.
	live     bool // A running worker reloads it.
}

// typeOf is a type as YAML and JSON know it.
type typeOf struct {
	name   string  // string, integer, boolean, duration, list, map, struct.
	of     *typeOf // The elements of a list or map.
	strct  string  // The name of a struct.
	values []string
}

// rawField is a field of a struct with its key.
type rawField struct {
	name, key string
	node      *ast.Field
}

// rawFields are the fields of a struct that have a key; none for another type.
func (s *source) rawFields(name string) []rawField {
	spec, ok := s.types[name]
	if !ok {
		return nil
	}
	strct, ok := spec.Type.(*ast.StructType)
	if !ok {
		return nil
	}
	var list []rawField
	for _, f := range strct.Fields.List {
		if f.Tag == nil || len(f.Names) != 1 {
			continue
		}
		key, _, _ := strings.Cut(reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("yaml"), ",")
		if key != "" && key != "-" {
			list = append(list, rawField{name: f.Names[0].Name, key: key, node: f})
		}
	}
	return list
}

// fields lists the keys of a struct in their order. A comment about two fields is that of the first.
func (s *source) fields(name string) ([]field, error) {
	raw := s.rawFields(name)
	if len(raw) == 0 {
		return nil, fmt.Errorf("%s is no struct with keys", name)
	}
	pkg, _, _ := strings.Cut(name, ".")
	var fields []field
	keys := map[string]string{}
	for _, f := range raw {
		keys[f.name] = f.key
		kind, isSecret, err := s.typeOf(pkg, f.node.Type)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", name, f.name, err)
		}
		doc := oneLine(f.node.Doc)
		if doc == "" {
			doc = oneLine(f.node.Comment)
		}
		live := reflect.StructTag(strings.Trim(f.node.Tag.Value, "`")).Get("reload") == "live"
		fields = append(fields, field{key: f.key, doc: doc, kind: kind, secret: isSecret, live: live})
	}
	for i := range fields {
		fields[i].doc = s.prose(pkg, fields[i].doc, keys)
	}
	if name == "config.RateLimits" {
		fields = append(fields, s.limitFields()...)
	}
	return fields, nil
}

// limitFields are the keys of the endpoint sets, which the kinds declare.
func (s *source) limitFields() []field {
	limit := typeOf{name: "struct", strct: "config.RateLimit"}
	list := []field{{
		key: "oauth_token", kind: limit, doc: "The limit of requests for bearer tokens. A limit that is left out is learned from the API's answers.",
	}}
	for _, set := range endpointSets(s.kinds) {
		list = append(list, field{key: set.Name, kind: limit, doc: "The limit of " + strings.Join(callsOf(set, s.kinds), ", ") + "."})
	}
	return list
}

func (s *source) typeOf(pkg string, expr ast.Expr) (kind typeOf, isSecret bool, err error) {
	switch e := expr.(type) {
	case *ast.ArrayType:
		of, _, err := s.typeOf(pkg, e.Elt)
		return typeOf{name: "list", of: &of}, false, err
	case *ast.MapType:
		of, _, err := s.typeOf(pkg, e.Value)
		return typeOf{name: "map", of: &of}, false, err
	case *ast.StarExpr:
		return s.typeOf(pkg, e.X)
	case *ast.SelectorExpr:
		from, ok := e.X.(*ast.Ident)
		if !ok {
			break
		}
		switch name := from.Name + "." + e.Sel.Name; name {
		case "secret.Ref":
			return typeOf{name: "string"}, true, nil
		case "time.Duration":
			return typeOf{name: "duration"}, false, nil
		case "time.Time":
			return typeOf{name: "time"}, false, nil
		default:
			return s.named(name)
		}
	case *ast.Ident:
		switch e.Name {
		case "string":
			return typeOf{name: "string"}, false, nil
		case "bool":
			return typeOf{name: "boolean"}, false, nil
		case "int", "int64", "uint64":
			return typeOf{name: "integer"}, false, nil
		case "float64":
			return typeOf{name: "number"}, false, nil
		}
		return s.named(pkg + "." + e.Name)
	}
	return kind, false, fmt.Errorf("a type that the documents have no word for: %T", expr)
}

func (s *source) named(name string) (typeOf, bool, error) {
	spec, ok := s.types[name]
	if !ok {
		return typeOf{}, false, fmt.Errorf("type %s is not known", name)
	}
	if _, ok := spec.Type.(*ast.StructType); ok {
		return typeOf{name: "struct", strct: name}, false, nil
	}
	pkg, _, _ := strings.Cut(name, ".")
	if name == "jobs.Kind" {
		return typeOf{name: "string", values: s.typed[name]}, false, nil
	}
	kind, isSecret, err := s.typeOf(pkg, spec.Type)
	kind.values = s.typed[name]
	return kind, isSecret, err
}

func oneLine(doc *ast.CommentGroup) string {
	if doc == nil {
		return ""
	}
	return strings.Join(strings.Fields(doc.Text()), " ")
}

// text is a text that is written out, or the value of a constant.
func (s *source) text(pkg string, expr ast.Expr) (string, error) {
	switch e := expr.(type) {
	case *ast.BasicLit:
		return strconv.Unquote(e.Value)
	case *ast.Ident:
		if value, ok := s.consts[pkg+"."+e.Name]; ok {
			return value, nil
		}
	}
	return "", fmt.Errorf("a text of package %s is neither written out nor a constant", pkg)
}
