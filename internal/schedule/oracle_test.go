package schedule

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// oracleZones have between them every kind of change of the clock from 2010 on: an hour, half an hour, a day, at
// midnight, backwards in summer, twice a year and once without an end.
func oracleZones() []string {
	return []string{
		"UTC", "Europe/Berlin", "Europe/London", "Europe/Dublin", "Europe/Lisbon", "Europe/Moscow", "Europe/Istanbul",
		"Europe/Volgograd", "America/New_York", "America/Los_Angeles", "America/St_Johns", "America/Sao_Paulo",
		"America/Havana", "America/Santiago", "America/Asuncion", "America/Caracas", "America/Nuuk", "America/Scoresbysund",
		"America/Mexico_City", "America/Whitehorse", "Africa/Casablanca", "Africa/Cairo", "Africa/Juba", "Africa/Sao_Tome",
		"Asia/Beirut", "Asia/Gaza", "Asia/Tehran", "Asia/Amman", "Asia/Pyongyang", "Asia/Kolkata", "Asia/Kathmandu",
		"Asia/Almaty", "Asia/Jerusalem", "Australia/Lord_Howe", "Australia/Adelaide", "Australia/Sydney", "Pacific/Apia",
		"Pacific/Fakaofo", "Pacific/Chatham", "Pacific/Auckland", "Pacific/Norfolk", "Pacific/Easter", "Pacific/Fiji",
		"Pacific/Bougainville", "Antarctica/Troll", "Antarctica/Casey", "Atlantic/Azores", "Indian/Mauritius",
	}
}

// randomExpr returns an expression that both we and robfig/cron accept.
func randomExpr(rng *rand.Rand) string {
	pick := func(choices ...string) string { return choices[rng.IntN(len(choices))] }
	number := func(low, high int) string { return fmt.Sprint(low + rng.IntN(high-low+1)) }
	span := func(low, high int) string {
		a, b := low+rng.IntN(high-low+1), low+rng.IntN(high-low+1)
		return fmt.Sprintf("%d-%d", min(a, b), max(a, b))
	}
	return strings.Join([]string{
		pick("*", "0", "30", "*/10", number(0, 59), number(0, 59)+","+number(0, 59), span(0, 59)+"/"+number(1, 20), number(0, 59)+"/7"),
		pick("*", "*", "0-23", "*/2", number(0, 4), number(0, 23), span(0, 6), number(0, 3)+","+span(0, 23), span(0, 23)+"/"+number(1, 5)),
		pick("*", "*", "*", "*", "?", "*/2", number(1, 31), span(1, 31)),
		pick("*", "*", "*", number(1, 12), "mar,OCT", span(1, 12)),
		pick("*", "*", "*", "*", "?", number(0, 6), "sun", "mon-FRI", span(0, 6), "*/3"),
	}, " ")
}

// oracle knows an expression only through five sets of numbers, and finds its ticks by watching the clock minute by minute.
type oracle struct {
	minute, hour, dom, month, dow [60]bool
	everyHour, either             bool
}

func newOracle(expr string) oracle {
	words := strings.Fields(strings.ToLower(expr))
	star := func(s string) bool { return s[0] == '*' || s[0] == '?' }
	o := oracle{
		minute: oracleSet(words[0], 0, 59), hour: oracleSet(words[1], 0, 23), dom: oracleSet(words[2], 1, 31),
		month: oracleSet(words[3], 1, 12), dow: oracleSet(words[4], 0, 6),
		either: !star(words[2]) && !star(words[4]),
	}
	o.everyHour = !slices.Contains(o.hour[:24], false)
	return o
}

func oracleSet(text string, low, high int) [60]bool {
	names := strings.NewReplacer("sun", "0", "mon", "1", "fri", "5", "mar", "3", "oct", "10", "?", "*")
	var set [60]bool
	for part := range strings.SplitSeq(names.Replace(text), ",") {
		from, to, step := low, high, 1
		span, stepText, stepped := strings.Cut(part, "/")
		if stepped {
			step = oracleNumber(stepText)
		}
		if first, second, isRange := strings.Cut(span, "-"); first != "*" {
			from = oracleNumber(first)
			if isRange {
				to = oracleNumber(second)
			} else if !stepped {
				to = from
			}
		}
		for n := from; n <= to; n += step {
			set[n] = true
		}
	}
	return set
}

