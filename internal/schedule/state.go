package schedule

import (
	"context"
	"maps"
	"slices"
	"time"
)

// Store keeps the state of each schedule, shared by all workers and by the commands of operators.
type Store interface {
	// Load returns the state and its revision, or a zero State and revision 0 where there is none.
	Load(ctx context.Context, name string) (state State, revision uint64, err error)
	// Save replaces the state if revision is still the latest one (0: if there is none), and returns the new
	// revision. If it is not, the error wraps jobs.ErrConflict and nothing has changed.
	Save(ctx context.Context, name string, state State, revision uint64) (newRevision uint64, err error)
}

// State is what must outlive a worker, per schedule. All times are in UTC.
type State struct {
	// LastFire is the nominal time of the latest tick that fired. Zero: none has.
	LastFire time.Time `json:"last_fire,omitzero"`
	// LastJob is the id of the job that the schedule made last, at a tick or because an operator ran it, and
	// LastJobAt when that was. Empty: none.
	LastJob   string    `json:"last_job,omitempty"`
	LastJobAt time.Time `json:"last_job_at,omitzero"`
	// Settled is the nominal time up to which every tick is dealt with: it has fired, or was missed and passed over.
	Settled time.Time `json:"settled"`
	// Since is when the schedule was first seen as it is. It has no ticks before.
	Since time.Time `json:"since"`
	// Fingerprint identifies the expression and zone that this state belongs to: a changed schedule starts afresh.
	Fingerprint string `json:"fingerprint"`
	// Removed is when it was found that no worker has the schedule any more. Where one has it again, it starts afresh.
	Removed time.Time `json:"removed,omitzero"`
	// Keepers are the workers that have the schedule, each with the moment until which it is waited for when it is away:
	// as long as it may make up for a tick. See keep and Leave.
	Keepers map[string]time.Time `json:"keepers,omitempty"`

	// Missed counts the ticks since Since that were not run, because no worker was there or none could fire them in
	// time, and LastMissed is the latest of them.
	Missed     int       `json:"missed,omitempty"`
	LastMissed time.Time `json:"last_missed,omitzero"`
	// Skipped counts the ticks since Since that were left out on purpose.
	Skipped map[Verdict]int `json:"skipped,omitempty"`
	// Recent are the latest decisions, in the order of their ticks.
	Recent []Decision `json:"recent,omitempty"`

	// Pause is who has paused the schedule, when and why. Zero: it is not paused.
	Pause Operation `json:"pause,omitzero"`
	// Operations are what operators did, the latest 64.
	Operations []Operation `json:"operations,omitempty"`
}

// Verdict is what was decided about a tick.
type Verdict string

// The verdicts. Of all workers, the first one decides.
const (
	// VerdictFiring says that the tick is to fire. It may have fired already.
	VerdictFiring Verdict = "firing"
	// VerdictFired says that the tick has fired.
	VerdictFired Verdict = "fired"
	// VerdictPaused says that the tick was left out because the schedule was paused.
	VerdictPaused Verdict = "paused"
	// VerdictOverlap says that the tick was left out because the schedule's last job was not done.
	VerdictOverlap Verdict = "overlap"
	// VerdictBlackout says that the tick was left out because it lay in a window of NotDuring.
	VerdictBlackout Verdict = "blackout"
	// verdictWait says that it is too early to decide.
	verdictWait Verdict = "wait"
	// verdictSettled says that a late tick was dealt with, and how is not known any more.
	verdictSettled Verdict = "settled"
)

// Skips lists the reasons for which a tick is left out on purpose.
func Skips() []Verdict { return []Verdict{VerdictPaused, VerdictOverlap, VerdictBlackout} }

// Decision is what was decided about one tick.
type Decision struct {
	// At is the nominal time of the tick.
	At time.Time `json:"at"`
	// Verdict is what becomes of it.
	Verdict Verdict `json:"verdict"`
}

const (
	// keptDecisions is how many decisions are kept for people, and keptFor how long the others are, up to
	// maxDecisions: a worker whose clock is behind comes to a tick that much later, and must find it decided.
	keptDecisions, maxDecisions = 10, 128
	keptFor                     = 2 * time.Minute
)

// verdict returns what was decided about the tick of the nominal time at, or "".
func (s *State) verdict(at time.Time) Verdict {
	for _, d := range s.Recent {
		if d.At.Equal(at) {
			return d.Verdict
		}
	}
	return ""
}

