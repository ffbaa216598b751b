package schedule

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	gocron "github.com/netresearch/go-cron"
)

// These tests compare us with netresearch/go-cron, a descendant of robfig/cron that has mended its treatment of daylight
// saving, and that shares no code with what we search with. Where the two differ, one of these reasons must hold, which
// are checked and not believed.
const (
	// They tick again in the hour that comes twice: their scheduler leaves that out when it fires, ours in Next.
	reasonSecondPass = "they tick in the second pass"
	// A skipped tick fires at the jump with us, as crontab(5) has it; they let it come as long after the jump as it
	// would have come without the change, where only one hour is skipped.
	reasonAtTheJump    = "we fire a skipped tick at the jump"
	reasonLateByTheGap = "they fire a skipped tick later"
	// Their tick does not match the expression: after a change at midnight they land on the wrong day.
	reasonMismatch = "theirs is not what was asked for"
	// Our tick matches the expression at a wall time that is shown for the first time, and they leave it out on the two
	// days around a change that is not the usual one: it comes at midnight, is not of one hour, or not on the hour.
	reasonLost = "they lose a tick at an unusual change"
	// Their Next returns a moment that is not later, and so they come no further.
	reasonStuck = "they are stuck"
	// They refuse a step that is as long as its range or longer: 13-15/5.
	reasonRefused = "they refuse the expression"
)

// theirs parses an expression as they do. As in crontab(5), days must fit both fields where one of them begins with a star;
// they look at that only when told to, and not at a star with a step.
func theirs(expr, zone string) (gocron.Schedule, error) {
	options := gocron.Minute | gocron.Hour | gocron.Dom | gocron.Month | gocron.Dow
	if words := strings.Fields(expr); !strings.ContainsAny(words[2][:1]+words[4][:1], "*?") {
		options |= gocron.DowOrDom
	}
	return gocron.MustNewParser(options).Parse("TZ=" + zone + " " + expr)
}

// difference explains the differences around one change of the clock.
type difference struct {
	e      Expr
	change time.Time
	gap    time.Duration // By how much the clock is set forward.
}

// wall is what the clock shows at a moment, and whether it does so for the first time.
func (d difference) wall(at time.Time) (wall time.Time, first bool) {
	wall = at.UTC().Add(offset(at.In(d.e.loc)))
	return wall, latestWall(at.Add(-1), d.e.loc).Before(wall)
}

// theirsOnly explains a tick that only they have.
func (d difference) theirsOnly(at time.Time) string {
	wall, first := d.wall(at)
	switch {
	case !first:
		return reasonSecondPass
	case d.gap > 0 && !at.Before(d.change) && at.Before(d.change.Add(d.gap)) && d.e.matchesWall(wall.Add(-d.gap)):
		return reasonLateByTheGap
	case !d.e.matchesWall(wall):
		return reasonMismatch
	}
	return ""
}

// oursOnly explains a tick that only we have.
func (d difference) oursOnly(at time.Time) string {
	wall, first := d.wall(at)
	if d.gap > 0 && at.Equal(d.change) {
		if skipped := nextWall(d.e.fields, wall.Add(-d.gap-time.Second)); !skipped.IsZero() && skipped.Before(wall) {
			return reasonAtTheJump
		}
	}
	near := !at.Before(d.change.Add(-24*time.Hour)) && at.Before(d.change.Add(48*time.Hour))
	if first && d.e.matchesWall(wall) && near && d.isUnusual() {
		return reasonLost
	}
	return ""
}

func (d difference) isUnusual() bool {
	after, _ := d.wall(d.change)
	before := after.Add(-d.gap)
	midnight := func(wall time.Time) bool { return wall.Hour() == 0 }
	return d.gap.Abs() != time.Hour || before.Minute() != 0 || midnight(before) || midnight(after)
}

// ticksUntil returns the ticks after from, up to the first one that is not later than the one before.
func ticksUntil(next func(time.Time) time.Time, from, until time.Time) (ticks map[int64]bool, stuck time.Time) {
	ticks = map[int64]bool{}
	for at := next(from); !at.IsZero() && at.Before(until); {
		ticks[at.Unix()] = true
		further := next(at)
		if !further.After(at) {
			return ticks, at
		}
		at = further
	}
	return ticks, until
}

