package pace

import (
	"slices"
	"time"
)

// Rank is how urgent a call is: the index of its lane, 0 for urgent, or RankCheck.
type Rank int

// RankCheck is the rank of reads that check what was done: below every lane. They leave half of the bucket, take no token
// while a job waits for one, and are never the first call after a pause.
const RankCheck Rank = 3

// Ranks is how many ranks there are.
const Ranks = 4

// coarse is the capacity above which the moments at which tokens return are rounded up to
// a 64th of the period, so that a State stays small.
const coarse = 64

// unknownSpacing is the distance of retries at a bucket whose refusal did not name its limit.
const unknownSpacing = 10 * time.Millisecond

// maxDoublings bounds how often a wait is doubled. The longest wait cuts it long before.
const maxDoublings = 8

// State is what the fleet knows of one rate bucket and has taken from it. The zero State is an
// unused bucket. All its moments are on one clock, which the workers share.
type State struct {
	Limit  Limit  `json:"limit,omitzero"`
	Source Source `json:"source,omitempty"`
	// Debts are the tokens that are out.
	Debts debts `json:"debts,omitempty"`
	// Planned is, for each rank, the latest retry that was planned.
	Planned [Ranks]int64 `json:"planned"`
	// PausedUntil is the moment before which no call may be made.
	PausedUntil int64 `json:"paused_until,omitempty"`
	// Opened is the end of the latest refusal's pause. The share of urgent calls is built up again from there.
	Opened int64 `json:"opened,omitempty"`
	// Refusals counts the refusals in a row.
	Refusals int `json:"refusals,omitempty"`
	// Scout is the end of the pause at which one job retries.
	Scout int64 `json:"scout,omitempty"`
	// Tried is when the latest call was made after a refusal that did not name the limit.
	Tried int64 `json:"tried,omitempty"`
}

// Clone returns a copy that shares nothing with the state.
func (s State) Clone() State {
	s.Debts = slices.Clone(s.Debts)
	return s
}

// Paused is until when the bucket is closed; the zero time when it is not.
func (s *State) Paused(now time.Time) time.Time {
	if until := moment(s.PausedUntil); until.After(now) {
		return until
	}
	return time.Time{}
}

// Tokens is how many calls the bucket would take now, 0 when it is paused or not known.
func (s *State) Tokens(now time.Time) int {
	if !s.Limit.Known() || !s.Paused(now).IsZero() {
		return 0
	}
	return max(s.Limit.Capacity-slices.Clone(s.Debts).settle(now.UnixMicro()).out(), 0)
}

// Take takes a token for a call that is made now, and reports whether there was one. share is
// the part of the capacity that is kept for rank 0. A bucket whose limit is not known grants every
// call until a refusal; from then on one call of the fleet at a time.
func (s *State) Take(now time.Time, rank Rank, share float64) bool {
	if !s.Paused(now).IsZero() {
		return false
	}
	at := now.UnixMicro() // Rounded down: no token is back too early.
	if rank == RankCheck && s.jobsWait(at) {
		return false
	}
	if !s.Limit.Known() {
		return s.try(at)
	}
	s.Debts = s.Debts.settle(at)
	keep := s.keep(at, rank, share)
	if rank > 0 && rank != RankCheck && at >= s.paced() {
		keep = min(keep, s.Limit.least(share))
	}
	if s.Debts.out()+keep >= s.Limit.Capacity {
		return false
	}
	s.lend(micros(now))
	return true
}

// jobsWait reports whether a job has planned a retry.
func (s *State) jobsWait(at int64) bool { return max(slices.Max(s.Planned[:RankCheck]), s.Scout) > at }

// try lets one call at a time through after a refusal, until one is accepted. A call that waits long
// for its answer does not block the next one.
func (s *State) try(at int64) bool {
	if s.Refusals == 0 {
		return true
	}
	if s.Tried >= s.PausedUntil && at < s.Tried+answerPatience.Microseconds() {
		return false
	}
	s.Tried = at
	return true
}

