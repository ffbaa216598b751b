package schedule

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func tickAt(minutes int) Tick {
	return Tick{Schedule: "a", At: midnight().Add(time.Duration(minutes) * time.Minute)}
}

func TestDecisionsAreKeptInOrder(t *testing.T) {
	var s State
	for _, minutes := range []int{10, 30, 20, 10} {
		s.note(tickAt(minutes).At, VerdictFired)
	}
	s.note(tickAt(20).At, VerdictOverlap)
	want := []Decision{{tickAt(10).At, VerdictFired}, {tickAt(20).At, VerdictOverlap}, {tickAt(30).At, VerdictFired}}
	if diff := cmp.Diff(want, s.Recent); diff != "" {
		t.Errorf("recent (-want +got):\n%s", diff)
	}
}

func TestDecisionsAreBounded(t *testing.T) {
	tests := []struct {
		name  string
		every time.Duration
		want  int
	}{
		{"rare ones for people", time.Hour, keptDecisions},
		{"those of two minutes for clocks that are behind", 2 * time.Second, 61},
		{"and not too many", time.Second / 2, maxDecisions},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s State
			for i := range 1000 {
				s.note(midnight().Add(time.Duration(i)*tt.every), VerdictFired)
			}
			if got := len(s.Recent); got != tt.want {
				t.Errorf("%d are kept, want %d", got, tt.want)
			}
		})
	}
}

func TestLose(t *testing.T) {
	tests := []struct {
		name string
		have Verdict
		want bool
	}{
		{"no worker has decided", "", true},
		{"it was to fire", VerdictFiring, true},
		{"it has fired", VerdictFired, false},
		{"it was left out", VerdictPaused, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := State{Settled: tickAt(0).At}
			if tt.have != "" {
				s.decide(tickAt(10), tt.have, "", midnight())
			}
			if got := s.lose(tickAt(10)); got != tt.want || s.Missed != map[bool]int{true: 1}[tt.want] {
				t.Errorf("lose() = %v with %d missed, want %v", got, s.Missed, tt.want)
			}
			if s.lose(tickAt(10)) {
				t.Error("it is lost a second time")
			}
			if !s.Settled.Equal(tickAt(10).At) {
				t.Errorf("settled is %s", s.Settled)
			}
		})
	}
}

// TestStateOfAFarFuture has what a worker wrote whose clock was a day ahead.
func TestStateOfAFarFuture(t *testing.T) {
	s := State{LastFire: tickAt(1440).At, Settled: tickAt(1440).At, Recent: []Decision{
		{tickAt(10).At, VerdictFired}, {tickAt(20).At, VerdictOverlap}, {tickAt(1440).At, VerdictFired},
	}}
	got := s.notAhead(tickAt(25).At)
	want := State{LastFire: tickAt(10).At, Settled: tickAt(25).At, Recent: s.Recent[:2]}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(s, s.notAhead(tickAt(1439).At.Add(30*time.Second))); diff != "" {
		t.Errorf("of one that is less than a minute ahead (-want +got):\n%s", diff)
	}
}

// TestDecidedAndNotFired has a worker that was lost between its decision and the event: another one fires the tick.
func TestDecidedAndNotFired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, notes := &memoryStore{}, &notebook{}
		state := stored(10 * time.Minute)
		state.note(midnight(), VerdictFiring)
		state.LastJob, state.LastJobAt = "a 00:00", midnight()
		store.put(t, "a", state)
		notes.unfinished = func(string) (bool, error) { return true, nil } // Of course: it does not exist.
		spec := Spec{Name: "a", Expr: mustParse(t, "*/10 * * * *", ""), Missed: MissedOnce, Overlap: OverlapSkip}
		runFor(t, 5*time.Minute, build(t, store, notes, spec))
		if diff := cmp.Diff([]string{"a 00:00 @ 00:00:02"}, notes.fired); diff != "" {
			t.Errorf("fired (-want +got):\n%s", diff)
		}
	})
}

