package apptest

import (
	"strings"
	"testing"

	"rekey/internal/jobs"
)

// Tally holds what is true of every acknowledged event whatever was killed on the way: each
// target from 0 to n has exactly one result, which is a success, and no call that was not
// needed: a second one only when it is not known what became of the first, and then the
// result says so. It returns how many calls were repeated for that.
func (s *Stranger) Tally(t *testing.T, atlas *StandIn, n int) (repeated int) {
	t.Helper()
	results := map[string][]jobs.PublicRecord{}
	for _, r := range s.Results(n) {
		project := r.Record.Params["project_id"]
		results[project] = append(results[project], r.Record)
	}
	calls := map[string]int{}
	for _, c := range atlas.Requests("/userSecurity/customerX509") {
		calls[projectOf(c.URI)]++
	}
	for i := range n {
		project := HexID(i)
		if len(results[project]) != 1 {
			t.Errorf("project %d has %d results, want 1: %s", i, len(results[project]), Encoded(results[project]))
			continue
		}
		r := results[project][0]
		switch {
		case !r.Outcome.Success():
			t.Errorf("project %d is %s: %s", i, r.Outcome, r.Detail)
		case calls[project] < 1:
			t.Errorf("project %d is %s without a call", i, r.Outcome)
		case calls[project] > 1 && r.AttemptsMaybeEffective < calls[project]:
			t.Errorf("project %d was called %d times, and %d attempts may have had an effect: %s", i, calls[project], r.AttemptsMaybeEffective, Encoded(r))
		}
		repeated += calls[project] - 1
	}
	if len(results) != n {
		t.Errorf("%d projects have results, want %d", len(results), n)
	}
	return repeated
}

// projectOf is the project in the path of a call to x509.disable.
func projectOf(uri string) string {
	_, rest, _ := strings.Cut(uri, "/groups/")
	project, _, _ := strings.Cut(rest, "/")
	return project
}
