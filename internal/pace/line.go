package pace

import "time"

// Bounds of the distance of two planned retries. A plan cannot be changed: one that was
// made while calls took long must not slow down what follows.
const (
	leastStep = time.Millisecond
	mostStep  = 50 * time.Millisecond
)

// Line has a moment for each rank: the latest retry that one worker has planned. The zero Line is empty.
type Line [Ranks]time.Time

// Plan returns when a job should retry: one step after the planned retries of its rank and of the
// more urgent ones, and not before from.
func (l *Line) Plan(from time.Time, rank Rank, step time.Duration) time.Time {
	l[rank] = l.last(rank, from).Add(min(max(step, leastStep), mostStep))
	return l[rank]
}

// last is the latest moment of this rank and the more urgent ones, not before from.
func (l *Line) last(rank Rank, from time.Time) time.Time {
	for _, planned := range l[:rank+1] {
		if planned.After(from) {
			from = planned
		}
	}
	return from
}