// paced is the moment from which another call keeps to the pace of the bucket.
func (s *State) paced() int64 {
	if len(s.Debts) == 0 {
		return 0
	}
	_, every := s.Limit.step()
	return s.Debts[len(s.Debts)-1].end() - every - s.Limit.underway() + s.Limit.Spacing().Microseconds()
}

// lend counts a token as out from now on. The law of when it is back: one period after its call
// has arrived, and not before one period after the token that was taken Refill places earlier.
// No bucket with this limit is slower, whenever its periods begin, and whether it fills at once
// or token by token; and in the long run it is exactly as fast.
func (s *State) lend(now int64) {
	refill, every := s.Limit.step()
	from := now + s.Limit.underway()
	if out := s.Debts.out(); out >= refill {
		from = max(from, s.Debts.back(out-refill))
	}
	back := from + every
	if grid := every / coarse; s.Limit.Capacity > coarse && refill > 1 && grid > 0 {
		back = (back + grid - 1) / grid * grid
	}
	s.Debts = s.Debts.push(back)
}

// keep is how many tokens a call of this rank must leave. After a refusal the share is built up
// from returning tokens, so that less urgent calls are slowed down and not stopped.
func (s *State) keep(now int64, rank Rank, share float64) int {
	if rank == 0 {
		return 0
	}
	keep := s.Limit.Keep(share)
	if rank == RankCheck {
		return max(keep, s.Limit.Capacity/2)
	}
	spacing := s.Limit.Spacing().Microseconds()
	if s.Opened == 0 || spacing == 0 || now < s.Opened {
		return keep
	}
	returned := (now-s.Opened)/spacing + 1
	return min(keep, int(float64(min(returned, maxCount))*share))
}

// next is the earliest moment at which a call of this rank finds a token, if no other call takes
// one before. The debts are settled.
func (s *State) next(now int64, rank Rank, share float64) int64 {
	at := max(now, s.PausedUntil)
	if !s.Limit.Known() {
		return at
	}
	out := s.Debts.out()
	for gone := range out {
		if out-gone+s.keep(at, rank, share) < s.Limit.Capacity {
			return at
		}
		at = max(at, s.Debts.back(gone))
	}
	return at
}

// Plan returns when a job that found no token should retry: after the planned retries of its
// rank and of the more urgent ones, at the pace of the bucket. The moment is a plan, not a token: another
// call may take the token first. During a pause one job is planned at its very end, so that the first
// call after the pause is not late.
func (s *State) Plan(now time.Time, rank Rank, share float64) time.Time {
	at := micros(now)
	ahead := slices.ContainsFunc(s.Planned[:rank], func(planned int64) bool { return planned >= s.PausedUntil })
	if s.PausedUntil > at && s.Scout != s.PausedUntil && !ahead && rank != RankCheck {
		s.Scout = s.PausedUntil
		return moment(s.Scout)
	}
	s.Debts = s.Debts.settle(at)
	slot := s.next(at, rank, share)
	spacing := s.Limit.pace(rank, share)
	if !s.Limit.Known() {
		spacing = unknownSpacing.Microseconds()
		slot = max(slot, s.Tried+spacing)
	}
	if rank == RankCheck {
		slot += spacing // The first token is a job's.
	}
	for _, planned := range s.Planned[:rank+1] {
		if planned > 0 {
			slot = max(slot, planned+spacing)
		}
	}
	s.Planned[rank] = slot
	return moment(slot)
}

// Waiting is an estimate of how many jobs have a planned retry, and the moment of the last one; zero when there is none.
func (s *State) Waiting(now time.Time) (n int, last time.Time) {
	end := max(slices.Max(s.Planned[:RankCheck]), s.Scout)
	from := max(micros(now), s.PausedUntil)
	if end <= micros(now) {
		return 0, time.Time{}
	}
	spacing := s.Limit.Spacing().Microseconds()
	if spacing == 0 || end <= from {
		return 1, moment(end)
	}
	return int((end-from)/spacing) + 1, moment(end)
}

