package pace

import "time"

// Bounds of the distance of two jobs that were sent away. A plan cannot be changed: one that was
// made while calls took long must not slow down what follows.
const (
	leastStep = time.Millisecond
	mostStep  = 50 * time.Millisecond
)

// Line has a moment for each rank: when the last job that was sent away comes back, in one worker. The
// zero Line is empty.
type Line [Ranks]time.Time

// Plan gives a job a moment at which to come back: one step behind the jobs of its rank and of the
// more urgent ones that were sent away before, and not before from.
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
