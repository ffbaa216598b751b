package schedule

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"time"
)

// Missed is what happens to the ticks that came due while no worker ran.
type Missed string

// The values of [Missed].
const (
	// MissedSkip makes up for none of them.
	MissedSkip Missed = "skip"
	// MissedOnce makes up for the latest one only.
	MissedOnce Missed = "once"
	// MissedAll makes up for each one, the oldest first, up to the latest 1000.
	MissedAll Missed = "all"
)

// Overlap is what happens to a tick that comes while the schedule's last job has no outcome yet.
type Overlap string

// The values of [Overlap].
const (
	// OverlapAllow fires the tick: it makes a job of its own.
	OverlapAllow Overlap = "allow"
	// OverlapSkip leaves the tick out.
	OverlapSkip Overlap = "skip"
	// OverlapQueue fires the tick when the last job is done. What comes due in the meantime follows Missed.
	OverlapQueue Overlap = "queue"
)

// catchUpLimit bounds MissedAll, so that a long absence cannot flood the queue.
const catchUpLimit = 1000

// countedAbsence bounds the search for missed ticks, which would take minutes if the clock had been in 1970 once.
const countedAbsence = 366 * 24 * time.Hour

// Spec is one schedule: when it ticks and how its ticks are treated.
type Spec struct {
	// Name identifies the schedule in the store, in ticks, metrics and logs. It must be unique and not change.
	Name string
	// Expr says when it ticks.
	Expr Expr
	// Jitter delays each tick by a time of its own below Jitter, which is the same on all workers. 0: no delay.
	Jitter time.Duration
	// Missed says what happens to missed ticks. Empty: MissedOnce.
	Missed Missed
	// MaxLate is how long after its due time a tick may still fire, be it missed, failing or queued. 0: 24 hours.
	MaxLate time.Duration
	// Overlap says what happens to a tick while the last job is not done. Empty: OverlapAllow.
	Overlap Overlap
	// NotDuring are the times in which nothing fires. Empty: none.
	NotDuring []Window
}

// Tick is one moment at which a schedule is to fire. The schedule and At identify it on every worker.
type Tick struct {
	// Schedule is the name of the schedule.
	Schedule string
	// At is the nominal time, in UTC, without jitter.
	At time.Time
	// Due is when the tick fires: At, or the end of the window that it is moved to, and its share of the jitter.
	Due time.Time
	// Blackout says in which window of NotDuring At lies. Empty: in none.
	Blackout string
	// Skip says that the tick is left out for it. Otherwise it is moved.
	Skip bool
}

// Validate returns everything that is wrong with the schedule, joined.
func (s Spec) Validate() error {
	var errs []error
	if s.Name == "" {
		errs = append(errs, errors.New("the name is empty"))
	}
	if s.Expr.Next(time.Unix(0, 0)).IsZero() {
		errs = append(errs, errors.New("the expression is missing"))
	}
	if s.Jitter < 0 {
		errs = append(errs, fmt.Errorf("the jitter %s is negative", s.Jitter))
	}
	if s.MaxLate < 0 {
		errs = append(errs, fmt.Errorf("the maximal lateness %s is negative", s.MaxLate))
	}
	switch s.Missed {
	case "", MissedSkip, MissedOnce, MissedAll:
	default:
		errs = append(errs, fmt.Errorf("missed is %q instead of skip, once or all", string(s.Missed)))
	}
	switch s.Overlap {
	case "", OverlapAllow, OverlapSkip, OverlapQueue:
	default:
		errs = append(errs, fmt.Errorf("overlap is %q instead of allow, skip or queue", string(s.Overlap)))
	}
	for i, w := range s.NotDuring {
		if err := w.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("window %d: %w", i+1, err))
		}
	}
	return errors.Join(errs...)
}

// Upcoming returns the next n ticks of spec whose nominal time is later than from.
func Upcoming(spec Spec, from time.Time, n int) []Tick {
	var ticks []Tick
	for range n {
		if from = spec.Expr.Next(from); from.IsZero() {
			break
		}
		ticks = append(ticks, spec.tick(from))
	}
	return ticks
}

// tick says when the tick of the nominal time at fires. A tick stays more than a second before the next one: where
// Jitter is longer than that, it spreads the tick over what there is. Of the ticks that lie in one window of NotDuring,
// at most the last one is moved, and only if no other tick comes by the end of the window: one job stands for all.
func (s Spec) tick(at time.Time) Tick {
	tick := Tick{Schedule: s.Name, At: at, Due: at}
	next := s.Expr.Next(at)
	if w, end, in := s.blackout(at); in {
		tick.Blackout = w.String()
		if !w.Move || end.IsZero() || !next.IsZero() && !next.After(end) {
			tick.Skip = true
			return tick
		}
		tick.Due = end
	}
	room := s.Jitter
	if !next.IsZero() {
		room = min(room, next.Sub(tick.Due)-time.Second)
	}
	if room > 0 {
		due := tick.Due.Add(spread(s.Name, at, room))
		// The jitter must not carry the tick into a window.
		if _, _, in := s.blackout(due); !in {
			tick.Due = due
		}
	}
	return tick
}

// spread maps a tick to a time in [0, span), evenly over the ticks and always the same for one tick.
func spread(name string, at time.Time, span time.Duration) time.Duration {
	key := binary.BigEndian.AppendUint64([]byte(name), uint64(at.Unix()))
	sum := sha256.Sum256(key)
	share, _ := bits.Mul64(binary.BigEndian.Uint64(sum[:8]), uint64(span))
	return time.Duration(share).Truncate(time.Millisecond)
}

// overdue counts the ticks after after that were due by now, and returns the latest of them, at most catchUpLimit.
// Ticks from before countedAbsence are not counted, unless they might fire still.
func (s Spec) overdue(after, now time.Time) (int, []Tick) {
	after = later(after, now.Add(-max(countedAbsence, s.MaxLate)))
	count, times := s.Expr.between(after, now, catchUpLimit)
	ticks := make([]Tick, 0, len(times))
	for _, at := range times {
		ticks = append(ticks, s.tick(at))
	}
	// The last tick may be waiting for its jitter or the end of a window still. Never more than one: both end before
	// the next tick, and of a window's ticks only the last one is moved.
	if last := len(ticks) - 1; last >= 0 && ticks[last].Due.After(now) {
		return count - 1, ticks[:last]
	}
	return count, ticks
}

// makeUp returns the overdue ticks from the first one on that is to fire now. Those before it, or all if there is none,
// are passed over. Ticks that a window leaves out may be among them; of the others, all fire.
func (s Spec) makeUp(overdue []Tick, now time.Time) []Tick {
	first := len(overdue)
	for i := len(overdue) - 1; i >= 0 && s.Missed != MissedSkip && !s.tooLate(overdue[i], now); i-- {
		if overdue[i].Skip {
			continue
		}
		first = i
		if s.Missed == MissedOnce {
			break
		}
	}
	return overdue[first:]
}

// tooLate says whether the tick may no longer fire.
func (s Spec) tooLate(tick Tick, now time.Time) bool {
	return now.Sub(tick.Due) > s.MaxLate
}

// fingerprint identifies all that a running schedule goes by.
func (s Spec) fingerprint() string {
	parts := []string{fmt.Sprint(s.Name, s.Expr.fingerprint(), s.Jitter, s.Missed, s.MaxLate, s.Overlap)}
	for _, w := range s.NotDuring {
		parts = append(parts, fmt.Sprint(w.From.UnixNano(), w.Until.UnixNano(), w.Opens.fingerprint(), w.For, w.Move, w.Reason))
	}
	return strings.Join(parts, "|")
}
