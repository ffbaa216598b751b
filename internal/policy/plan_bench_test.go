package policy

import (
	"fmt"
	"strings"
	"testing"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// everyAccount takes every name of an account.
type everyAccount struct{}

func (everyAccount) Resolve(_ jobs.Kind, name string) (string, error) { return name, nil }

// projects is an event that lists so many projects, of which so many are different.
func projects(t testing.TB, n, different int) jobs.Event {
	t.Helper()
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`"%024x"`, i%different)
	}
	return event(t, `{"projects":[`+strings.Join(list, ",")+`]}`)
}

// disableEach asks for a job for each project of an event.
func disableEach(limit int) Rule {
	return Rule{
		Name: "rule", Limits: jobs.Limits{MaxJobsPerEvent: limit},
		Jobs: []Job{{Kind: kinds.X509Disable, ForEach: "event.data.projects", Account: `"security"`, Params: map[string]Expr{"project_id": "item"}}},
	}
}

// BenchmarkPlan plans events of ever more elements: what all of them cost grows as they do, and what
// exceeds a limit costs no more than what comes up to it.
func BenchmarkPlan(b *testing.B) {
	for _, n := range []int{100, 1_000, 10_000} {
		for _, bench := range []struct {
			name             string
			different, limit int
		}{
			{name: "all different", different: n, limit: jobs.MaxJobsPerEvent},
			{name: "all the same", different: 1, limit: jobs.MaxJobsPerEvent},
			{name: "over the limit", different: n, limit: 50},
		} {
			b.Run(fmt.Sprintf("%s/%d", bench.name, n), func(b *testing.B) {
				engine, err := New("", accounts, []Rule{disableEach(bench.limit)})
				if err != nil {
					b.Fatal(err)
				}
				rules := &jobs.Rules{Decider: engine, Accounts: everyAccount{}}
				e := projects(b, n, bench.different)
				b.ReportAllocs()
				for b.Loop() {
					rules.Plan(b.Context(), e, e.At)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/element")
			})
		}
	}
}
