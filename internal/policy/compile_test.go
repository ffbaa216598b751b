package policy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/kinds"
)

func TestCheck(t *testing.T) {
	with := func(change func(*Job)) Rule {
		j := disable()[0]
		change(&j)
		return Rule{Jobs: []Job{j}}
	}
	long := Expr(`"` + strings.Repeat("x", maxExprBytes) + `"`)
	tests := []struct {
		name string
		rule Rule
		want []string // Path and the beginning of the detail.
	}{
		{name: "good", rule: Rule{When: "event.class == 'incident'", Jobs: disable()}},
		{name: "no jobs", want: []string{"jobs: is required"}},
		{name: "syntax", rule: Rule{When: "event.id ==", Jobs: disable()}, want: []string{"when: column 12: Syntax error: mismatched input '<EOF>'"}},
		{name: "line", rule: Rule{When: "true &&\n  evnt.id == ''", Jobs: disable()}, want: []string{"when: line 2, column 3: undeclared reference to 'evnt'"}},
		{name: "field of the event", rule: Rule{When: "event.typ == ''", Jobs: disable()}, want: []string{"when: column 6: undefined field 'typ'"}},
		{name: "types", rule: Rule{When: "event.id == 7", Jobs: disable()}, want: []string{"when: column 10: found no matching overload for '_==_' applied to '(string, int)'"}},
		{name: "function", rule: Rule{When: "event.id.lower() == ''", Jobs: disable()}, want: []string{"when: column 15: undeclared reference to 'lower'"}},
		{name: "no boolean", rule: Rule{When: "event.id", Jobs: disable()}, want: []string{"when: gives string, but must give true or false"}},
		{name: "blank", rule: Rule{When: " ", Jobs: disable()}, want: []string{"when: is an empty expression"}},
		{name: "too long", rule: Rule{When: long, Jobs: disable()}, want: []string{"when: has 8194 bytes; the limit is 8192"}},
		{name: "regular expression", rule: Rule{When: `event.id.matches("(")`, Jobs: disable()}, want: []string{"when: column 18: invalid matches argument"}},
		{name: "duration", rule: Rule{When: `now - event.time < duration("1d2")`, Jobs: disable()}, want: []string{"when: column 29: invalid duration argument"}},
		{name: "no list", rule: with(func(j *Job) { j.ForEach = "event.id" }), want: []string{"jobs[0].for_each: gives string, but must give a list"}},
		{name: "item without list", rule: with(func(j *Job) { j.Reason = "item" }), want: []string{"jobs[0].reason: column 1: undeclared reference to 'item'; item is there with for_each only"}},
		{name: "item in its list", rule: with(func(j *Job) { j.ForEach = "item" }), want: []string{"jobs[0].for_each: column 1: undeclared reference to 'item'"}},
		{name: "number", rule: with(func(j *Job) { j.Reason = "7" }), want: []string{"jobs[0].reason: gives int, but must give a string; string(…) makes one"}},
		{name: "kind", rule: with(func(j *Job) { j.Kind = "jwks.revok" }), want: []string{"jobs[0].kind: unknown kind; the kinds are"}},
		{name: "no kind", rule: with(func(j *Job) { j.Kind = "" }), want: []string{"jobs[0].kind: is required; the kinds are"}},
		{name: "params", rule: with(func(j *Job) { j.Kind = kinds.JWKSRevoke }), want: []string{"jobs[0].params.project_id: unknown parameter", "jobs[0].params.federation_id: required", "jobs[0].params.identity_provider_id: required"}},
		{name: "text without quotes", rule: with(func(j *Job) { j.Reason = "leaked token" }), want: []string{`jobs[0].reason: column 8: Syntax error: extraneous input 'token'; if the text is meant, it needs quotes of its own: '"leaked token"'`}},
		{name: "constant lane", rule: with(func(j *Job) { j.Lane = `"fast"` }), want: []string{"jobs[0].lane: unknown lane; the lanes are"}},
		{name: "constant expiry", rule: with(func(j *Job) { j.ExpiresAt = `"soon"` }), want: []string{"jobs[0].expires_at: must be a time"}},
		{name: "subjects", rule: Rule{On: On{Subjects: []string{"", "rekey.v1.event", "rekey.v1.job.>", "rekey.v1.event.*x", "rekey.>.x", "*.*.event.>"}}, Jobs: disable()}, want: []string{
			"on.subjects[0]: is no pattern", "on.subjects[1]: matches no event: the class is missing", "on.subjects[2]: matches no event: their subjects begin with rekey.v1.event.",
			"on.subjects[3]: is no pattern", "on.subjects[4]: is no pattern",
		}},
		{name: "types and sources", rule: Rule{On: On{Types: []string{""}, Sources: []string{"x", ""}}, Jobs: disable()}, want: []string{"on.types[0]: is empty", "on.sources[1]: is empty"}},
	}
	compiler, err := NewCompiler("", accounts)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for i, p := range compiler.Check(tt.rule) {
				text := p.Path + ": " + p.Detail
				if i < len(tt.want) && strings.HasPrefix(text, tt.want[i]) {
					text = tt.want[i]
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNewNamesThePolicy(t *testing.T) {
	_, err := New("", nil, []Rule{{Name: "a", Jobs: disable()}, {Name: "b", When: "(", Jobs: disable()}})
	if err == nil || !strings.HasPrefix(err.Error(), "policy b: when: column 2: Syntax error") {
		t.Errorf("error %v", err)
	}
}