func oracleNumber(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(err) // A mistake in randomExpr.
	}
	return n
}

func (o oracle) matches(wall time.Time) bool {
	if !o.minute[wall.Minute()] || !o.hour[wall.Hour()] || !o.month[wall.Month()] {
		return false
	}
	dom, dow := o.dom[wall.Day()], o.dow[wall.Weekday()]
	return dom && dow || o.either && (dom || dow)
}

// clock is what a zone's clock shows, minute by minute.
type clock struct {
	start, end time.Time
	walls      []time.Time
}

// lead is how long before its start a clock is watched: what it shows may come for the second time then.
const lead = 30 * time.Hour

func watch(loc *time.Location, start, end time.Time) clock {
	c := clock{start: start, end: end}
	for at := start.Add(-lead); at.Before(end); at = at.Add(time.Minute) {
		l := at.In(loc)
		c.walls = append(c.walls, time.Date(l.Year(), l.Month(), l.Day(), l.Hour(), l.Minute(), 0, 0, time.UTC))
	}
	return c
}

// ticks returns those after the start of the clock. Each minute that it shows for the first time, or jumps over, may tick.
func (o oracle) ticks(c clock) []time.Time {
	var found []time.Time
	shown, before := c.walls[0], c.walls[0].Add(-time.Minute)
	for i, now := range c.walls {
		gap := now.Sub(before) - time.Minute
		before = now
		tick := false
		for ; !shown.After(now); shown = shown.Add(time.Minute) {
			skipped := shown.Before(now)
			if o.matches(shown) && !(skipped && o.everyHour && o.matches(shown.Add(gap))) {
				tick = true
			}
		}
		if at := c.start.Add(time.Duration(i)*time.Minute - lead); tick && at.After(c.start) {
			found = append(found, at)
		}
	}
	return found
}

// windows returns the times around some changes of the clock of loc, and one without a change.
func windows(rng *rand.Rand, loc *time.Location) []time.Time {
	around := []time.Time{time.Date(2026, time.May, 1, 0, 0, 0, 0, time.UTC)}
	last := time.Date(2036, time.January, 1, 0, 0, 0, 0, time.UTC)
	for at := time.Date(2010, time.January, 1, 0, 0, 0, 0, loc); ; {
		_, end := at.ZoneBounds()
		if end.IsZero() || end.After(last) {
			break
		}
		around, at = append(around, end.UTC()), end
	}
	rng.Shuffle(len(around), func(i, j int) { around[i], around[j] = around[j], around[i] })
	return around[:min(len(around), 4)]
}

// TestNextAgreesWithTheClock is the promise itself: no tick lost, none doubled, always later, in many zones.
func TestNextAgreesWithTheClock(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	compared := 0
	for _, zone := range oracleZones() {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range windows(rng, loc) {
			c := watch(loc, change.Add(-30*time.Hour), change.Add(30*time.Hour))
			for range 3 {
				expr := randomExpr(rng)
				e, err := Parse(expr, zone)
				if err != nil {
					continue // It can never fire.
				}
				compared += compare(t, e, newOracle(expr), c)
			}
		}
	}
	if compared < 10_000 {
		t.Errorf("only %d ticks were compared", compared)
	}
}

// compare checks the ticks of e against the oracle's for as long as the clock was watched, and returns how many there are.
func compare(t *testing.T, e Expr, o oracle, c clock) int {
	t.Helper()
	want := o.ticks(c)
	at := c.start
	for i, expected := range want {
		if at = e.Next(at); !at.Equal(expected) {
			t.Fatalf("%q, tick %d after %s: got %s, want %s", e, i, c.start.In(e.loc), at.In(e.loc), expected.In(e.loc))
		}
	}
	if at = e.Next(at); at.Before(c.end) {
		t.Fatalf("%q: one tick more than expected at %s", e, at.In(e.loc))
	}
	return len(want)
}
