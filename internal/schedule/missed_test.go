package schedule

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// stored returns the state of a schedule "*/10 * * * *" that last fired so long before midnight.
func stored(before time.Duration) State {
	at := midnight().Add(-before)
	return State{LastFire: at, Settled: at, Since: at.Add(-time.Hour), Fingerprint: "*/10 * * * * UTC"}
}

func TestMissedWhileNoWorkerRan(t *testing.T) {
	tests := []struct {
		name    string
		missed  Missed
		maxLate time.Duration
		away    time.Duration
		// wantFired leaves out 00:10, which fires in any case.
		wantFired  []string
		wantMissed int
	}{
		{"skip", MissedSkip, 0, time.Hour, nil, 6},
		{"once", MissedOnce, 0, time.Hour, []string{"a 00:00 @ 00:00:00"}, 5},
		{"once is the default", "", 0, time.Hour, []string{"a 00:00 @ 00:00:00"}, 5},
		{"once, nothing missed", MissedOnce, 0, 0, nil, 0},
		{"all", MissedAll, 0, 30 * time.Minute, []string{"a 23:40 @ 00:00:00", "a 23:50 @ 00:00:00", "a 00:00 @ 00:00:00"}, 0},
		{"all within max_late", MissedAll, 10 * time.Minute, 24 * time.Hour, []string{"a 23:50 @ 00:00:00", "a 00:00 @ 00:00:00"}, 142},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, notes := &memoryStore{}, &notebook{}
				store.put(t, "a", stored(tt.away))
				spec := Spec{Name: "a", Expr: mustParse(t, "*/10 * * * *", ""), Missed: tt.missed, MaxLate: tt.maxLate}
				runFor(t, 15*time.Minute, build(t, store, notes, spec))
				want := slices.Concat(tt.wantFired, []string{"a 00:10 @ 00:10:00"})
				if diff := cmp.Diff(want, notes.fired); diff != "" {
					t.Errorf("fired (-want +got):\n%s", diff)
				}
				if notes.missed["a"] != tt.wantMissed {
					t.Errorf("missed %d, want %d", notes.missed["a"], tt.wantMissed)
				}
				// What was passed over is settled: the next start does not find it again.
				again := &notebook{}
				runFor(t, time.Minute, build(t, store, again, spec))
				if again.missed["a"] != 0 || len(again.fired) != 0 {
					t.Errorf("after another start %d were missed and fired: %q", again.missed["a"], again.fired)
				}
				if want := midnight().Add(10 * time.Minute); !again.last["a"].Equal(want) {
					t.Errorf("after another start the last fire is %s, want %s", again.last["a"], want)
				}
			})
		})
	}
}

func TestMissedWithinTheDefaultLateness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, notes := &memoryStore{}, &notebook{}
		store.put(t, "a", stored(48*time.Hour))
		spec := Spec{Name: "a", Expr: mustParse(t, "*/10 * * * *", ""), Missed: MissedAll}
		core, logs := observer.New(zap.InfoLevel)
		s, err := New(Config{Schedules: []Spec{spec}, Fire: notes, Store: store, Jobs: notes, Metrics: notes, Logger: zap.New(core)})
		if err != nil {
			t.Fatal(err)
		}
		runFor(t, time.Minute, s)
		// 24 hours are 144 ticks, and there is one at both of their ends.
		if len(notes.fired) != 145 || notes.missed["a"] != 143 {
			t.Errorf("fired %d and missed %d, want 145 and 143", len(notes.fired), notes.missed["a"])
		}
		want := []map[string]any{{
			"schedule": "a", "not_run": int64(143), "made_up": int64(145), "policy": "all", "latest": midnight(),
		}}
		var got []map[string]any
		for _, entry := range logs.All() {
			got = append(got, entry.ContextMap())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("logged (-want +got):\n%s", diff)
		}
	})
}

// TestTwoWorkersCatchUp has both find the same missed ticks: each of them fires, and in its order on each worker.
func TestTwoWorkersCatchUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, one, two := &memoryStore{}, &notebook{}, &notebook{}
		store.put(t, "a", stored(10*time.Hour))
		spec := Spec{Name: "a", Expr: mustParse(t, "*/10 * * * *", ""), Missed: MissedAll}
		runFor(t, time.Minute, build(t, store, one, spec), build(t, store, two, spec))
		times := map[time.Time]bool{}
		for _, notes := range []*notebook{one, two} {
			if !slices.IsSortedFunc(notes.ticks, time.Time.Compare) {
				t.Errorf("fired out of order: %s", notes.ticks)
			}
			for _, at := range notes.ticks {
				times[at] = true
			}
		}
		if len(times) != 60 {
			t.Errorf("%d different ticks fired, want 60", len(times))
		}
		if got := store.state(t, "a").Settled; !got.Equal(midnight()) {
			t.Errorf("settled is %s, want %s", got, midnight())
		}
	})
}

