package schedule

import (
	"time"

	"github.com/robfig/cron/v3"
)

// Expr is a parsed schedule expression with its time zone. Make one with [Parse]; the zero Expr never ticks.
type Expr struct {
	text string
	loc  *time.Location
	// Of these two, exactly one is set.
	every  time.Duration
	fields *cron.SpecSchedule
}

// String returns the expression as it was given, with single spaces and without its zone.
func (e Expr) String() string { return e.text }

// Zone returns the IANA name of the time zone, "UTC" where none was given.
func (e Expr) Zone() string {
	if e.loc == nil {
		return ""
	}
	return e.loc.String()
}

// Next returns the first tick strictly later than after, in UTC.
//
// "@every D" ticks at the multiples of D since the Unix epoch, in absolute time: all workers and restarts agree, and
// no change of the clock moves a tick. All other expressions tick by the clock on the wall of their zone, once for
// each minute that they match. Where that clock is changed, by whatever amount, these rules hold:
//
//   - A tick whose wall time comes twice fires at the first of the two and not at the second. So "*/10 * * * *" rests
//     during the repeated hour; use "@every 10m" for an even pace.
//   - A tick whose wall time is skipped fires at the moment of the jump. Several skipped ticks, and a tick of the
//     minute that the clock jumps to, are one tick there: "*/10 2 * * *" fires once, at 03:00.
//   - Except, much as in Vixie cron, that a schedule of all 24 hours is not moved where it keeps its pace by itself: a
//     skipped tick is left out if another tick comes at the very moment at which the skipped one would have come
//     had the clock not been changed. So "30 * * * *" goes on from 01:30 to 03:30, which is an hour later.
//
// In short, a tick fires as soon as the clock shows its wall time or a later one for the first time.
func (e Expr) Next(after time.Time) time.Time {
	switch {
	case e.every > 0:
		return nextMultiple(after, e.every)
	case e.fields == nil:
		return time.Time{}
	}
	// The search runs on wall times, written as if they were UTC, in which no hour is missing or doubled. robfig/cron's
	// own arithmetic in the zone would skip the first kind of tick and double the second.
	for wall := latestWall(after, e.loc); ; {
		wall = nextWall(e.fields, wall)
		if wall.IsZero() {
			return time.Time{}
		}
		at, gap := firstInstant(wall, e.loc)
		if gap > 0 && isEveryHour(e.fields.Hour) && e.matchesWall(wall.Add(gap)) {
			continue
		}
		return at
	}
}

// between counts the ticks after after up to and including until, and returns the last keep of them in their order.
func (e Expr) between(after, until time.Time, keep int) (int, []time.Time) {
	count := 0
	if e.every > 0 {
		// Counting one by one would take seconds for "@every 1s" after a year's absence.
		step := int64(e.every / time.Second)
		first, end := e.Next(after).Unix(), until.Unix()
		if first > end {
			return 0, nil
		}
		total := int((end-first)/step) + 1
		count = max(0, total-keep)
		after = time.Unix(first+int64(count-1)*step, 0)
	}
	var last []time.Time
	for at := e.Next(after); !at.IsZero() && !at.After(until); at = e.Next(at) {
		count++
		if last = append(last, at); len(last) >= 2*keep {
			last = append(last[:0], last[len(last)-keep:]...)
		}
	}
	return count, last[max(0, len(last)-keep):]
}

// matchesWall says whether the expression has a tick at that wall time.
func (e Expr) matchesWall(wall time.Time) bool {
	return nextWall(e.fields, wall.Add(-time.Second)).Equal(wall)
}

// fingerprint identifies what a schedule's stored times belong to.
func (e Expr) fingerprint() string {
	return e.text + " " + e.Zone()
}

// nextMultiple returns the first multiple of every since the Unix epoch after after.
func nextMultiple(after time.Time, every time.Duration) time.Time {
	step := int64(every / time.Second)
	seconds := after.Unix()
	// Go's remainder has the sign of the dividend, and times before 1970 are negative.
	phase := (seconds%step + step) % step
	return time.Unix(seconds-phase+step, 0).UTC()
}

// nextWall returns the first wall time after wall that fields match, or zero if there is none.
func nextWall(fields *cron.SpecSchedule, wall time.Time) time.Time {
	// robfig/cron gives up after the fifth year from now. But 29 February can be 8 years away, and 1 February on a
	// given weekday 12, across a year such as 2100 that is no leap year.
	const searchSpan, rounds = 5, 3
	for range rounds {
		if next := fields.Next(wall); !next.IsZero() {
			return next
		}
		wall = time.Date(wall.Year()+searchSpan, time.December, 31, 23, 59, 59, 0, time.UTC)
	}
	return time.Time{}
}
