package kinds

import (
	"errors"
	"fmt"
	"slices"
)

// validate finds what contradicts itself in a declaration.
func (k Kind) validate() error {
	var problems []error
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if _, exists := declared[k.Name]; exists || k.Name == "" {
		add("the name must be one of its own")
	}
	if k.Does == "" || k.Call.Method == "" || len(k.Call.Success) == 0 || len(k.Forms) == 0 || len(k.Examples) == 0 {
		add("what it does, method, success, a form and an example are required")
	}
	var names []string
	for _, p := range k.Params {
		names = append(names, p.Name)
		if p.Shape.Check == nil {
			add("parameter %s needs a shape", p.Name)
		}
	}
	known := func(where string, list []string) {
		for _, name := range list {
			if !slices.Contains(names, name) {
				add("%s names the unknown parameter %q", where, name)
			}
		}
	}
	for _, c := range k.Choices {
		known("a choice", slices.Concat(c...))
	}
	for _, look := range k.Preview {
		_, params := parts(look.Path)
		known("preview "+look.Path, params)
	}
	for _, f := range k.Forms {
		for _, template := range []string{f.Target, f.Change.Path, f.Read.Path} {
			_, params := parts(template)
			known("template "+template, params)
		}
		for _, path := range []string{f.Change.Path, f.Read.Path} {
			_, params := parts(path)
			for _, name := range params {
				if p, _, _ := k.Param(name); p.Secret {
					add("path %s: a secret does not belong in a path", path)
				}
			}
		}
		if (f.Read.Path == "") == (f.Unread == "") {
			add("each form needs either what can be read or why nothing can")
		}
		if f.Target == "" || f.Change.Path == "" || f.Set.Name == "" || f.Set.Scope == "" || f.Role.Title == "" {
			add("each form needs target, path, endpoint set and role")
		}
	}
	return errors.Join(problems...)
}
