package policy

import (
	"fmt"
	"strings"
	"testing"

	"cel.dev/cel-go/cel"

	"rekey/internal/jobs"
)

// A rule costs little, whatever the event holds that it is given: one call could take minutes, or
// all memory, before CEL finds that it has cost too much. So CEL does not count here.
func TestSteepFunctions(t *testing.T) {
	t.Parallel()
	many := make([]any, 5_000)
	for i := range many {
		many[i] = fmt.Sprint("occurrence ", i)
	}
	data := map[string]any{
		"many": many, "few": []any{"b", "a", "b"}, "short": "a b a", "sep": ", ",
		"long": strings.Repeat("a", 20_000), "vast": strings.Repeat("a", 100_000),
	}
	tests := []struct{ good, costly string }{
		{`event.data.few.distinct() == ["b", "a"]`, `event.data.many.distinct().size() > 0`},
		{`[1, 1].distinct() == [1]`, `event.data.many.map(m, m + "!").distinct().size() > 0`},
		{`sets.contains(event.data.few, ["a"])`, `sets.contains(event.data.many, event.data.many)`},
		{`sets.equivalent(event.data.few, ["a", "b"])`, `sets.equivalent(event.data.many, event.data.many)`},
		{`!sets.intersects(event.data.few, ["c"])`, `sets.intersects(event.data.many, event.data.many.map(m, m + "!"))`},
		{`event.data.few.hasAll(["a"])`, `event.data.many.hasAll(event.data.many)`},
		{`event.data.few.hasAny(["a"])`, `event.data.many.hasAny(event.data.many.map(m, m + "!"))`},
		{`event.data.few.hasOnly(["a", "b"])`, `event.data.many.hasOnly(event.data.many)`},
		{`event.data.few.hasExactly(["a", "b"])`, `event.data.many.hasExactly(event.data.many)`},
		{`event.data.few.join(event.data.sep) == "b, a, b"`, `event.data.many.join(event.data.long).size() > 0`},
		{`event.data.few.join() == "bab" && event.id.split("").join(",") == ""`, `event.data.many.map(m, m).join(event.data.long).size() > 0`},
		{`event.data.short.replace("a", event.data.sep) == ",  b , "`, `event.data.long.replace("a", event.data.long).size() > 0`},
		{`event.data.short.replace("a", "c", 1) == "c b a"`, `event.data.long.replace("a", event.data.long, -1).size() > 0`},
		{`regex.replace(event.data.short, "a", "c") == "c b c"`, `regex.replace(event.data.long, "a", event.data.long).size() > 0`},
		{`event.data.short.indexOf("b") == 2 && event.data.short.indexOf("a", 1) == 4`, `event.data.vast.indexOf(event.data.vast + "b") > 0`},
		{`event.data.short.lastIndexOf("a") == 4`, `event.data.vast.lastIndexOf(event.data.vast + "b") > 0`},
	}
	env, err := newEnv(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		if got, err := uncounted(t, env.plain, tt.good, data); err != nil || got != true {
			t.Errorf("%s gives %v, %v, want true", tt.good, got, err)
		}
		if _, err := uncounted(t, env.plain, tt.costly, data); err == nil || !strings.Contains(err.Error(), "what it is given is too large") {
			t.Errorf("%s gives %v, want that it is too large", tt.costly, err)
		}
	}
	engine, err := New("", nil, []Rule{{Name: "a", When: `event.data.many.join(event.data.long) == ""`, Jobs: disable()}})
	if err != nil {
		t.Fatal(err)
	}
	d := decideAll(t, engine, jobs.Event{Envelope: jobs.Envelope{Data: data}})[0]
	if d.Rejection == nil || !strings.Contains(d.Rejection.Detail, "join: what it is given is too large") {
		t.Errorf("the policy's decision is %+v, want that it is held", d)
	}
}

// uncounted evaluates an expression without a limit of its cost.
func uncounted(t *testing.T, in *cel.Env, expr string, data map[string]any) (any, error) {
	t.Helper()
	ast, issues := in.Compile(expr)
	if issues.Err() != nil {
		t.Fatal(issues.Err())
	}
	program, err := in.Program(ast, boundSteep(in))
	if err != nil {
		t.Fatal(err)
	}
	value, _, err := program.ContextEval(t.Context(), newView(jobs.Event{Envelope: jobs.Envelope{Data: data}}).variables())
	if err != nil {
		return nil, err
	}
	return value.Value(), nil
}
