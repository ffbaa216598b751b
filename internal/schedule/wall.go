package schedule

import "time"

// Wall times are what a clock on the wall of some zone shows, held as a time.Time whose UTC fields are those of the
// clock. They are never skipped and never repeated, which instants of the zone are.

// zoneReach is longer than the sum of the greatest offset from UTC and the greatest change of an offset (a day, when
// a country crosses the date line), so no change further away than this has a say in what the clock shows.
const zoneReach = 48 * time.Hour

// offset returns by how much the clock of t's zone is ahead of UTC at t.
func offset(t time.Time) time.Duration {
	_, seconds := t.Zone()
	return time.Duration(seconds) * time.Second
}

// latestWall returns the latest wall time that the clock of loc has shown up to t, t included. After the clock was
// set back this is later than what it shows now.
func latestWall(t time.Time, loc *time.Location) time.Time {
	latest := t.UTC().Add(offset(t.In(loc)))
	for at := t.Add(-zoneReach).In(loc); ; {
		_, end := at.ZoneBounds()
		if end.IsZero() || end.After(t) {
			return latest
		}
		if shown := end.UTC().Add(offset(at) - time.Nanosecond); shown.After(latest) {
			latest = shown
		}
		at = end
	}
}

// firstInstant returns the first instant, in UTC, at which the clock of loc shows wall or a later time, and the
// length of the jump if the clock jumps over wall (0 if it shows wall).
func firstInstant(wall time.Time, loc *time.Location) (at time.Time, gap time.Duration) {
	period := wall.Add(-zoneReach).In(loc)
	before := offset(period)
	for {
		start, end := period.ZoneBounds()
		now := offset(period)
		at = wall.Add(-now)
		if end.IsZero() || at.Before(end) {
			if at.Before(start) {
				return start.UTC(), now - before
			}
			return at.UTC(), 0
		}
		before, period = now, end
	}
}
