package pace

import (
	"math"
	"time"
)

// How many calls may be under way at once to a bucket whose limit is not known. A small bucket
// shows its limit by one refusal then, and one that seems to have no limit is used ever more freely.
const (
	// answersPerCall is for how many answers without a count one more call may be under way.
	answersPerCall = 128
	// urgentFirst, urgentAnswers and urgentMost are the same for urgent calls that overtake others: a
	// burst of them must be finished soon. Where all are urgent, there is nothing to overtake.
	urgentFirst   = 4
	urgentAnswers = 4
	urgentMost    = 8
	// leftPerCall is the part of the remaining calls, as an answer counts them, that one worker may have under way:
	// that many workers together overdraw the bucket by one call each at most.
	leftPerCall = 8
)

// Jobs that have a permit and prepare their call while the calls before them are under way: where
// calls are answered at once, preparing takes most of the time.
const (
	readyMost = 4
	readyWait = 50 * time.Millisecond // A job that would wait longer than about this is not made ready.
)

// Times of calls and plans.
const (
	// firstGuess is the assumed duration of a call before one was answered.
	firstGuess = 4 * time.Millisecond
	// answerPatience is how long the next call waits for the answer of the one before, at most.
	answerPatience = time.Second
)

// Probe paces the calls of one worker to a bucket whose limit is not known, until an answer
// names it. A call waits for calls that are as urgent or more, and for no others. The zero
// Probe is that of an unused bucket.
type Probe struct {
	ready    [Ranks]int // Jobs that have a permit and have not called.
	underway [Ranks]int // Calls that are not answered.
	latest   Line       // When the latest call of a rank was sent,
	given    Line       // and the latest job was granted a permit.
	line     Line
	sent     int
	answered int  // Since the latest refusal.
	left     int  // Calls that are left, by the latest answer that counts them.
	counted  bool // An answer has counted them.
	took     time.Duration
}

// Take reports whether a job of a rank may prepare its call now, and counts it as ready. A job
// that has lost its claim, or a call that waits long for its answer, does not block the next one.
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

// time is the estimated duration of a call. A call that is under way for long is assumed to take as long again.
// Without an estimate, before the first answer, retries are planned soon.
func (p *Probe) time(now time.Time, calls int, latest time.Time) time.Duration {
	switch {
	case calls == 0:
		return max(p.took, firstGuess)
	case p.took == 0:
		return max(firstGuess, now.Sub(latest)/16)
	}
	return max(p.took, 2*now.Sub(latest))
}

// Give counts a job as ready that has a permit from another source.
func (p *Probe) Give(now time.Time, rank Rank) {
	p.ready[rank]++
	p.given[rank] = now
}

// Send reports whether a job that is ready may call now, and counts its call. A call that waits
// long for its answer does not block the next one.
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
	if p.counted {
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

// Drop takes back the permit of a job that does not call.
func (p *Probe) Drop(rank Rank) { p.ready[rank] = max(p.ready[rank]-1, 0) }

// Again grants another permit to a job whose call was not counted by the API.
func (p *Probe) Again(now time.Time, rank Rank) {
	p.Unsent(rank)
	p.Give(now, rank)
}

// Unsent takes back a call that was counted and not made.
func (p *Probe) Unsent(rank Rank) {
	p.end(rank)
	p.sent--
}

// Settle counts the calls that were sent before the limit was known in the bucket's state, and reports
// whether that changed anything. Calls under way are this worker's own; the answers to earlier ones may
// have counted those of other workers as well. After a refusal all tokens are out anyway.
func (p *Probe) Settle(now time.Time, s *State) bool {
	underway := 0
	for _, n := range p.underway {
		underway += n
	}
	out := p.sent - underway
	if p.counted {
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

// Answered notes the end of a call that took so long. left is how many calls the answer says are left in
// the bucket, negative when it has no count.
func (p *Probe) Answered(rank Rank, took time.Duration, left int) {
	p.end(rank)
	p.answered++
	if p.took == 0 {
		p.took = max(took, 1)
	}
	p.took += (took - p.took) / 4
	if left >= 0 {
		p.left, p.counted = left, true
	}
}

// Refused notes the end of a call that met a rate limit: earlier answers no longer show how many calls the
// bucket accepts.
func (p *Probe) Refused(rank Rank) {
	p.end(rank)
	p.answered, p.left = 0, 0
}

func (p *Probe) end(rank Rank) { p.underway[rank] = max(p.underway[rank]-1, 0) }

// Plan returns when a job that may not call now should retry, not before from: as fast
// as calls are answered, and faster the later it is, for by then more may be under way at once.
func (p *Probe) Plan(now, from time.Time, rank Rank) time.Time {
	calls, _, latest := p.ahead(rank)
	took := p.time(now, calls, latest)
	// Without a count, the number of calls that may be under way grows exponentially.
	ahead := p.line.last(rank, from).Sub(from)
	most := float64(p.most(now, rank)) * math.Exp(min(float64(ahead)/float64(answersPerCall*took), 8))
	return p.line.Plan(from, rank, time.Duration(float64(took)/most))
}
