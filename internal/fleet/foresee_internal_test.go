package fleet

import (
	"strings"
	"testing"

	"rekey/internal/bus"
	"rekey/internal/event"
	"rekey/internal/jobs"
)

// TestForeseeMark: a replay does not mark what had no mark.
func TestForeseeMark(t *testing.T) {
	t.Parallel()
	for reason, want := range map[string]bool{
		"source: is that of a door or a client of the HTTP API, and " + event.MarkMissing + ": only a worker may": true,
		"source: is that of a door or a client of the HTTP API, and Rekey-Mark is of another key":                 false,
	} {
		letter := bus.DeadLetter{Code: string(jobs.RejectIdentity), Reason: reason}
		if got := (&Foresight{}).event(t.Context(), &letter); strings.Contains(got, "a replay adds none") != want {
			t.Errorf("%s: %q", reason, got)
		}
	}
}
