package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// Compiler makes rules ready to use.
type Compiler struct {
	env       *env
	namespace string
}

// NewCompiler returns a Compiler for rules that may use these accounts. namespace begins
// the subjects of all events; empty means rekey.
func NewCompiler(namespace string, accounts []Account) (*Compiler, error) {
	env, err := newEnv(accounts)
	if err != nil {
		return nil, err
	}
	return &Compiler{env: env, namespace: cmp.Or(namespace, "rekey")}, nil
}

// rule is a Rule, ready to use.
type rule struct {
	Rule
	filter filter
	when   *program   // Nil: always.
	parts  []*program // Of when, for explanations.
	jobs   []job
}

// job is a Job, ready to use.
type job struct {
	kind    jobs.Kind
	forEach *program // Nil: one job.
	fields  []fieldProgram
}

// leavesOut reports whether an empty text leaves a parameter out: a hint that an event may not have.
func (j job) leavesOut(param string) bool {
	p, _, known := kinds.Of(j.kind).Param(param)
	return known && p.Optional && !p.Secret
}

// takesSecret reports whether a field is a parameter that is a secret in the clear.
func (j job) takesSecret(f fieldProgram) bool {
	return f.param && len(jobs.SecretsIn(j.kind, map[string]any{f.name: "x"})) > 0
}

// fieldProgram gives one field of a request.
type fieldProgram struct {
	name  string // Of the request: account, lane, …; a parameter's when param is set.
	param bool
	run   *program
}

// path is how the field is called in messages.
func (f fieldProgram) path() string {
	if f.param {
		return "params." + f.name
	}
	return f.name
}

// Check returns all mistakes of a rule but those of its name and limits.
func (c *Compiler) Check(r Rule) []Problem {
	_, problems := c.compile(r)
	return problems
}

func (c *Compiler) compile(r Rule) (*rule, []Problem) {
	out := &rule{Rule: r}
	var problems []Problem
	out.filter, problems = newFilter(r.On, c.namespace)
	if r.When != "" {
		when, detail := compile(c.env.plain, r.When, wantBool)
		problems = append(problems, problemAt("when", detail)...)
		out.when, out.parts = when, parts(c.env.plain, when)
	}
	if len(r.Jobs) == 0 {
		problems = append(problems, Problem{"jobs", "is required: what the policy asks for"})
	}
	for i, j := range r.Jobs {
		path := fmt.Sprintf("jobs[%d]", i)
		compiled, more := c.job(j)
		for _, p := range more {
			problems = append(problems, Problem{path + "." + p.Path, p.Detail})
		}
		out.jobs = append(out.jobs, compiled)
	}
	return out, problems
}

func (c *Compiler) job(j Job) (job, []Problem) {
	out := job{kind: j.Kind}
	problems := checkNames(j)
	in := c.env.plain
	if j.ForEach != "" {
		list, detail := compile(c.env.plain, j.ForEach, wantList)
		problems = append(problems, problemAt("for_each", detail)...)
		out.forEach, in = list, c.env.item
	}
	add := func(name string, param bool, text Expr, want want) {
		f := fieldProgram{name: name, param: param}
		run, detail := compile(in, text, want)
		if strings.Contains(detail, "undeclared reference to '"+varItem+"'") {
			detail += "; item is there with for_each only"
		}
		problems = append(problems, problemAt(f.path(), detail)...)
		f.run = run
		out.fields = append(out.fields, f)
	}
	for _, name := range slices.Sorted(maps.Keys(j.Params)) {
		add(name, true, j.Params[name], wantText)
	}
	for _, f := range []struct {
		name string
		text Expr
	}{{"account", j.Account}, {"lane", j.Lane}, {"reason", j.Reason}, {"requested_by", j.RequestedBy}} {
		if f.text != "" {
			add(f.name, false, f.text, wantText)
		}
	}
	if j.ExpiresAt != "" {
		add("expires_at", false, j.ExpiresAt, wantMoment)
	}
	return out, append(problems, c.constants(out)...)
}

// checkNames checks the kind, and that it takes the parameters.
func checkNames(j Job) []Problem {
	if j.Kind == "" {
		return []Problem{{"kind", "is required; the kinds are " + strings.Join(jobs.Names(jobs.Kinds()), ", ")}}
	}
	kind, err := jobs.ParseKind(string(j.Kind))
	if err != nil {
		return []Problem{{"kind", err.Error()}}
	}
	var problems []Problem
	for _, m := range jobs.CheckParamNames(kind, slices.Sorted(maps.Keys(j.Params))) {
		problems = append(problems, Problem{m.Field, m.Detail})
	}
	return problems
}

// constants checks the fields that no event can change: a lane that does not exist is
// better found now than in the night in which it is needed.
func (c *Compiler) constants(j job) []Problem {
	var problems []Problem
	for _, f := range j.fields {
		if f.param || f.run == nil || !f.run.constant() {
			continue
		}
		_, err := jobs.ParseRequest(jobs.Document{Fields: map[string]any{f.name: f.run.literal()}})
		for _, m := range jobs.Mistakes(err) {
			if m.Field == f.name {
				problems = append(problems, Problem{f.path(), m.Detail})
			}
		}
	}
	return problems
}

func problemAt(path, detail string) []Problem {
	if detail == "" {
		return nil
	}
	return []Problem{{path, detail}}
}

// constant reports whether the expression is one text, as in '"urgent"'.
func (p *program) constant() bool {
	_, ok := p.literal().(string)
	return ok
}

// literal is the value of an expression that is nothing but a literal, or nil.
func (p *program) literal() any {
	expr := p.ast.NativeRep().Expr()
	if expr.Kind() != literalKind {
		return nil
	}
	return expr.AsLiteral().Value()
}
