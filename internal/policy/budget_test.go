package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// TestBudget: what an event costs a policy is bounded as a whole, however little each expression costs, and
// however the event is made.
func TestBudget(t *testing.T) {
	many := make([]string, jobs.MaxJobsPerEvent)
	for i := range many {
		many[i] = fmt.Sprintf(`"%024x"`, i)
	}
	e := event(t, `{"projects":[`+strings.Join(many, ",")+`]}`)
	each := func(param Expr) []Job {
		return []Job{{Kind: kinds.X509Disable, ForEach: "event.data.projects", Params: map[string]Expr{"project_id": param}}}
	}
	tests := []struct {
		name  string
		rule  Rule
		field string // That is held; "" for none.
		want  string
	}{
		{name: "each element is cheap", rule: Rule{Jobs: each("item")}},
		{
			name: "all elements together are dear", rule: Rule{Jobs: each(`event.data.projects.exists(x, x == item) ? item : ""`)},
			field: "jobs[0].params.project_id", want: "the event has cost this policy the 2000000 steps that it may",
		},
		{
			name: "every element with every other", rule: Rule{When: `event.data.projects.exists(x, event.data.projects.exists(y, x == y + "z"))`, Jobs: disable()},
			field: "when", want: "actual cost limit exceeded",
		},
		{
			name: "many entries", field: "jobs[", want: "the event has cost this policy",
			rule: Rule{Jobs: slices.Repeat([]Job{dear("event.data.projects")}, 200)},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := decide(t, tt.rule, e)
			switch {
			case tt.field == "" && (d.Rejection != nil || len(d.Requests) != jobs.MaxJobsPerEvent):
				t.Errorf("held %v with %d requests", d.Rejection, len(d.Requests))
			case tt.field != "" && (d.Rejection == nil || !strings.HasPrefix(d.Rejection.Field, tt.field) || !strings.Contains(d.Rejection.Detail, tt.want) || d.Rejection.Code != jobs.RejectPolicy):
				t.Errorf("held %v, want %s: %s", d.Rejection, tt.field, tt.want)
			}
			if d.Cost == 0 || d.Cost > Budget+costLimit+1 {
				t.Errorf("the event cost %d steps", d.Cost)
			}
		})
	}
}

// dear asks for no job, at a high price.
func dear(list string) Job {
	return Job{Kind: kinds.X509Disable, ForEach: Expr(list + `.filter(x, x.startsWith("z"))`), Params: map[string]Expr{"project_id": "item"}}
}

// TestCostlyEventsAsk: the policies ask once before they spend much on an event, and stop where they may not.
func TestCostlyEventsAsk(t *testing.T) {
	rules := []Rule{
		{Name: "a", When: `event.data.projects.exists(x, x == "")`, Jobs: disable()},
		{Name: "b", Jobs: []Job{dear("event.data.projects")}},
		{Name: "c", Jobs: disable()},
	}
	for _, tt := range []struct {
		elements   int
		busy       bool
		asked      int
		wantBroken bool
	}{
		{elements: 100},
		{elements: 9_000, asked: 1},
		{elements: 9_000, busy: true, asked: 3, wantBroken: true},
	} {
		e, l := projects(t, tt.elements, tt.elements), listener{busy: tt.busy}
		broken := false
		for _, d := range engine(t, rules...).Decide(t.Context(), e, &l) {
			broken = broken || d.Rejection != nil
		}
		if l.asked > tt.asked || tt.asked > 0 && l.asked == 0 || broken != tt.wantBroken {
			t.Errorf("%+v: asked %d times, broken %t", tt, l.asked, broken)
		}
	}
}

