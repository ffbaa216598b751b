package fleet

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/bus"
)

func TestLetterFilter(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	letter := bus.DeadLetter{Number: 5, Code: "refused", Kind: "idp.delete", JobID: "abc1", Receiver: "siem", At: at}
	for _, tt := range []struct {
		name   string
		filter LetterFilter
		want   bool
	}{
		{"empty", LetterFilter{}, true},
		{"in the second range", LetterFilter{Numbers: []Span{{1, 1}, {3, 5}}}, true},
		{"in none", LetterFilter{Numbers: []Span{{1, 4}, {6, 9}}}, false},
		{"all at once", LetterFilter{Code: "refused", Kind: "idp.delete", Job: "abc", Receiver: "siem", Since: at}, true},
		{"code", LetterFilter{Code: "exhausted"}, false},
		{"kind", LetterFilter{Kind: "idp"}, false},
		{"job", LetterFilter{Job: "b"}, false},
		{"receiver", LetterFilter{Receiver: "chat"}, false},
		{"age", LetterFilter{Since: at.Add(time.Second)}, false},
	} {
		if got := tt.filter.Chooses(&letter); got != tt.want {
			t.Errorf("%s: chosen %t, want %t", tt.name, got, tt.want)
		}
	}
}

// TestCauses: what differs in ids, times and addresses alone has one cause.
func TestCauses(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	letter := func(n uint64, code, kind, reason string) bus.DeadLetter {
		return bus.DeadLetter{Number: n, Code: code, Kind: kind, Reason: reason, At: at.Add(time.Duration(n) * time.Minute)}
	}
	got := Causes([]bus.DeadLetter{
		letter(9, "malformed", "", "line 2: kind: unknown kind"),
		letter(7, "refused", "x509.disable", "not_found: HTTP 404 GROUP_NOT_FOUND: No group with ID 000000000000000000000002 exists."),
		letter(6, "refused", "x509.disable", "forbidden: HTTP 403"),
		letter(4, "refused", "x509.disable", "not_found: HTTP 404 GROUP_NOT_FOUND: No group with ID 000000000000000000000001 exists."),
		letter(3, "refused", "x509.disable", "not_found: HTTP 404 GROUP_NOT_FOUND: No group with ID 5ec0000000000000000000f1 exists."),
		letter(2, "malformed", "", "line 3: kind: unknown kind"),
	})
	want := []Cause{
		{
			Letters: 3, Code: "refused", Kind: "x509.disable", Numbers: "3-4 7", First: at.Add(3 * time.Minute), Last: at.Add(7 * time.Minute),
			Reason: "not_found: HTTP 404 GROUP_NOT_FOUND: No group with ID 000000000000000000000002 exists.",
		},
		{Letters: 1, Code: "malformed", Numbers: "9", Reason: "line 2: kind: unknown kind", First: at.Add(9 * time.Minute), Last: at.Add(9 * time.Minute)},
		{Letters: 1, Code: "refused", Kind: "x509.disable", Numbers: "6", Reason: "forbidden: HTTP 403", First: at.Add(6 * time.Minute), Last: at.Add(6 * time.Minute)},
		{Letters: 1, Code: "malformed", Numbers: "2", Reason: "line 3: kind: unknown kind", First: at.Add(2 * time.Minute), Last: at.Add(2 * time.Minute)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("causes (-want +got):\n%s", diff)
	}
	if got := Causes(nil); len(got) != 0 {
		t.Errorf("no letters have the causes %v", got)
	}
}
