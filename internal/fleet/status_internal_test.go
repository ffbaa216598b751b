package fleet

import (
	"testing"
	"time"

	"rekey/internal/schedule"
)

// TestLateTick: a tick is late when it is due for a minute and no worker has dealt with it.
func TestLateTick(t *testing.T) {
	t.Parallel()
	expr, err := schedule.Parse("0 3 * * *", "UTC")
	if err != nil {
		t.Fatal(err)
	}
	spec := schedule.Spec{Name: "nightly", Expr: expr}
	tick := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	before := schedule.State{Settled: tick.AddDate(0, 0, -1)}
	for _, tt := range []struct {
		name  string
		state schedule.State
		now   time.Time
		want  bool
	}{
		{"not due", before, tick.Add(-time.Second), false},
		{"just due", before, tick.Add(59 * time.Second), false},
		{"late", before, tick.Add(time.Minute), true},
		{"dealt with", schedule.State{Settled: tick}, tick.Add(time.Hour), false},
		{"not begun", schedule.State{}, tick.Add(time.Hour), false},
		{"paused", schedule.State{Settled: before.Settled, Pause: schedule.Operation{Action: schedule.ActionPause, At: tick}}, tick.Add(time.Hour), false},
		{"removed", schedule.State{Settled: before.Settled, Removed: tick}, tick.Add(time.Hour), false},
	} {
		if _, got := lateTick(spec, tt.state, tt.now); got != tt.want {
			t.Errorf("%s: late %t, want %t", tt.name, got, tt.want)
		}
	}
}