// TestStoppedEarly: a policy whose planner has enough makes no further request, and what was not
// looked at counts as secret where the policy takes secrets.
func TestStoppedEarly(t *testing.T) {
	list := make([]string, 1000)
	for i := range list {
		list[i] = fmt.Sprintf(`{"s":"%s-%d","n":"note %d"}`, canary, i, i)
	}
	e := event(t, `{"l":[`+strings.Join(list, ",")+`]}`)
	rule := Rule{Name: "a", Jobs: []Job{{Kind: kinds.TokenRevoke, ForEach: "event.data.l", Account: `"security"`, Params: map[string]Expr{"token": "item.s"}}}}
	l := listener{most: 3}
	d := engine(t, rule).Decide(t.Context(), e, &l)[0]
	if len(l.taken["a"]) != 3 || d.Rejection != nil || !d.Matched {
		t.Errorf("%d requests were made, held %v", len(l.taken["a"]), d.Rejection)
	}
	distinct := map[string]bool{}
	for _, value := range d.InClear {
		distinct[value.Reveal()] = true
	}
	if len(distinct) < jobs.MostTexts {
		t.Errorf("%d texts count as secret, want at least %d", len(distinct), jobs.MostTexts)
	}
	// Of an event with few texts, all of them.
	few := event(t, `{"l":[{"s":"`+canary+`-0"},{"s":7},{"s":"`+canary+`-2"}]}`)
	d = decide(t, rule, few).Decision
	found := false
	for _, value := range d.InClear {
		found = found || value.Reveal() == canary+"-2"
	}
	if d.Rejection == nil || !found {
		t.Errorf("held %v; the secret behind the error is known: %t", d.Rejection, found)
	}
	// Where the policy takes no secrets, it finds none.
	if d := decide(t, disableEach(0), event(t, `{"projects":["x"]}`)); d.Rejection == nil || len(d.InClear) > 0 {
		t.Errorf("held %v with %d secrets", d.Rejection, len(d.InClear))
	}
}

// TestUnreadSecret: the secret of a job whose expressions err is known all the same, whichever erred and whatever it gave.
func TestUnreadSecret(t *testing.T) {
	tests := []struct {
		name, org, secret, event string
		want                     bool
	}{
		{"another expression errs before", `event.data.org`, `event.data.leak`, `{"leak":"` + canary + `"}`, true},
		{"a list", `"5ec0000000000000000000b1"`, `event.data.leak`, `{"leak":["` + canary + `"]}`, true},
		{"an object", `"5ec0000000000000000000b1"`, `event.data.leak`, `{"leak":{"value":"` + canary + `"}}`, true},
		{"an expression that fits no list", `"5ec0000000000000000000b1"`, `event.data.leak.trim()`, `{"leak":["` + canary + `"]}`, true},
		{"no member", `"5ec0000000000000000000b1"`, `event.data.leak`, `{"title":"` + canary + `"}`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rule := Rule{Name: "a", Jobs: []Job{{Kind: kinds.LeakContain, Account: `"security"`, Params: map[string]Expr{"org_id": Expr(tt.org), "secret": Expr(tt.secret)}}}}
			d := decide(t, rule, event(t, tt.event)).Decision
			found := false
			for _, value := range d.InClear {
				found = found || value.Reveal() == canary
			}
			if d.Rejection == nil || found != tt.want {
				t.Errorf("held %v; the secret is known: %t", d.Rejection, found)
			}
		})
	}
}

// TestPlanIsLinear: ten times the elements cost about ten times as much.
func TestPlanIsLinear(t *testing.T) {
	allocations := func(n, different int) float64 {
		rules := &jobs.Rules{Decider: engine(t, disableEach(jobs.MaxJobsPerEvent)), Accounts: everyAccount{}}
		e := projects(t, n, different)
		return testing.AllocsPerRun(1, func() { rules.Plan(t.Context(), e, e.At) })
	}
	for _, same := range []bool{false, true} {
		few, many := allocations(200, 200), allocations(2000, 2000)
		if same {
			few, many = allocations(200, 1), allocations(2000, 1)
		}
		if many > 12*few {
			t.Errorf("same targets %t: 200 elements make %.0f allocations, 2000 make %.0f", same, few, many)
		}
	}
}
