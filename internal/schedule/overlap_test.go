package schedule

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestOverlap has the job of 00:10 take until 00:35.
func TestOverlap(t *testing.T) {
	tests := []struct {
		name        string
		overlap     Overlap
		missed      Missed
		maxLate     time.Duration
		wantFired   []string
		wantSkipped int
		wantMissed  int
	}{
		{
			"allow", OverlapAllow, MissedOnce, 0,
			[]string{"a 00:10 @ 00:10:00", "a 00:20 @ 00:20:00", "a 00:30 @ 00:30:00", "a 00:40 @ 00:40:00"},
			0, 0,
		},
		{"allow is the default", "", MissedOnce, 0, []string{"a 00:10 @ 00:10:00", "a 00:20 @ 00:20:00", "a 00:30 @ 00:30:00", "a 00:40 @ 00:40:00"}, 0, 0},
		{"skip", OverlapSkip, MissedOnce, 0, []string{"a 00:10 @ 00:10:00", "a 00:40 @ 00:40:00"}, 2, 0},
		{
			"queue, and of those that come meanwhile the last", OverlapQueue, MissedOnce, 0,
			[]string{"a 00:10 @ 00:10:00", "a 00:20 @ 00:35:00", "a 00:30 @ 00:35:00", "a 00:40 @ 00:40:00"},
			0, 0,
		},
		{
			"queue, and none of those that come meanwhile", OverlapQueue, MissedSkip, 0,
			[]string{"a 00:10 @ 00:10:00", "a 00:20 @ 00:35:00", "a 00:40 @ 00:40:00"},
			0, 1,
		},
		{
			"queue, too late", OverlapQueue, MissedOnce, 5 * time.Minute,
			[]string{"a 00:10 @ 00:10:00", "a 00:30 @ 00:35:00", "a 00:40 @ 00:40:00"},
			0, 1,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, notes := &memoryStore{}, &notebook{}
				notes.unfinished = func(id string) (bool, error) {
					return id == "a 00:10" && time.Since(midnight()) < 35*time.Minute, nil
				}
				spec := Spec{Name: "a", Expr: mustParse(t, "*/10 * * * *", ""), Overlap: tt.overlap, Missed: tt.missed, MaxLate: tt.maxLate}
				// A second worker makes no difference.
				second := &notebook{unfinished: notes.unfinished}
				runFor(t, 45*time.Minute, build(t, store, notes, spec), build(t, store, second, spec))
				if diff := cmp.Diff(tt.wantFired, union(notes, second)); diff != "" {
					t.Errorf("fired (-want +got):\n%s", diff)
				}
				if got := len(notes.skipped) + len(second.skipped); got != tt.wantSkipped {
					t.Errorf("skipped %d, want %d", got, tt.wantSkipped)
				}
				if got := notes.missed["a"] + second.missed["a"]; got != tt.wantMissed {
					t.Errorf("missed %d, want %d", got, tt.wantMissed)
				}
				state := store.state(t, "a")
				if state.Skipped[VerdictOverlap] != tt.wantSkipped || state.Missed != tt.wantMissed {
					t.Errorf("the record has %d skipped and %d missed, want %d and %d",
						state.Skipped[VerdictOverlap], state.Missed, tt.wantSkipped, tt.wantMissed)
				}
			})
		})
	}
}

func TestLastJobThatCannotBeLookedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		notes := &notebook{}
		notes.unfinished = func(string) (bool, error) {
			if time.Since(midnight()) < 20*time.Minute+2*time.Second {
				return false, errors.New("no responders")
			}
			return false, nil
		}
		spec := Spec{Name: "a", Expr: mustParse(t, "*/10 * * * *", ""), Overlap: OverlapSkip}
		runFor(t, 25*time.Minute, build(t, &memoryStore{}, notes, spec))
		if diff := cmp.Diff([]string{"a 00:10 @ 00:10:00", "a 00:20 @ 00:20:03"}, notes.fired); diff != "" {
			t.Errorf("fired (-want +got):\n%s", diff)
		}
	})
}