// decide notes a verdict on a tick and settles it. For a tick that is to fire, job is the id of its job.
func (s *State) decide(tick Tick, v Verdict, job string, now time.Time) {
	s.note(tick.At, v)
	switch v {
	case VerdictFiring:
		s.LastJob, s.LastJobAt = job, now
		return // It is settled when it has fired.
	case VerdictFired:
		s.LastFire = later(s.LastFire, tick.At)
	default:
		// A copy: the old map belongs to the caller that loaded the state.
		skipped := map[Verdict]int{v: 1}
		for reason, n := range s.Skipped {
			skipped[reason] += n
		}
		s.Skipped = skipped
	}
	s.Settled = later(s.Settled, tick.At)
}

// note puts a verdict into the list of the recent ones, in place of an earlier one on the same tick.
func (s *State) note(at time.Time, v Verdict) {
	recent := make([]Decision, 0, len(s.Recent)+1)
	place := 0
	for _, d := range s.Recent {
		if d.At.Equal(at) {
			continue
		}
		recent = append(recent, d)
		if d.At.Before(at) {
			place = len(recent)
		}
	}
	recent = append(recent, Decision{})
	copy(recent[place+1:], recent[place:])
	recent[place] = Decision{At: at, Verdict: v}
	latest := recent[len(recent)-1].At
	for len(recent) > maxDecisions || len(recent) > keptDecisions && latest.Sub(recent[0].At) > keptFor {
		recent = recent[1:]
	}
	s.Recent = recent
}

// lose counts a tick that was given up, unless it is dealt with otherwise, and reports whether it did.
func (s *State) lose(tick Tick) bool {
	if v := s.verdict(tick.At); v != VerdictFiring && (v != "" || !tick.At.After(s.Settled)) {
		return false
	}
	recent := make([]Decision, 0, len(s.Recent))
	for _, d := range s.Recent {
		if !d.At.Equal(tick.At) {
			recent = append(recent, d)
		}
	}
	s.Recent = recent
	s.Missed++
	s.LastMissed = later(s.LastMissed, tick.At)
	s.Settled = later(s.Settled, tick.At)
	return true
}

// maxSkew is more than the clocks of two workers are apart.
const maxSkew = time.Minute

// notAhead returns the state without what lies in the future. A worker whose clock was far ahead must not silence the
// others until their clocks are there; at worst a tick fires a second time, which is the same job.
func (s State) notAhead(now time.Time) State {
	if !s.Settled.After(now.Add(maxSkew)) {
		return s
	}
	s.Settled, s.LastFire = now, time.Time{}
	recent := make([]Decision, 0, len(s.Recent))
	for _, d := range s.Recent {
		if d.At.After(now) {
			continue
		}
		if d.Verdict == VerdictFired {
			s.LastFire = d.At
		}
		recent = append(recent, d)
	}
	s.Recent = recent
	return s
}

// afresh returns the state of a schedule that begins at now, with what operators have said about it and who has it.
func (s State) afresh(fingerprint string, since, settled time.Time) State {
	return State{Settled: settled, Since: since, Fingerprint: fingerprint, Pause: s.Pause, Operations: s.Operations, Keepers: s.Keepers}
}

const (
	// leastKept is how long a worker that has a schedule is waited for at least.
	leastKept = 10 * time.Minute
	// maxKeepers bounds how many are listed. Workers that have a new name after each start leave one behind each time.
	maxKeepers = 32
)

// keep notes that a worker has the schedule, and reports whether that changed the state: it does so once in half the time
// for which the worker is waited for at least, whenever it goes.
func (s *State) keep(keeper string, maxLate time.Duration, now time.Time) bool {
	span := max(maxLate, leastKept)
	if keeper == "" || s.Keepers[keeper].Sub(now) > span {
		return false
	}
	keepers := map[string]time.Time{keeper: now.Add(span + span/2)}
	for _, name := range slices.SortedFunc(maps.Keys(s.Keepers), func(a, b string) int { return s.Keepers[b].Compare(s.Keepers[a]) }) {
		if until := s.Keepers[name]; name != keeper && until.After(now) && len(keepers) < maxKeepers {
			keepers[name] = until
		}
	}
	s.Keepers = keepers
	return true
}

// Leave returns the state after a worker has found that it does not have the schedule: it is removed unless another one
// has it, be that one away at the moment. It reports whether that changed the state.
func (s State) Leave(keeper string, now time.Time) (State, bool) {
	if s.Since.IsZero() || !s.Removed.IsZero() {
		return s, false // It was never there, or is removed already.
	}
	keepers := map[string]time.Time{}
	for name, until := range s.Keepers {
		if name != keeper && until.After(now) {
			keepers[name] = until
		}
	}
	if len(keepers) == 0 {
		s.Removed = now
	}
	changed := len(keepers) == 0 || len(keepers) != len(s.Keepers)
	s.Keepers = keepers
	return s, changed
}

// earlier returns the earlier one of two times.
func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// later returns the later one of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
