package bus

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/jobs"
)

func TestOrderOfLanes(t *testing.T) {
	t.Parallel()
	first := map[jobs.Lane]int{}
	for turn := range uint64(16 * bulkTurn) {
		lanes := order(turn)
		first[lanes[0]]++
		slices.Sort(lanes)
		if diff := cmp.Diff([]jobs.Lane{jobs.LaneBulk, jobs.LaneNormal, jobs.LaneUrgent}, lanes); diff != "" {
			t.Errorf("turn %d: %s", turn, diff)
		}
	}
	// Of 256 turns one in 8 is normal's and one in 16 is bulk's.
	want := map[jobs.Lane]int{jobs.LaneUrgent: 208, jobs.LaneNormal: 32, jobs.LaneBulk: 16}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Error(diff)
	}
	tests := []struct {
		turn uint64
		want []jobs.Lane
	}{
		{1, []jobs.Lane{jobs.LaneUrgent, jobs.LaneNormal, jobs.LaneBulk}},
		{bulkTurn / 4, []jobs.Lane{jobs.LaneBulk, jobs.LaneUrgent, jobs.LaneNormal}},
		{normalTurn, []jobs.Lane{jobs.LaneNormal, jobs.LaneUrgent, jobs.LaneBulk}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, order(tt.turn)); diff != "" {
			t.Errorf("turn %d: %s", tt.turn, diff)
		}
	}
}

// TestRotaOfKeptSlots: the turns that fall on slots for urgent jobs are made up for by the others, so
// that of all turns each lane has its share.
func TestRotaOfKeptSlots(t *testing.T) {
	t.Parallel()
	var r rota
	first := map[jobs.Lane]int{}
	for turn := range 16 * bulkTurn {
		first[r.order(turn%4 == 3)[0]]++
	}
	for _, owed := range r.owed { // Of the last turns.
		first[owed]++
		first[jobs.LaneUrgent]--
	}
	want := map[jobs.Lane]int{jobs.LaneUrgent: 208, jobs.LaneNormal: 32, jobs.LaneBulk: 16}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Error(diff)
	}
	for range 1000 {
		r.order(true)
	}
	if n := len(r.owed); n > mostOwed {
		t.Errorf("%d turns are owed", n)
	}
}
