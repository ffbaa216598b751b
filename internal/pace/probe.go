package pace

import "time"

// Calls that may be under way at once to a bucket of which nothing is known: one, and one more
// for each so many answers that said nothing of a limit. A bucket that is small teaches its limit
// by one refusal then, and one that seems to have no limit is used ever more freely.
const answersPerCall = 128

// firstGuess is how long a call is thought to take before one was answered.
const firstGuess = 20 * time.Millisecond

// answerPatience is how long the next call waits for the answer of the one before, at most.
const answerPatience = time.Second

// Probe paces the calls of one worker to a bucket of which nothing is known, until an answer
// tells its limit. The zero Probe has seen nothing.
type Probe struct {
	underway int
	answered int
	left     int  // What the latest answer said is left, less what was sent since.
	told     bool // An answer said what is left.
	took     time.Duration
	latest   time.Time // When the latest call was given leave.
	planned  time.Time
}

// Take reports whether a call may be made now, and counts it as under way. A call that is not
// answered for long holds up no other.
func (p *Probe) Take(now time.Time) bool {
	most := 1 + p.answered/answersPerCall
	if p.told {
		most = p.left
	}
	if p.underway > 0 && p.underway >= most && now.Sub(p.latest) < answerPatience {
		return false
	}
	p.Count(now)
	return true
}

// Count counts a call that is made whatever is under way.
func (p *Probe) Count(now time.Time) {
	p.underway++
	p.latest = now
}

// Drop takes back a call that was counted and never made.
func (p *Probe) Drop() { p.underway = max(p.underway-1, 0) }

// Sent is how many calls were made so far, those under way included.
func (p *Probe) Sent() int { return p.answered + p.underway }

// Answered notes the end of a call that took so long. left is what the answer said is left in
// the bucket, negative when it said nothing.
func (p *Probe) Answered(took time.Duration, left int) {
	p.underway = max(p.underway-1, 0)
	p.answered++
	p.took = took
	if left >= 0 {
		p.left, p.told = left, true
	}
}

// Plan gives a job that may not call now a moment at which to come back, not before from. The
// jobs come back twice as fast as calls are answered: what is learned meanwhile is used soon. A
// call that is under way for long is thought to take as long again.
func (p *Probe) Plan(now, from time.Time) time.Time {
	took := p.took
	if took == 0 {
		took = firstGuess
	}
	if p.underway > 0 {
		took = max(took, 2*now.Sub(p.latest))
	}
	most := max(p.underway, 1)
	slot := from.Add(took / time.Duration(2*most))
	if next := p.planned.Add(took / time.Duration(2*most)); next.After(slot) {
		slot = next
	}
	p.planned = slot
	return slot
}
