package schedule

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMerge(t *testing.T) {
	hour := func(n int) time.Time { return midnight().Add(time.Duration(n) * time.Hour) }
	state := func(last, settled, since int, fingerprint string) State {
		return State{LastFire: hour(last), Settled: hour(settled), Since: hour(since), Fingerprint: fingerprint}
	}
	now := hour(10)
	tests := []struct {
		name              string
		own, stored, want State
		wantReplaced      bool
	}{
		{"the other is ahead", state(3, 3, 1, "a"), state(5, 6, 2, "a"), state(5, 6, 1, "a"), false},
		{"we are ahead", state(5, 6, 2, "a"), state(3, 3, 1, "a"), state(5, 6, 1, "a"), false},
		{"the other skipped what we fired", state(5, 5, 1, "a"), state(4, 5, 1, "a"), state(5, 5, 1, "a"), false},
		{"the other's clock is ahead", state(9, 9, 1, "a"), state(9, 99, 1, "a"), state(9, 10, 1, "a"), false},
		{"an older configuration", state(5, 5, 4, "b"), state(6, 6, 1, "a"), state(5, 5, 4, "b"), false},
		{"a newer configuration", state(6, 6, 1, "a"), state(5, 5, 4, "b"), state(6, 6, 1, "a"), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, merge(tt.own, tt.stored, now)); diff != "" {
				t.Errorf("merged (-want +got):\n%s", diff)
			}
			if got := tt.stored.replaces(tt.own); got != tt.wantReplaced {
				t.Errorf("replaces is %v, want %v", got, tt.wantReplaced)
			}
		})
	}
}

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
