package schedule

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
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
	// MaxLate is how long after its due time a tick may still fire, be it missed or failing. 0: 24 hours.
	MaxLate time.Duration
}

// Tick is one moment at which a schedule is to fire. The schedule and At identify it on every worker.
type Tick struct {
	// Schedule is the name of the schedule.
	Schedule string
	// At is the nominal time, in UTC, without jitter.
	At time.Time
	// Due is when the tick fires: At and its share of the jitter.
	Due time.Time
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

// tick adds the jitter to the nominal time at. A tick stays more than a second before the next one: where Jitter is
// longer than that, it spreads the tick over what there is.
func (s Spec) tick(at time.Time) Tick {
	tick := Tick{Schedule: s.Name, At: at, Due: at}
	if s.Jitter > 0 {
		room := s.Expr.Next(at).Sub(at) - time.Second
		if span := min(s.Jitter, room); span > 0 {
			tick.Due = at.Add(spread(s.Name, at, span))
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
	// The last tick may be waiting for its jitter still. Never more than one: the jitter ends before the next tick.
	if last := len(ticks) - 1; last >= 0 && ticks[last].Due.After(now) {
		return count - 1, ticks[:last]
	}
	return count, ticks
}

// makeUp returns those of the missed ticks that are to fire now.
func (s Spec) makeUp(missed []Tick, now time.Time) []Tick {
	switch s.Missed {
	case MissedSkip:
		return nil
	case MissedOnce:
		missed = missed[max(0, len(missed)-1):]
	case MissedAll:
	}
	for len(missed) > 0 && s.tooLate(missed[0], now) {
		missed = missed[1:]
	}
	return missed
}

// tooLate says whether the tick may no longer fire.
func (s Spec) tooLate(tick Tick, now time.Time) bool {
	return now.Sub(tick.Due) > s.MaxLate
}
