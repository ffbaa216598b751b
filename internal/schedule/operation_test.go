package schedule

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"rekey/internal/jobs"

	"github.com/google/go-cmp/cmp"
)

// operate does something to schedule a as an operator.
func operate(t *testing.T, store Store, action Action) State {
	t.Helper()
	state, err := Operate(t.Context(), store, "a", Operation{At: time.Now().UTC(), Action: action, By: "ops", Reason: "freeze"})
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, one, two := &memoryStore{}, &notebook{}, &notebook{}
		spec := Spec{Name: "a", Expr: mustParse(t, "*/10 * * * *", ""), Missed: MissedAll}
		fleet := func(d time.Duration) { runFor(t, d, build(t, store, one, spec), build(t, store, two, spec)) }
		fleet(15 * time.Minute)
		operate(t, store, ActionPause)
		fleet(20 * time.Minute) // A restart makes no difference: 00:20 and 00:30 are left out.
		if !one.paused["a"] || !one.next["a"].IsZero() {
			t.Errorf("the metrics say paused %v and next %s", one.paused["a"], one.next["a"])
		}
		wait(t, 10*time.Minute) // 00:40 comes in the pause and while no worker runs.
		operate(t, store, ActionResume)
		wait(t, 10*time.Minute) // 00:50 comes after the pause, and is made up for.
		fleet(10 * time.Minute)
		if diff := cmp.Diff([]string{"a 00:10 @ 00:10:00", "a 00:50 @ 00:55:00", "a 01:00 @ 01:00:00"}, union(one, two)); diff != "" {
			t.Errorf("fired (-want +got):\n%s", diff)
		}
		if got := len(one.skipped) + len(two.skipped); got != 3 || one.missed["a"]+two.missed["a"] != 0 {
			t.Errorf("skipped %q and %q, missed %v and %v; want 3 and 0", one.skipped, two.skipped, one.missed, two.missed)
		}
		state := store.state(t, "a")
		var actions []Action
		for _, op := range state.Operations {
			actions = append(actions, op.Action)
		}
		if diff := cmp.Diff([]Action{ActionPause, ActionResume}, actions); diff != "" || state.IsPaused() {
			t.Errorf("recorded (-want +got):\n%s\npaused: %v", diff, state.IsPaused())
		}
	})
}

// TestPauseBeforeTheFirstRun pauses a schedule that no worker has seen yet, and then changes it.
func TestPauseBeforeTheFirstRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, notes := &memoryStore{}, &notebook{}
		operate(t, store, ActionPause)
		for _, expr := range []string{"*/10 * * * *", "*/5 * * * *"} {
			runFor(t, 12*time.Minute, build(t, store, notes, Spec{Name: "a", Expr: mustParse(t, expr, "")}))
		}
		if len(notes.fired) != 0 {
			t.Errorf("fired %q", notes.fired)
		}
	})
}

func TestOperateHasNothingToDo(t *testing.T) {
	store := &memoryStore{}
	if _, err := Operate(t.Context(), store, "a", Operation{Action: ActionResume}); !errors.Is(err, ErrNotPaused) {
		t.Errorf("resuming: %v", err)
	}
	operate(t, store, ActionPause)
	if _, err := Operate(t.Context(), store, "a", Operation{Action: ActionPause}); !errors.Is(err, ErrPaused) {
		t.Errorf("pausing again: %v", err)
	}
	if state := operate(t, store, ActionRun); !state.IsPaused() {
		t.Error("running it by hand has ended the pause")
	}
}

func TestOperateRaces(t *testing.T) {
	store := &memoryStore{}
	races := 0
	store.fail = func(call string) error {
		if races++; call == "save" && races < 6 {
			return jobs.ErrConflict
		}
		return nil
	}
	if state := operate(t, store, ActionPause); !state.IsPaused() {
		t.Error("it is not paused")
	}
	store.fail = func(call string) error {
		if call == "save" {
			return jobs.ErrConflict
		}
		return nil
	}
	if _, err := Operate(t.Context(), store, "a", Operation{Action: ActionResume}); !errors.Is(err, jobs.ErrConflict) {
		t.Errorf("with another writer that is always faster: %v", err)
	}
}

func TestOperationsAreBounded(t *testing.T) {
	store := &memoryStore{}
	for range maxOperations + 5 {
		operate(t, store, ActionRun)
	}
	if got := len(store.state(t, "a").Operations); got != maxOperations {
		t.Errorf("%d operations are kept, want %d", got, maxOperations)
	}
}
