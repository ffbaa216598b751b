package schedule

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// midnight is when every bubble begins.
func midnight() time.Time { return time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC) }

func TestNewRefuses(t *testing.T) {
	daily := mustParse(t, "@daily", "")
	store, notes := &memoryStore{}, &notebook{}
	tests := []struct {
		name string
		cfg  Config
		want string
	}{
		{"no parts", Config{}, "building the scheduler: Fire, Store, Jobs and Metrics are required"},
		{
			"several mistakes",
			Config{
				Fire: notes, Store: store, Jobs: notes, Metrics: notes,
				Schedules: []Spec{{Name: "a", Expr: daily}, {Name: "a", Expr: daily}, {Name: "b", Expr: daily, Jitter: -1}},
			},
			"building the scheduler: schedule \"a\": the name is used twice\nschedule \"b\": the jitter -1ns is negative",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := New(tt.cfg); err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestRunFiresOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, notes := &memoryStore{}, &notebook{}
		s := build(t, store, notes,
			Spec{Name: "hourly", Expr: mustParse(t, "@hourly", "")},
			Spec{Name: "kathmandu", Expr: mustParse(t, "0 7 * * *", "Asia/Kathmandu")},
			Spec{Name: "yearly", Expr: mustParse(t, "@yearly", "")})
		if got, want := s.Status()[0].Next, midnight().Add(time.Hour); !got.Equal(want) {
			t.Errorf("before Run the next tick is %s, want %s", got, want)
		}
		runFor(t, 150*time.Minute, s)

		want := []string{"hourly 01:00 @ 01:00:00", "kathmandu 01:15 @ 01:15:00", "hourly 02:00 @ 02:00:00"}
		if diff := cmp.Diff(want, notes.fired); diff != "" {
			t.Errorf("fired (-want +got):\n%s", diff)
		}
		two, three := midnight().Add(2*time.Hour), midnight().Add(3*time.Hour)
		if !notes.last["hourly"].Equal(two) || !notes.next["hourly"].Equal(three) {
			t.Errorf("recorded last %s and next %s, want %s and %s", notes.last["hourly"], notes.next["hourly"], two, three)
		}
		wantState := State{LastFire: two, Settled: two, Since: midnight(), Fingerprint: "@hourly UTC"}
		if diff := cmp.Diff(wantState, store.state(t, "hourly")); diff != "" {
			t.Errorf("stored (-want +got):\n%s", diff)
		}
		wantState = State{Settled: midnight(), Since: midnight(), Fingerprint: "@yearly UTC"}
		if diff := cmp.Diff(wantState, store.state(t, "yearly")); diff != "" {
			t.Errorf("stored for a schedule that has not fired (-want +got):\n%s", diff)
		}
		wantStatus := Status{Name: "hourly", Expr: "@hourly", Zone: "UTC", Last: two, Next: three}
		if diff := cmp.Diff(wantStatus, s.Status()[0]); diff != "" {
			t.Errorf("status (-want +got):\n%s", diff)
		}
		if len(notes.missed) != 0 {
			t.Errorf("missed %v, want none", notes.missed)
		}
		if err := s.Run(t.Context()); err == nil {
			t.Error("Run let itself be called twice")
		}
	})
}

func TestRunFiresAfterTheJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		notes := &notebook{}
		var fired []Tick
		notes.fail = func(_ context.Context, tick Tick) error {
			if now := time.Now(); !now.Equal(tick.Due) {
				t.Errorf("fired at %s instead of %s", now, tick.Due)
			}
			fired = append(fired, tick)
			return nil
		}
		spec := Spec{Name: "hourly", Expr: mustParse(t, "@hourly", ""), Jitter: 20 * time.Minute}
		runFor(t, 24*time.Hour+30*time.Minute, build(t, &memoryStore{}, notes, spec))
		if diff := cmp.Diff(Upcoming(spec, midnight(), 24), fired); diff != "" {
			t.Errorf("fired (-want +got):\n%s", diff)
		}
	})
}

// TestTwoWorkersFireEachTick has both decide at the same moment: what one has saved, the other does not do again.
func TestTwoWorkersFireEachTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, one, two := &memoryStore{}, &notebook{}, &notebook{}
		spec := Spec{Name: "often", Expr: mustParse(t, "@every 10m", "")}
		runFor(t, 35*time.Minute, build(t, store, one, spec), build(t, store, two, spec))
		want := []string{"often 00:10 @ 00:10:00", "often 00:20 @ 00:20:00", "often 00:30 @ 00:30:00"}
		// Both may fire a tick that one has decided and not yet fired: it is the same job.
		fired := slices.Compact(slices.Sorted(slices.Values(slices.Concat(one.fired, two.fired))))
		if diff := cmp.Diff(want, fired); diff != "" {
			t.Errorf("fired (-want +got):\n%s", diff)
		}
		last := midnight().Add(30 * time.Minute)
		wantState := State{LastFire: last, Settled: last, Since: midnight(), Fingerprint: "@every 10m UTC"}
		if diff := cmp.Diff(wantState, store.state(t, "often")); diff != "" {
			t.Errorf("stored (-want +got):\n%s", diff)
		}
		// The first to come saves the start, and the decision and the end of each tick.
		if store.saves != 7 {
			t.Errorf("the state was saved %d times, want 7", store.saves)
		}
	})
}

func TestFailedTickIsAttemptedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		notes := &notebook{}
		notes.fail = func(_ context.Context, tick Tick) error {
			if tick.Schedule == "bad" && time.Since(tick.At) < 4*time.Minute {
				return errors.New("no such stream")
			}
			return nil
		}
		s := build(t, &memoryStore{}, notes,
			Spec{Name: "bad", Expr: mustParse(t, "0 1 * * *", "")},
			Spec{Name: "good", Expr: mustParse(t, "1-2 1 * * *", "")})
		runFor(t, 2*time.Hour, s)
		want := []string{
			"bad 01:00 @ 01:00:00", "bad 01:00 @ 01:00:01", "bad 01:00 @ 01:00:03", "bad 01:00 @ 01:00:07",
			"bad 01:00 @ 01:00:15", "bad 01:00 @ 01:00:31", "good 01:01 @ 01:01:00", "bad 01:00 @ 01:01:03",
			"good 01:02 @ 01:02:00", "bad 01:00 @ 01:02:03", "bad 01:00 @ 01:03:03", "bad 01:00 @ 01:04:03",
		}
		if diff := cmp.Diff(want, notes.attempts); diff != "" {
			t.Errorf("attempts (-want +got):\n%s", diff)
		}
		if want := want[len(want)-1]; !slices.Contains(notes.fired, want) || notes.missed["bad"] != 0 {
			t.Errorf("fired %q and missed %d, want %q and 0", notes.fired, notes.missed["bad"], want)
		}
	})
}

func TestHangingAttemptIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		notes := &notebook{}
		notes.fail = func(ctx context.Context, tick Tick) error {
			if tick.Schedule == "hangs" && time.Since(tick.At) < time.Second {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		s := build(t, &memoryStore{}, notes,
			Spec{Name: "hangs", Expr: mustParse(t, "@hourly", "")},
			Spec{Name: "other", Expr: mustParse(t, "@every 10s", "")})
		runFor(t, time.Hour+32*time.Second, s)
		for _, want := range []string{"other 01:00 @ 01:00:10", "other 01:00 @ 01:00:20", "hangs 01:00 @ 01:00:31"} {
			if !slices.Contains(notes.fired, want) {
				t.Errorf("%q is not among what fired", want)
			}
		}
	})
}

func TestTickIsGivenUpWhenTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, notes := &memoryStore{}, &notebook{}
		notes.fail = func(_ context.Context, tick Tick) error {
			if tick.At.Hour() == 1 {
				return errors.New("no such stream")
			}
			return nil
		}
		runFor(t, 150*time.Minute, build(t, store, notes,
			Spec{Name: "hourly", Expr: mustParse(t, "@hourly", ""), MaxLate: 5 * time.Second}))
		want := []string{
			"hourly 01:00 @ 01:00:00", "hourly 01:00 @ 01:00:01", "hourly 01:00 @ 01:00:03", "hourly 02:00 @ 02:00:00",
		}
		if diff := cmp.Diff(want, notes.attempts); diff != "" {
			t.Errorf("attempts (-want +got):\n%s", diff)
		}
		if notes.missed["hourly"] != 1 {
			t.Errorf("missed %d, want 1", notes.missed["hourly"])
		}
	})
}

func TestStopSavesWhatHasFired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		store, notes := &memoryStore{}, &notebook{}
		notes.fail = func(context.Context, Tick) error {
			stop()
			return nil
		}
		if err := build(t, store, notes, Spec{Name: "hourly", Expr: mustParse(t, "@hourly", "")}).Run(ctx); err != nil {
			t.Fatal(err)
		}
		if got, want := store.state(t, "hourly").LastFire, midnight().Add(time.Hour); !got.Equal(want) {
			t.Errorf("last fire is %s, want %s", got, want)
		}
	})
}

func TestStopLeavesAnUnfiredTickForTheNextStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, notes := &memoryStore{}, &notebook{}
		notes.fail = func(context.Context, Tick) error { return errors.New("no such stream") }
		spec := Spec{Name: "hourly", Expr: mustParse(t, "@hourly", "")}
		runFor(t, time.Hour+10*time.Second, build(t, store, notes, spec))
		notes.fail = nil
		runFor(t, time.Minute, build(t, store, notes, spec))
		if diff := cmp.Diff([]string{"hourly 01:00 @ 01:00:10"}, notes.fired); diff != "" {
			t.Errorf("fired (-want +got):\n%s", diff)
		}
	})
}