// compareIndependent compares the ticks of an expression in a time and counts the reasons of the differences.
func compareIndependent(t *testing.T, d difference, from, until time.Time, reasons map[string]int) (common int) {
	t.Helper()
	other, err := theirs(d.e.String(), d.e.Zone())
	if err != nil {
		if !strings.Contains(err.Error(), "must be less than range size") {
			t.Errorf("%q: %v", d.e, err)
		}
		reasons[reasonRefused]++
		return 0
	}
	their, end := ticksUntil(other.Next, from, until)
	if end.Before(until) {
		reasons[reasonStuck]++
	}
	our, _ := ticksUntil(d.e.Next, from, end)
	for _, unix := range slices.Sorted(maps.Keys(our)) {
		at := time.Unix(unix, 0)
		reason := d.oursOnly(at)
		switch {
		case their[unix]:
			common++
		case reason == "":
			t.Errorf("%q: only we tick at %s", d.e, at.In(d.e.loc))
		default:
			reasons[reason]++
		}
	}
	for _, unix := range slices.Sorted(maps.Keys(their)) {
		at := time.Unix(unix, 0)
		if our[unix] || !at.Before(end) {
			continue
		}
		reason := d.theirsOnly(at)
		if reason == "" {
			t.Errorf("%q: only they tick at %s", d.e, at.In(d.e.loc))
		}
		reasons[reason]++
	}
	return common
}

// TestIndependentImplementation compares us around changes of the clock in every zone that has any.
func TestIndependentImplementation(t *testing.T) {
	reasons := map[string]int{}
	common := 0
	cases(t, 1, 4, func(t *testing.T, z zoneChanges, at time.Time, exprs []string) {
		for _, expr := range exprs {
			d := difference{e: mustParse(t, expr, z.name), change: at, gap: offset(at.In(z.loc)) - offset(at.Add(-1).In(z.loc))}
			common += compareIndependent(t, d, at.Add(-36*time.Hour), at.Add(36*time.Hour), reasons)
		}
	})
	t.Logf("%d ticks in common; differences: %v", common, reasons)
	if common < 1000 || reasons[reasonSecondPass] == 0 || reasons[reasonAtTheJump] == 0 || reasons[reasonRefused] == 0 {
		t.Errorf("too little is compared: %d in common and %v", common, reasons)
	}
}

// TestIndependentCalendar compares us where no clock is changed: there must be no difference.
func TestIndependentCalendar(t *testing.T) {
	reasons := map[string]int{}
	common := 0
	for _, expr := range zoneExprs() {
		from := time.Date(2027, time.December, 20, 0, 0, 0, 0, time.UTC) // The turn of the year is in it.
		d := difference{e: mustParse(t, expr, "UTC"), change: from.AddDate(-10, 0, 0)}
		common += compareIndependent(t, d, from, from.AddDate(0, 0, 15), reasons)
	}
	delete(reasons, reasonRefused)
	if len(reasons) != 0 || common < 5_000 {
		t.Errorf("%d ticks in common, and differences: %v", common, reasons)
	}
}

// TestIndependentEvery compares the pace of @every. They count from whenever they are asked; ours keeps its phase across
// restarts, so that the first tick is earlier, and all others come at the same pace.
func TestIndependentEvery(t *testing.T) {
	start := time.Date(2026, time.March, 29, 0, 17, 5, 0, time.UTC)
	for _, every := range []string{"1s", "90s", "10m", "1h30m", "6h", "25h"} {
		other, err := gocron.ParseStandard("@every " + every)
		if err != nil {
			t.Fatal(err)
		}
		e := mustParse(t, "@every "+every, "Europe/Berlin")
		our, their := e.Next(start), other.Next(start)
		if our.After(their) {
			t.Errorf("@every %s: our first tick is %s, theirs %s", every, our, their)
		}
		shift := their.Sub(our)
		for range 50 {
			if our, their = e.Next(our), other.Next(their); their.Sub(our) != shift {
				t.Errorf("@every %s: the distance has changed from %s to %s", every, shift, their.Sub(our))
				break
			}
		}
		// A worker that starts at another moment has the same ticks.
		if late := e.Next(our.Add(-time.Second)); !late.Equal(our) {
			t.Errorf("@every %s: started a second before %s, the first tick is %s", every, our, late)
		}
	}
}