// TestScheduleThatWasRemoved starts afresh when it is taken up again, and keeps what operators did.
func TestScheduleThatWasRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, notes := &memoryStore{}, &notebook{}
		state := stored(time.Hour)
		state.Removed = midnight().Add(-time.Minute)
		state.Operations = []Operation{{Action: ActionRun, By: "ops"}}
		store.put(t, "a", state)
		spec := Spec{Name: "a", Expr: mustParse(t, "*/10 * * * *", ""), Missed: MissedAll}
		runFor(t, 11*time.Minute, build(t, store, notes, spec))
		if diff := cmp.Diff([]string{"a 00:10 @ 00:10:00"}, notes.fired); diff != "" || len(notes.missed) != 0 {
			t.Errorf("fired (-want +got):\n%s\nmissed %v", diff, notes.missed)
		}
		got := store.state(t, "a")
		if !got.Since.Equal(midnight()) || !got.Removed.IsZero() || len(got.Operations) != 1 {
			t.Errorf("the state is %+v", got)
		}
	})
}

// TestRemovalThatIsNotTrue has another worker, which does not know the schedule yet, take it for removed.
func TestRemovalThatIsNotTrue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, notes := &memoryStore{}, &notebook{}
		stop := start(t, build(t, store, notes, Spec{Name: "a", Expr: mustParse(t, "@hourly", "")}))
		wait(t, time.Minute)
		state, revision, err := store.Load(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		state.Removed = time.Now()
		if _, err := store.Save(t.Context(), "a", state, revision); err != nil {
			t.Fatal(err)
		}
		wait(t, time.Minute)
		stop()
		if got := store.state(t, "a"); !got.Removed.IsZero() || !got.Since.Equal(midnight()) {
			t.Errorf("the state is %+v", got)
		}
	})
}

// TestScheduleThatOnlyOneWorkerHas: another worker, which does not have the schedule, must not make it lose the ticks that
// came while the only worker that has it was away.
func TestScheduleThatOnlyOneWorkerHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, notes := &memoryStore{}, &notebook{}
		spec := Spec{Name: "a", Expr: mustParse(t, "*/10 * * * *", ""), Missed: MissedAll, MaxLate: time.Hour}
		worker := func() *Scheduler {
			s := build(t, store, notes, spec)
			for _, r := range s.runners {
				r.keeper = "w1"
			}
			return s
		}
		leave := func(keeper string) {
			t.Helper()
			state, revision, err := store.Load(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			if state, changed := state.Leave(keeper, time.Now()); changed {
				if _, err := store.Save(t.Context(), "a", state, revision); err != nil {
					t.Fatal(err)
				}
			}
		}
		runFor(t, 11*time.Minute, worker())
		for range 30 { // It is away, and the other one looks every minute.
			wait(t, time.Minute)
			leave("w2")
		}
		runFor(t, time.Minute, worker())
		if got := len(notes.fired); got != 4 { // 00:10, and 00:20 to 00:40 when it is back.
			t.Errorf("fired %q", notes.fired)
		}
		leave("w1") // It was started without the schedule.
		if store.state(t, "a").Removed.IsZero() {
			t.Error("a schedule that no worker has is not removed")
		}
	})
}

// TestKeepers: a worker is waited for as long as it could make up for a tick, also when it went just before it would have been noted
// anew, and not for much longer.
func TestKeepers(t *testing.T) {
	t.Parallel()
	now := midnight()
	s := State{Since: now}
	s.keep("w1", time.Hour, now)
	if got, _ := s.Leave("w2", now.Add(30*time.Minute+time.Hour-time.Second)); !got.Removed.IsZero() {
		t.Error("one that went after half an hour is not waited for an hour")
	}
	s = State{Since: now}
	if !s.keep("w1", time.Hour, now) || s.keep("w1", time.Hour, now.Add(29*time.Minute)) || !s.keep("w1", time.Hour, now.Add(31*time.Minute)) {
		t.Error("it is not written once in half the time")
	}
	if got, changed := s.Leave("w2", now.Add(120*time.Minute)); changed || !got.Removed.IsZero() {
		t.Error("it is not waited for")
	}
	if got, changed := s.Leave("w2", now.Add(122*time.Minute)); !changed || got.Removed.IsZero() {
		t.Error("it is waited for longer than it could make up for a tick")
	}
	for i := range 100 {
		s.keep(fmt.Sprint("pod-", i), time.Hour, now.Add(time.Hour))
	}
	if len(s.Keepers) != maxKeepers || s.Keepers["pod-99"].IsZero() {
		t.Errorf("there are %d keepers", len(s.Keepers))
	}
}
