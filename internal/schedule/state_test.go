package schedule

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStateThatCannotBeLoaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, notes := &memoryStore{}, &notebook{}
		store.put(t, "a", stored(10*time.Minute))
		store.fail = func(call string) error {
			if call == "load" && time.Since(midnight()) < 10*time.Minute+5*time.Second {
				return errors.New("no responders")
			}
			return nil
		}
		runFor(t, 15*time.Minute, build(t, store, notes, Spec{Name: "a", Expr: mustParse(t, "*/10 * * * *", "")}))
		// The attempts come at 0, 1, 3, 7, 15, 31 and 63 s and then once a minute. The tick of 00:00 was missed before
		// the worker ran, that of 00:10 is only late.
		want := []string{"a 00:00 @ 00:11:03", "a 00:10 @ 00:11:03"}
		if diff := cmp.Diff(want, notes.fired); diff != "" {
			t.Errorf("fired (-want +got):\n%s", diff)
		}
	})
}

func TestStateThatCannotBeSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, notes := &memoryStore{}, &notebook{}
		store.fail = func(call string) error {
			if call == "save" && time.Since(midnight()) < 2*time.Hour+time.Minute+time.Second {
				return errors.New("no responders")
			}
			return nil
		}
		s := build(t, store, notes, Spec{Name: "a", Expr: mustParse(t, "@hourly", "")})
		runFor(t, 2*time.Hour+2*time.Minute, s)
		if diff := cmp.Diff([]string{"a 01:00 @ 01:00:00", "a 02:00 @ 02:00:00"}, notes.fired); diff != "" {
			t.Errorf("fired (-want +got):\n%s", diff)
		}
		// It is saved without waiting for the next tick.
		two := midnight().Add(2 * time.Hour)
		want := State{LastFire: two, Settled: two, Since: midnight(), Fingerprint: "@hourly UTC"}
		if diff := cmp.Diff(want, store.state(t, "a")); diff != "" {
			t.Errorf("stored (-want +got):\n%s", diff)
		}
	})
}

// TestClockThatWasAhead has a state from a worker whose clock showed next year.
func TestClockThatWasAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, notes := &memoryStore{}, &notebook{}
		store.put(t, "a", stored(-366*24*time.Hour))
		runFor(t, 15*time.Minute, build(t, store, notes, Spec{Name: "a", Expr: mustParse(t, "*/10 * * * *", "")}))
		if diff := cmp.Diff([]string{"a 00:10 @ 00:10:00"}, notes.fired); diff != "" {
			t.Errorf("fired (-want +got):\n%s", diff)
		}
		if got, want := store.state(t, "a").Settled, midnight().Add(10*time.Minute); !got.Equal(want) {
			t.Errorf("settled is %s, want %s", got, want)
		}
	})
}

// TestOldAndNewConfiguration has an old worker go on beside one that was started with a changed schedule.
func TestOldAndNewConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, old, changed := &memoryStore{}, &notebook{}, &notebook{}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		first := build(t, store, old, Spec{Name: "a", Expr: mustParse(t, "*/10 * * * *", "")})
		done := make(chan error)
		go func() { done <- first.Run(ctx) }()
		timer := time.NewTimer(15 * time.Minute)
		<-timer.C
		runFor(t, 29*time.Minute, build(t, store, changed, Spec{Name: "a", Expr: mustParse(t, "5/20 * * * *", "")}))
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"a 00:10 @ 00:10:00", "a 00:20 @ 00:20:00", "a 00:30 @ 00:30:00", "a 00:40 @ 00:40:00"}, old.fired); diff != "" {
			t.Errorf("fired by the old one (-want +got):\n%s", diff)
		}
		want := State{
			LastFire: midnight().Add(25 * time.Minute), Settled: midnight().Add(25 * time.Minute),
			Since: midnight().Add(15 * time.Minute), Fingerprint: "5/20 * * * * UTC",
		}
		if diff := cmp.Diff(want, store.state(t, "a")); diff != "" {
			t.Errorf("stored (-want +got):\n%s", diff)
		}
	})
}
