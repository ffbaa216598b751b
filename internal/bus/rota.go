package bus

import (
	"sync"

	"rekey/internal/jobs"
)

// Turns of less urgent lanes although a more urgent one has work, so that steady urgent work does not
// starve them: one turn in 8 looks at normal first, one in 16 at bulk first.
const (
	normalTurn = 8
	bulkTurn   = 16
)

// mostOwed bounds the turns that slots for urgent jobs owe to the other lanes.
const mostOwed = 2 * bulkTurn

// rota is the order in which slots look at the lanes.
type rota struct {
	mu    sync.Mutex // Guards what follows.
	turns uint64
	owed  []jobs.Lane // Lanes whose turns fell on slots that run urgent jobs only.
}

// order is the order of the lanes on the next turn.
func (r *rota) order(urgentOnly bool) []jobs.Lane {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turns++
	lanes := order(r.turns)
	first := lanes[0]
	switch {
	case urgentOnly:
		if first != jobs.LaneUrgent && len(r.owed) < mostOwed {
			r.owed = append(r.owed, first)
		}
		return []jobs.Lane{jobs.LaneUrgent}
	case first == jobs.LaneUrgent && len(r.owed) > 0:
		first, r.owed = r.owed[0], r.owed[1:]
		return lanesFrom(first)
	}
	return lanes
}

// order is the order of the lanes on a turn.
func order(turn uint64) []jobs.Lane {
	switch {
	case turn%bulkTurn == normalTurn/2: // Between two turns of normal.
		return lanesFrom(jobs.LaneBulk)
	case turn%normalTurn == 0:
		return lanesFrom(jobs.LaneNormal)
	}
	return jobs.Lanes()
}

// lanesFrom are the lanes, this one first and then the most urgent ones.
func lanesFrom(first jobs.Lane) []jobs.Lane {
	lanes := []jobs.Lane{first}
	for _, lane := range jobs.Lanes() {
		if lane != first {
			lanes = append(lanes, lane)
		}
	}
	return lanes
}
