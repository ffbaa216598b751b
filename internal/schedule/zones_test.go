package schedule

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // So that the tests know all zones wherever they run.
)

// The years whose changes of the clock are tested.
const firstYear, lastYear = 2020, 2035

// zoneChanges is a zone with its changes of the clock from firstYear to lastYear.
type zoneChanges struct {
	name    string
	loc     *time.Location
	changes []time.Time
}

// changingZones returns every zone that changes its clock in those years. Of several names for the same changes, the
// first one stands for all.
func changingZones(t *testing.T) []zoneChanges {
	t.Helper()
	names, err := os.ReadFile("testdata/zones.txt") // Those of Go's lib/time/zoneinfo.zip.
	if err != nil {
		t.Fatal(err)
	}
	changing := 0
	known := map[string]bool{}
	var zones []zoneChanges
	for name := range strings.FieldsSeq(string(names)) {
		loc, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		z := zoneChanges{name: name, loc: loc, changes: changesOf(loc)}
		if len(z.changes) == 0 {
			continue
		}
		changing++
		key := ""
		for _, at := range z.changes {
			key += fmt.Sprint(at.Unix(), offset(at.In(loc)), offset(at.Add(-1).In(loc)), " ")
		}
		if !known[key] {
			known[key] = true
			zones = append(zones, z)
		}
	}
	if changing < 150 || len(zones) < 40 {
		t.Fatalf("only %d zones change their clock, in %d ways", changing, len(zones))
	}
	return zones
}

// changesOf returns when the clock of loc is changed, without changes of its name alone.
func changesOf(loc *time.Location) []time.Time {
	var changes []time.Time
	last := time.Date(lastYear+1, time.January, 1, 0, 0, 0, 0, time.UTC)
	for at := time.Date(firstYear, time.January, 1, 0, 0, 0, 0, time.UTC).In(loc); ; {
		_, end := at.ZoneBounds()
		if end.IsZero() || !end.Before(last) {
			return changes
		}
		if offset(end) != offset(at) {
			changes = append(changes, end.UTC())
		}
		at = end
	}
}

// zoneExprs returns a few hundred expressions: ones that are of interest at a change of the clock, and random ones.
func zoneExprs() []string {
	exprs := []string{
		"* * * * *", "*/10 * * * *", "*/20 * * * *", "7/20 * * * *", "0 * * * *", "30 * * * *", "59 * * * *", "0 0 * * *",
		"30 0 * * *", "59 23 * * *", "0 1 * * *", "30 1 * * *", "0 2 * * *", "30 2 * * *", "59 2 * * *", "0 3 * * *", "30 3 * * *",
		"0 */2 * * *", "30 1/2 * * *", "15 0-3 * * *", "*/15 1-3 * * *", "0 2,3 * * *", "0 0,1 * * *", "0 0 * * 0", "30 2 * * 0",
		"0 3 * * 0", "0 0 1 * *", "0 0 31 * 6", "0 2 25-31 3 0", "0 2 25-31 10 *", "*/30 0-23 * * *", "45 23 * * 6",
		"0 12 * * *", "0 4 * * 1-5", "0 0 29 2 *",
	}
	rng := rand.New(rand.NewPCG(20, 35))
	for len(exprs) < 320 {
		exprs = append(exprs, randomExpr(rng))
	}
	valid := exprs[:0]
	for _, expr := range exprs {
		if _, err := Parse(expr, ""); err == nil {
			valid = append(valid, expr)
		}
	}
	return valid
}

// cases calls test for the combinations of a zone's changes and expressions that are to be tested: so many changes of each
// zone with so many expressions each, always the same ones, or with the build tag "full" all, which takes a quarter of an
// hour:
//
//	go test ./internal/schedule -tags full -run 'EveryZone|Independent' -timeout 1h
func cases(t *testing.T, changes, exprs int, test func(t *testing.T, z zoneChanges, at time.Time, exprs []string)) {
	t.Helper()
	all := zoneExprs()
	if len(all) < 250 {
		t.Fatalf("there are only %d expressions", len(all))
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for _, z := range changingZones(t) {
		some, chosen := z.changes, all
		if !full {
			some = nil
			for range changes {
				some = append(some, z.changes[rng.IntN(len(z.changes))])
			}
		}
		t.Run(z.name, func(t *testing.T) {
			for _, at := range some {
				if !full {
					chosen = nil
					for range exprs {
						chosen = append(chosen, all[rng.IntN(len(all))])
					}
				}
				test(t, z, at, chosen)
			}
		})
	}
}

// TestEveryZone is the promise: around every change of the clock of every zone no tick is lost and none doubled, they keep
// their order, and Next is always later, whatever moment it is asked for.
func TestEveryZone(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	compared := 0
	cases(t, 2, 4, func(t *testing.T, z zoneChanges, at time.Time, exprs []string) {
		c := watch(z.loc, at.Add(-30*time.Hour), at.Add(30*time.Hour))
		for _, expr := range exprs {
			e := mustParse(t, expr, z.name)
			o := newOracle(expr)
			compared += compare(t, e, o, c)
			ticks := o.ticks(c)
			for range 10 {
				askAnywhere(t, e, c, ticks, rng)
			}
		}
	})
	if compared < 1000 {
		t.Errorf("only %d ticks were compared", compared)
	}
}

// askAnywhere asks for the tick after a moment that is no tick.
func askAnywhere(t *testing.T, e Expr, c clock, ticks []time.Time, rng *rand.Rand) {
	t.Helper()
	from := c.start.Add(time.Duration(rng.Int64N(int64(c.end.Sub(c.start)))))
	var want time.Time
	for _, tick := range ticks {
		if tick.After(from) {
			want = tick
			break
		}
	}
	switch got := e.Next(from); {
	case !got.After(from):
		t.Fatalf("%q: the tick after %s is %s", e, from.In(e.loc), got.In(e.loc))
	case want.IsZero() && got.Before(c.end):
		t.Fatalf("%q: after %s there is a tick at %s, want none", e, from.In(e.loc), got.In(e.loc))
	case !want.IsZero() && !got.Equal(want):
		t.Fatalf("%q: the tick after %s is %s, want %s", e, from.In(e.loc), got.In(e.loc), want.In(e.loc))
	}
}

// TestEveryZoneJitter has each tick be due within its bound and before the next one, around changes of the clock.
func TestEveryZoneJitter(t *testing.T) {
	cases(t, 1, 2, func(t *testing.T, z zoneChanges, at time.Time, exprs []string) {
		for _, expr := range exprs {
			spec := Spec{Name: "a", Expr: mustParse(t, expr, z.name), Jitter: 45 * time.Minute}
			var last Tick
			for _, tick := range Upcoming(spec, at.Add(-12*time.Hour), 60) {
				if late := tick.Due.Sub(tick.At); late < 0 || late >= spec.Jitter {
					t.Fatalf("%q: the tick of %s is due after %s", expr, tick.At.In(z.loc), late)
				}
				if !tick.At.After(last.Due) {
					t.Fatalf("%q: the tick of %s is due at %s, after the next one", expr, last.At.In(z.loc), last.Due.In(z.loc))
				}
				last = tick
			}
		}
	})
}
