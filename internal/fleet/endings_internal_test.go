package fleet

import (
	"strings"
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
		{SecretsEnd: map[string]time.Time{"security": in(3), "spare": in(15)}, CertificatesEnd: map[string]time.Time{"batch": in(13)}},
		{SecretsEnd: map[string]time.Time{"security": in(90)}, CertificatesEnd: map[string]time.Time{"old": in(-1), "batch": in(12)}},
		{},
	}}
	s.statusEndings()
	want := []Ending{{"certificate", "old", in(-1)}, {"certificate", "batch", in(13)}, {"secret", "spare", in(15)}, {"secret", "security", in(90)}}
	if diff := cmp.Diff(want, s.Ends); diff != "" {
		t.Errorf("what ends (-want +got):\n%s", diff)
	}
	var says []string
	for _, a := range s.Act {
		says = append(says, a.Who+": "+a.What)
	}
	if got := strings.Join(says, "\n"); got != "operator: the last certificate of old ended at 2026-11-30T00:00:00Z\noperator: the last certificate of batch ends at 2026-12-14T00:00:00Z" {
		t.Errorf("a person must:\n%s", got)
	}
}
