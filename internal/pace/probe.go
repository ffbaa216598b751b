package pace

import (
	"math"
	"time"
)

// How many calls may be under way at once to a bucket of which nothing is known. A bucket that is
// small teaches its limit by one refusal then, and one that seems to have no limit is used ever
// more freely.
const (
	// answersPerCall is for how many answers that say nothing one more call may be under way.
	answersPerCall = 128
	// urgentFirst, urgentAnswers and urgentMost are the same for urgent calls that overtake others: a
	// burst of them must soon be through. Where all are urgent, there is nothing to overtake.
	urgentFirst   = 4
	urgentAnswers = 4
	urgentMost    = 8
	// leftPerCall is the part of what an answer says is left that one worker may have under way: so
	// many workers that do so together overdraw the bucket by one call each at most.
	leftPerCall = 8
)

// Jobs that have leave and make themselves ready while the calls before them are under way: where
// calls are answered at once, it is this that takes time.
const (
	readyMost = 4
	readyWait = 50 * time.Millisecond // None that would wait for longer than about this.
)

// Times of calls and plans.
const (
	// firstGuess is how long a call is thought to take before one was answered.
	firstGuess = 4 * time.Millisecond
	// answerPatience is how long the next call waits for the answer of the one before, at most.
	answerPatience = time.Second
)

// Probe paces the calls of one worker to a bucket of which nothing is known, until an answer
// tells its limit. A call waits for those that are as urgent or more, and for no others. The zero
// Probe has seen nothing.
type Probe struct {
	ready    [Ranks]int // Jobs that have leave and have not called.
	underway [Ranks]int // Calls that are not answered.
	latest   Line       // When the latest call of a rank was sent,
	given    Line       // and the latest job was given leave.
	line     Line
	sent     int
	answered int  // Since the latest refusal.
	left     int  // What the latest answer said is left.
	told     bool // An answer said what is left.
	took     time.Duration
}

// Take reports whether a job of a rank may make itself ready to call now, and counts it as ready. One
// that has lost its claim, or a call that is not answered for long, holds up no other.
func (p *Probe) Take(now time.Time, rank Rank) bool {
	calls, ready, latest := p.ahead(rank)
	late := now.Sub(p.given.last(rank, latest)) >= answerPatience
	if calls+ready >= p.most(now, rank)+p.readyMost(now, calls, latest) && !late {
		return false
	}
	p.Give(now, rank)
	return true
}

// readyMost is how many jobs may be ready beyond those that may call.
func (p *Probe) readyMost(now time.Time, calls int, latest time.Time) int {
	if p.took == 0 {
		return 0
	}
	return min(readyMost, int(readyWait/p.time(now, calls, latest)))
}

// time is how long a call takes. One that is under way for long is thought to take as long again. Of
// the first one nothing can be said: what is sent away comes back soon.
func (p *Probe) time(now time.Time, calls int, latest time.Time) time.Duration {
	switch {
	case calls == 0:
		return max(p.took, firstGuess)
	case p.took == 0:
		return max(firstGuess, now.Sub(latest)/16)
	}
	return max(p.took, 2*now.Sub(latest))
}

// Give counts a job as ready that has leave in another way.
func (p *Probe) Give(now time.Time, rank Rank) {
	p.ready[rank]++
	p.given[rank] = now
}

// Send reports whether a job that is ready may call now, and counts its call. A call that is not
// answered for long holds up no other.
func (p *Probe) Send(now time.Time, rank Rank) bool {
	calls, _, latest := p.ahead(rank)
	if calls >= p.most(now, rank) && now.Sub(latest) < answerPatience {
		return false
	}
	p.Drop(rank)
	p.Count(now, rank)
	return true
}

// ahead is what a call of the rank waits for, and when the latest of the calls was sent.
func (p *Probe) ahead(rank Rank) (calls, ready int, latest time.Time) {
	for r := range rank + 1 {
		calls, ready = calls+p.underway[r], ready+p.ready[r]
	}
	return calls, ready, p.latest.last(rank, time.Time{})
}

// most is how many calls of the rank, and of the more urgent ones, may be under way at once.
func (p *Probe) most(now time.Time, rank Rank) int {
	if p.told {
		return 1 + p.left/leftPerCall
	}
	most := 1 + p.answered/answersPerCall
	if rank == 0 && p.overtakes(now) {
		most = max(most, min(urgentFirst+p.answered/urgentAnswers, urgentMost))
	}
	return most
}

// overtakes reports whether less urgent jobs call as well, or wait to.
func (p *Probe) overtakes(now time.Time) bool {
	for r := Rank(1); r < Ranks; r++ {
		if p.ready[r]+p.underway[r] > 0 || p.line[r].After(now) {
			return true
		}
	}
	return false
}

// Count counts a call that is made whatever is under way.
func (p *Probe) Count(now time.Time, rank Rank) {
	p.underway[rank]++
	p.latest[rank] = now
	p.sent++
}

// Drop takes back the leave of a job that does not call.
func (p *Probe) Drop(rank Rank) { p.ready[rank] = max(p.ready[rank]-1, 0) }

// Again gives a job whose call spent nothing another one.
func (p *Probe) Again(now time.Time, rank Rank) {
	p.Unsent(rank)
	p.Give(now, rank)
}

// Unsent takes back a call that was counted and not made.
func (p *Probe) Unsent(rank Rank) {
	p.end(rank)
	p.sent--
}

// Settle counts in the state of a bucket whose limit is known now what was sent before, and reports
// whether that changed anything. Calls that are under way are this worker's own; of those that were
// answered, the answers may have told those of others as well. After a refusal all are out anyway.
func (p *Probe) Settle(now time.Time, s *State) bool {
	underway := 0
	for _, n := range p.underway {
		underway += n
	}
	out := p.sent - underway
	if p.told {
		out = max(out, s.Limit.Capacity-p.left)
	}
	changed := s.Owe(now, out)
	if s.Opened != 0 {
		return changed
	}
	for range underway {
		s.lend(micros(now))
	}
	return changed || underway > 0
}

// Answered notes the end of a call that took so long. left is what the answer said is left in the
// bucket, negative when it said nothing.
func (p *Probe) Answered(rank Rank, took time.Duration, left int) {
	p.end(rank)
	p.answered++
	if p.took == 0 {
		p.took = max(took, 1)
	}
	p.took += (took - p.took) / 4
	if left >= 0 {
		p.left, p.told = left, true
	}
}

// Refused notes the end of a call that met a rate limit: what was answered before does not say any
// more how much the bucket takes.
func (p *Probe) Refused(rank Rank) {
	p.end(rank)
	p.answered, p.left = 0, 0
}

func (p *Probe) end(rank Rank) { p.underway[rank] = max(p.underway[rank]-1, 0) }

// Plan gives a job that may not call now a moment at which to come back, not before from: as fast
// as calls are answered, and faster the later it is, for by then more may be under way at once.
func (p *Probe) Plan(now, from time.Time, rank Rank) time.Time {
	calls, _, latest := p.ahead(rank)
	took := p.time(now, calls, latest)
	// While answers say nothing, what may be under way grows like interest.
	ahead := p.line.last(rank, from).Sub(from)
	most := float64(p.most(now, rank)) * math.Exp(min(float64(ahead)/float64(answersPerCall*took), 8))
	return p.line.Plan(from, rank, time.Duration(float64(took)/most))
}