// Free is when the bucket has a token for an urgent call, if no other call takes it; the zero
// time or one that has passed when it has one now.
func (s *State) Free(now time.Time) time.Time {
	own := s.Clone()
	at := now.UnixMicro()
	own.Debts = own.Debts.settle(at)
	if free := own.next(at, 0, 0); free > at {
		return moment(free)
	}
	return time.Time{}
}

// Bound cuts off moments further away than a pause can be: the worker that wrote them may have had a wrong clock.
func (s *State) Bound(now time.Time, longest time.Duration) {
	latest := micros(now.Add(longest))
	for _, at := range []*int64{&s.PausedUntil, &s.Opened, &s.Scout, &s.Tried} {
		*at = min(*at, latest)
	}
}

// Close pauses the bucket until a moment. A pause only grows. It reports whether it did.
func (s *State) Close(until time.Time) bool {
	at := micros(until)
	if at <= s.PausedUntil {
		return false
	}
	s.PausedUntil = at
	return true
}

// Refusal is an answer that says that a bucket is empty.
type Refusal struct {
	Sent  time.Time // When the call was sent.
	At    time.Time // When it was answered.
	Until time.Time // When the API accepts the next call.
	// Patience is the least wait after the second refusal in a row. It doubles with each further one.
	Patience time.Duration
	// Longest bounds every wait.
	Longest time.Duration
}

// Refuse notes a refusal and returns until when the bucket is closed. The bucket counts as
// empty: after the pause its tokens come one by one. A refusal counts as one in a row if its
// call was sent after the pause of the one before, with nothing but refusals in between: then
// the wait is lengthened, twofold for the second, fourfold for the third, and so on.
func (s *State) Refuse(r Refusal) time.Time {
	until := r.Until
	if s.Refusals == 0 || r.Sent.UnixMicro() >= s.PausedUntil {
		s.Refusals++
	}
	if again := min(s.Refusals-1, maxDoublings); again > 0 {
		wait := max(until.Sub(r.At)<<again, r.Patience<<(again-1))
		until = r.At.Add(min(wait, max(r.Longest, r.Until.Sub(r.At))))
	}
	if s.Close(until) {
		s.empty(s.PausedUntil)
	}
	return moment(s.PausedUntil)
}

// empty counts the bucket as empty until a moment, at which it gets the first token.
func (s *State) empty(until int64) {
	s.Opened = until
	s.Debts = nil
	if s.Limit.Known() {
		s.Debts = debts{{At: until, N: s.Limit.Capacity, Step: s.Limit.Spacing().Microseconds()}}
	}
}

// Accepted notes that a call was accepted, and reports whether that changed anything: the next
// refusal is the first of a row again.
func (s *State) Accepted(sent time.Time) bool {
	if s.Refusals == 0 || sent.UnixMicro() < s.PausedUntil {
		return false
	}
	s.Refusals = 0
	return true
}

// Learn takes over a limit, and reports whether that changed anything. Only another configured limit replaces a
// configured one; of the others the latest counts, except that a default never replaces a limit.
func (s *State) Learn(l Limit, from Source) bool {
	switch {
	case !l.Known() || l.Validate() != nil:
		return false
	case s.Source == SourceConfig && from != SourceConfig, from == SourceDefault && s.Limit.Known():
		return false
	case l == s.Limit && from == s.Source:
		return false
	}
	s.Limit, s.Source = l, from
	return true
}

// Forget drops a configured limit that is no longer configured.
func (s *State) Forget() bool {
	if s.Source != SourceConfig {
		return false
	}
	s.Limit, s.Source, s.Debts = Limit{}, SourceNone, nil
	return true
}

// Owe counts at least n tokens as out, and reports whether that changed anything: another client
// draws on the bucket, or this fleet did before the limit was known.
func (s *State) Owe(now time.Time, n int) bool {
	if !s.Limit.Known() {
		return false
	}
	at := micros(now)
	s.Debts = s.Debts.settle(at)
	missing := min(n, s.Limit.Capacity) - s.Debts.out()
	for range missing {
		s.lend(at)
	}
	return missing > 0
}

// micros is a moment in microseconds of Unix time, rounded up so that nothing is early.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Add(time.Microsecond - 1).UnixMicro()
}

func moment(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us)
}
