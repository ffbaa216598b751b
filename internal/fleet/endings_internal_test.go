package fleet

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/search"
)

// TestEndings: the latest end that a worker knows counts, and a person must act two weeks before.
func TestEndings(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	in := func(days int) time.Time { return now.AddDate(0, 0, days) }
	s := Status{At: now, Workers: []search.Present{
		{Ends: map[string]map[string]time.Time{"secret": {"security": in(3), "spare": in(15)}, "certificate": {"batch": in(13)}, "mcp_secret": {"security": in(10)}}},
		{Ends: map[string]map[string]time.Time{"secret": {"security": in(90)}, "certificate": {"old": in(-1), "batch": in(12)}}},
		{},
	}}
	s.statusEndings()
	want := []Ending{
		{"certificate", "old", in(-1)}, {"mcp_secret", "security", in(10)}, {"certificate", "batch", in(13)}, {"secret", "spare", in(15)}, {"secret", "security", in(90)},
	}
	if diff := cmp.Diff(want, s.Ends); diff != "" {
		t.Errorf("what ends (-want +got):\n%s", diff)
	}
	var says []string
	for _, a := range s.Act {
		says = append(says, a.Who+": "+a.What)
	}
	wantSays := []string{
		"operator: the last certificate of old ended at 2026-11-30T00:00:00Z", "operator: the last secret of MCP configuration security ends at 2026-12-11T00:00:00Z",
		"operator: the last certificate of batch ends at 2026-12-14T00:00:00Z",
	}
	if diff := cmp.Diff(wantSays, says); diff != "" {
		t.Errorf("a person must (-want +got):\n%s", diff)
	}
}
