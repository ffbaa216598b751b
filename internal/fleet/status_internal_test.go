package fleet

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/bus"
	"rekey/internal/readiness"
	"rekey/internal/schedule"
	"rekey/internal/search"
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

// TestStatusOfReadiness: what workers say of themselves is to be done first, and what they do not say is not known.
func TestStatusOfReadiness(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	well := search.Present{Worker: "well", Readiness: &readiness.Report{Status: readiness.Ready, Checks: []readiness.Result{{Name: "nats", OK: true}}}}
	ill := search.Present{Worker: "ill", Readiness: &readiness.Report{Status: readiness.NotReady, Checks: []readiness.Result{
		{Name: "nats", OK: true}, {Name: "streams", Error: "one\ntwo\nthree\nfour", Since: since},
	}}}
	const says = "worker ill is not ready (streams, seen since 2026-11-24T03:00:00Z): one; two; and 2 more"
	for _, tt := range []struct {
		name    string
		workers []search.Present
		seen    bus.Attendance
		act     []string
		unknown int
		silent  bool
	}{
		{"well", []search.Present{well}, bus.Attended, nil, 0, false},
		{"stopping", []search.Present{{Worker: "s", Readiness: &readiness.Report{Status: readiness.Stopping}}, well}, bus.Attended, nil, 0, false},
		{"not ready", []search.Present{ill, well}, bus.Attended, []string{says}, 0, false},
		{"not ready, and asks for nothing", []search.Present{ill}, bus.Unattended, []string{says}, 0, false},
		{"ready, and asks for nothing", []search.Present{well}, bus.Unattended, []string{"no worker asks for events and jobs, of 1 that answer"}, 0, false},
		{"does not tell", []search.Present{{Worker: "old"}}, bus.Attended, nil, 1, false},
		{"there is none", nil, bus.Unattended, []string{"no worker is connected"}, 0, false},
		{"hangs", nil, bus.Unattended, []string{"a worker is connected and does not answer; a worker took or settled something last at 2026-11-24T03:00:00Z"}, 0, true},
	} {
		s := Status{Workers: tt.workers}
		s.statusReadiness()
		s.statusFleet(bus.Fleet{Attendance: tt.seen, Silent: tt.silent, Heard: since})
		var act []string
		for _, a := range s.Act {
			act = append(act, a.What)
		}
		if diff := cmp.Diff(tt.act, act); diff != "" || len(s.Unknown) != tt.unknown {
			t.Errorf("%s: not known %q; to be done (-want +got):\n%s", tt.name, s.Unknown, diff)
		}
	}
}

// TestActAlive: each choice of states leads to the list that has them.
func TestActAlive(t *testing.T) {
	t.Parallel()
	for want, n := range map[string][2]int{
		"worker proof ls --state still_alive": {2, 0}, "worker proof ls --state reverted": {0, 1}, "worker proof ls": {2, 1}, "": {},
	} {
		var s Status
		s.actAlive(n[0], n[1])
		got := ""
		for _, a := range s.Act {
			got += a.Do
		}
		if got != want {
			t.Errorf("of %v the status says %q, want %q", n, got, want)
		}
	}
}
