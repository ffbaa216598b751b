package schedule

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// wrongClock is a clock that can be set, which a bubble's own cannot.
type wrongClock struct {
	mu  sync.Mutex // Guards off.
	off time.Duration
}

func (c *wrongClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return wallClock().Add(c.off)
}

// step sets the clock.
func (c *wrongClock) step(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off += d
}

// start runs schedulers, and returns what ends them.
func start(t *testing.T, schedulers ...*Scheduler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, s := range schedulers {
		running.Go(func() {
			if err := s.Run(ctx); err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	return func() {
		cancel()
		running.Wait()
	}
}

// nominal returns the times of the ticks that fired, in their order, each once.
func nominal(all ...*notebook) []string {
	var times []time.Time
	for _, notes := range all {
		notes.mu.Lock()
		times = append(times, notes.ticks...)
		notes.mu.Unlock()
	}
	slices.SortFunc(times, time.Time.Compare)
	var texts []string
	for _, at := range times {
		texts = append(texts, at.Format("15:04"))
	}
	return slices.Compact(texts)
}

// TestClockIsSet has NTP set the clock an hour forward and back, and the machine sleep: ticks are neither lost nor doubled.
func TestClockIsSet(t *testing.T) {
	tests := []struct {
		name   string
		missed Missed
		step   time.Duration // At 01:10.
		// wantTicks are those that fire until four hours have passed in truth.
		wantTicks []string
		// wantCalls has those from the step on, by the worker's clock.
		wantMissed int
	}{
		{"forward, all", MissedAll, time.Hour, []string{"00:30", "01:00", "01:30", "02:00", "02:30", "03:00", "03:30", "04:00", "04:30"}, 0},
		{"forward, once", MissedOnce, time.Hour, []string{"00:30", "01:00", "02:00", "02:30", "03:00", "03:30", "04:00", "04:30"}, 1},
		{"forward, skip", MissedSkip, time.Hour, []string{"00:30", "01:00", "02:30", "03:00", "03:30", "04:00", "04:30"}, 2},
		{"back", MissedOnce, -time.Hour, []string{"00:30", "01:00", "01:30", "02:00", "02:30"}, 0},
		{"a little forward", MissedSkip, 20*time.Minute + 30*time.Second, []string{"00:30", "01:00", "01:30", "02:00", "02:30", "03:00", "03:30", "04:00"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clock, notes := &wrongClock{}, &notebook{}
				s := build(t, &memoryStore{}, notes, Spec{Name: "a", Expr: mustParse(t, "*/30 * * * *", ""), Missed: tt.missed})
				s.now = clock.now
				for _, r := range s.runners {
					r.now = clock.now
				}
				stop := start(t, s)
				wait(t, 70*time.Minute)
				clock.step(tt.step)
				wait(t, 2*time.Hour+35*time.Minute)
				stop()
				if diff := cmp.Diff(tt.wantTicks, nominal(notes)); diff != "" {
					t.Errorf("ticks (-want +got):\n%s", diff)
				}
				if len(notes.ticks) != len(tt.wantTicks) {
					t.Errorf("%d ticks fired, want each of %d once", len(notes.ticks), len(tt.wantTicks))
				}
				if notes.missed["a"] != tt.wantMissed {
					t.Errorf("missed %d, want %d", notes.missed["a"], tt.wantMissed)
				}
			})
		})
	}
}

// TestRestartAfterTheClockWasSetBack has ticks fire again that have fired by the wrong clock: they are the same jobs.
func TestRestartAfterTheClockWasSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, clock, before, after := &memoryStore{}, &wrongClock{off: time.Hour}, &notebook{}, &notebook{}
		spec := Spec{Name: "a", Expr: mustParse(t, "*/30 * * * *", "")}
		fast := build(t, store, before, spec)
		fast.now = clock.now
		for _, r := range fast.runners {
			r.now = clock.now
		}
		runFor(t, 35*time.Minute, fast) // It fires 01:30.
		runFor(t, time.Hour, build(t, store, after, spec))
		if diff := cmp.Diff([]string{"01:30"}, nominal(before)); diff != "" {
			t.Errorf("by the clock that is ahead (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"01:00", "01:30"}, nominal(after)); diff != "" {
			t.Errorf("by the right clock (-want +got):\n%s", diff)
		}
	})
}

// TestClocksApart runs workers whose clocks are 30 s ahead and behind, started and stopped all the time, on a schedule that
// ticks more often than that: each tick fires, and those that are left out are left out by all.
func TestClocksApart(t *testing.T) {
	for _, overlap := range []Overlap{OverlapAllow, OverlapSkip} {
		t.Run(string(overlap), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &memoryStore{}
				spec := Spec{Name: "a", Expr: mustParse(t, "@every 10s", ""), Missed: MissedSkip, Overlap: overlap}
				var all []*notebook
				begin := func(ahead time.Duration) func() {
					// Every third tick makes a job that takes long.
					notes := &notebook{unfinished: func(id string) (bool, error) { return len(id)%3 == 0, nil }}
					notes.job = func(tick Tick) string { return "xxx"[:1+tick.At.Unix()/10%3] }
					all = append(all, notes)
					clock := &wrongClock{off: ahead}
					s := build(t, store, notes, spec)
					s.now = clock.now
					for _, r := range s.runners {
						r.now = clock.now
					}
					return start(t, s)
				}
				steady := begin(0)
				for i := range 40 {
					other := begin(time.Duration(i%3-1) * 30 * time.Second)
					wait(t, time.Duration(3+i%7)*time.Second)
					other()
				}
				steady()
				fired := map[time.Time]bool{}
				for _, notes := range all {
					for _, at := range notes.ticks {
						fired[at] = true
					}
				}
				// By the clocks that are behind and ahead there are three ticks more at either end.
				ticks, skipped := int(time.Since(midnight())/(10*time.Second)), store.state(t, "a").Skipped[VerdictOverlap]
				if got := len(fired) + skipped; got < ticks || got > ticks+6 {
					t.Errorf("of %d ticks, %d fired and %d were left out", ticks, len(fired), skipped)
				}
				for at := midnight().Add(10 * time.Second); overlap == OverlapAllow && !at.After(time.Now()); at = at.Add(10 * time.Second) {
					if !fired[at] {
						t.Errorf("the tick of %s is lost", at.Format(clockFormat))
					}
				}
				if overlap == OverlapAllow && skipped != 0 || overlap == OverlapSkip && skipped == 0 {
					t.Errorf("%d were left out", skipped)
				}
			})
		})
	}
}
