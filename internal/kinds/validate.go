package kinds

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// validate finds what contradicts itself in a declaration.
func (k Kind) validate() error {
	var problems []error
	if _, exists := declared[k.Name]; exists || k.Name == "" {
		problems = append(problems, errors.New("the name must be one of its own"))
	}
	if k.Becomes == nil && k.Rotates == nil && (k.Call.Method == "" || len(k.Call.Success) == 0) || k.Does == "" || len(k.Forms) == 0 || len(k.Examples) == 0 {
		problems = append(problems, errors.New("what it does, method, success, a form and an example are required"))
	}
	for _, p := range k.Params {
		if p.Shape.Check == nil {
			problems = append(problems, fmt.Errorf("parameter %s needs a shape", p.Name))
		}
	}
	for _, c := range k.Choices {
		problems = append(problems, k.known("a choice", slices.Concat(c...), true))
	}
	for _, look := range k.Preview {
		_, params := parts(look.Path)
		problems = append(problems, k.known("preview "+look.Path, params, false))
	}
	for _, f := range k.Forms {
		problems = append(problems, k.validateForm(f))
	}
	return errors.Join(append(problems, k.validateProof())...)
}

// validateProof finds what contradicts itself in how a kind is proven.
func (k Kind) validateProof() error {
	var problems []error
	for _, c := range k.Proof.Checks {
		if c.Name == "" || c.Judge == nil || c.Proves == "" || (c.Path == "") != (c.Set.Name == "") || (c.Path == "") != (c.Role.Title == "") {
			problems = append(problems, errors.New("each check needs a name, a judge, what it proves, and what it reads with endpoint set and role, or neither"))
		}
		if c.As != AsAccount && len(k.Secrets()) == 0 || (c.Each.Path != "") != (c.EachID != "") || c.Each.Path != "" && !c.List {
			problems = append(problems, fmt.Errorf("check %s reads as what leaked, or each of a list, and there is none", c.Name))
		}
		for _, r := range append([]Resource{c.Resource, c.Each}, c.Else...) {
			_, names := parts(r.Path)
			names = slices.DeleteFunc(names, func(name string) bool { return name == ParamEach || k.Rotates != nil && slices.Contains(found, name) })
			problems = append(problems, k.known("check "+c.Name, names, false))
		}
	}
	if k.Proof.Takes == "" && len(k.Proof.Checks)+len(k.Proof.Events) > 0 {
		problems = append(problems, errors.New("a proof says how long it takes"))
	}
	if p := k.Proof; (p.EventTarget == "") != (p.TargetParam == "") || p.TargetParam != "" && len(p.Events) == 0 {
		problems = append(problems, errors.New("an event that names its target needs a type, a field and a parameter"))
	}
	return errors.Join(problems...)
}

// validateForm finds what contradicts itself in one form.
func (k Kind) validateForm(f Form) error {
	var problems []error
	check := func(template string, secrets bool) {
		_, names := parts(template)
		problems = append(problems, k.known("template "+template, names, secrets))
	}
	check(f.Target, true)
	check(f.Change.Path, false)
	check(f.Read.Path, false)
	if r := f.Read; (r.IDField == "") != (r.IDParam == "") || r.IDParam != "" && !strings.Contains(r.Path, "{"+r.IDParam+"}") {
		problems = append(problems, errors.New("a document that says whose it is needs the field, and a parameter that is in the path"))
	}
	if f.Find != nil {
		check(f.Find.List.Path, false)
		problems = append(problems, k.known("a search", []string{f.Find.By}, true))
	}
	if (f.Read.Path == "") == (f.Unread == "") {
		problems = append(problems, errors.New("each form needs either what can be read or why nothing can"))
	}
	if k.Becomes == nil && (f.Change.Path == "" && k.Rotates == nil || f.Set.Name == "" || f.Set.Scope == "" || f.Role.Title == "") || f.Target == "" {
		problems = append(problems, errors.New("each form needs target, path, endpoint set and role"))
	}
	return errors.Join(problems...)
}

// known reports names that are no parameters, or secrets where none may be.
func (k Kind) known(where string, names []string, secrets bool) error {
	var problems []error
	for _, name := range names {
		at := slices.IndexFunc(k.Params, func(p Param) bool { return p.Name == name })
		if at < 0 {
			problems = append(problems, fmt.Errorf("%s names the unknown parameter %q", where, name))
		} else if k.Params[at].Secret && !secrets {
			problems = append(problems, fmt.Errorf("%s: a secret does not belong in a path", where))
		}
	}
	return errors.Join(problems...)
}
