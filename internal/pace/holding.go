package pace

import "time"

// accountShare is the part of the slots that one account leaves to the others.
const accountShare = 0.15

// Slots are a worker's slots: how many there are, and how many of them are kept for urgent jobs.
type Slots struct{ All, Kept int }

// Most is how many slots one of several accounts may hold when a further job of a rank arrives. Urgent
// jobs may take all but one.
func (s Slots) Most(rank Rank) int {
	if rank == 0 {
		return max(s.All-1, min(s.All, 2)) // With two slots, an urgent job passes one that is not.
	}
	others := s.All - s.Kept
	return others - Kept(others, accountShare)
}

// Holding is what one account holds of a worker's slots. The zero Holding is none.
type Holding struct {
	jobs int
	took time.Duration
	line Line
}

// Take takes a slot for a job, and reports whether the account may hold one more.
func (h *Holding) Take(rank Rank, s Slots) bool {
	if h.jobs >= s.Most(rank) {
		return false
	}
	h.jobs++
	return true
}

// Drop gives a slot back.
func (h *Holding) Drop() { h.jobs = max(h.jobs-1, 0) }

// Done gives back the slot of a job that took so long.
func (h *Holding) Done(took time.Duration) {
	h.Drop()
	h.took += (took - h.took) / 4
}

// Plan returns when a job without a slot should retry.
func (h *Holding) Plan(now time.Time, rank Rank, s Slots) time.Time {
	return h.line.Plan(now, rank, h.took/time.Duration(max(s.Most(rank), 1)))
}