// TestAnotherWorkerCatchesUpFaster lets another worker get to 23:30 while this one fires the tick of 23:10.
func TestAnotherWorkerCatchesUpFaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, notes := &memoryStore{}, &notebook{}
		store.put(t, "a", stored(time.Hour))
		notes.fail = func(ctx context.Context, tick Tick) error {
			if tick.At.Minute() != 10 {
				return nil
			}
			_, revision, err := store.Load(ctx, "a")
			if err != nil {
				return err
			}
			_, err = store.Save(ctx, "a", stored(30*time.Minute), revision)
			return err
		}
		spec := Spec{Name: "a", Expr: mustParse(t, "*/10 * * * *", ""), Missed: MissedAll}
		runFor(t, time.Minute, build(t, store, notes, spec))
		want := []string{"a 23:10 @ 00:00:00", "a 23:40 @ 00:00:00", "a 23:50 @ 00:00:00", "a 00:00 @ 00:00:00"}
		if diff := cmp.Diff(want, notes.fired); diff != "" {
			t.Errorf("fired (-want +got):\n%s", diff)
		}
	})
}

func TestLateIsMissedAfterAMinute(t *testing.T) {
	// The tick of 00:10 is attempted at 00:10:00, :01, :03, :07, :15, :31, 00:11:03 and then once a minute.
	tests := []struct {
		name       string
		over       time.Duration
		wantFired  []string
		wantMissed int
	}{
		{"the next one is 3 s late", 11*time.Minute + 3*time.Second, []string{"a 00:10 @ 00:11:03", "a 00:11 @ 00:11:03", "a 00:12 @ 00:12:00"}, 0},
		{"the next one is 63 s late", 11*time.Minute + 4*time.Second, []string{"a 00:10 @ 00:12:03"}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				notes := &notebook{}
				notes.fail = func(context.Context, Tick) error {
					if time.Since(midnight()) < tt.over {
						return errors.New("no responders")
					}
					return nil
				}
				spec := Spec{Name: "a", Expr: mustParse(t, "10-12 0 * * *", ""), Missed: MissedSkip}
				runFor(t, 20*time.Minute, build(t, &memoryStore{}, notes, spec))
				if diff := cmp.Diff(tt.wantFired, notes.fired); diff != "" {
					t.Errorf("fired (-want +got):\n%s", diff)
				}
				if notes.missed["a"] != tt.wantMissed {
					t.Errorf("missed %d, want %d", notes.missed["a"], tt.wantMissed)
				}
			})
		})
	}
}

func TestMissedDuringAnOutage(t *testing.T) {
	// The tick of 01:00 is attempted from 01:00:00 on and once a minute at last, so for the last time at 04:05:03.
	tests := []struct {
		name       string
		missed     Missed
		wantFired  []string
		wantMissed int
	}{
		{"skip", MissedSkip, []string{"a 01:00 @ 04:05:03", "a 05:00 @ 05:00:00"}, 3},
		{"once", MissedOnce, []string{"a 01:00 @ 04:05:03", "a 04:00 @ 04:05:03", "a 05:00 @ 05:00:00"}, 2},
		{
			"all", MissedAll,
			[]string{"a 01:00 @ 04:05:03", "a 02:00 @ 04:05:03", "a 03:00 @ 04:05:03", "a 04:00 @ 04:05:03", "a 05:00 @ 05:00:00"},
			0,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				notes := &notebook{}
				over := midnight().Add(4*time.Hour + 5*time.Minute)
				notes.fail = func(context.Context, Tick) error {
					if time.Now().Before(over) {
						return errors.New("no responders")
					}
					return nil
				}
				spec := Spec{Name: "a", Expr: mustParse(t, "@hourly", ""), Missed: tt.missed}
				runFor(t, 5*time.Hour+30*time.Minute, build(t, &memoryStore{}, notes, spec))
				if diff := cmp.Diff(tt.wantFired, notes.fired); diff != "" {
					t.Errorf("fired (-want +got):\n%s", diff)
				}
				if notes.missed["a"] != tt.wantMissed {
					t.Errorf("missed %d, want %d", notes.missed["a"], tt.wantMissed)
				}
			})
		})
	}
}

func TestChangedScheduleStartsAfresh(t *testing.T) {
	tests := []struct {
		name, expr, zone string
		stored           State
	}{
		{"other expression", "*/20 * * * *", "", stored(time.Hour)},
		{"other zone", "*/10 * * * *", "Asia/Tokyo", stored(time.Hour)},
		{"a record without times", "*/10 * * * *", "", State{Fingerprint: "*/10 * * * * UTC"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, notes := &memoryStore{}, &notebook{}
				store.put(t, "a", tt.stored)
				spec := Spec{Name: "a", Expr: mustParse(t, tt.expr, tt.zone), Missed: MissedAll}
				runFor(t, 5*time.Minute, build(t, store, notes, spec))
				if len(notes.fired) != 0 || notes.missed["a"] != 0 {
					t.Errorf("fired %q and missed %d ticks from before it was changed", notes.fired, notes.missed["a"])
				}
				want := State{Settled: midnight(), Since: midnight(), Fingerprint: spec.Expr.fingerprint()}
				if diff := cmp.Diff(want, store.state(t, "a")); diff != "" {
					t.Errorf("stored (-want +got):\n%s", diff)
				}
			})
		})
	}
}
