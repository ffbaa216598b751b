package schedule

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// recurring is a window that opens at the ticks of an expression.
func recurring(t *testing.T, expr, zone string, length time.Duration, move bool) Window {
	t.Helper()
	return Window{Opens: mustParse(t, expr, zone), For: length, Move: move}
}

func TestTicksInWindows(t *testing.T) {
	const berlin = "Europe/Berlin"
	office := func(move bool) []Window { return []Window{recurring(t, "0 8 * * 1-5", berlin, 10*time.Hour, move)} }
	date := func(from, until string, move bool) Window {
		return Window{From: utc(t, from), Until: utc(t, until), Move: move, Reason: "freeze"}
	}
	tests := []struct {
		name, expr, from string
		windows          []Window
		// want has the nominal times with what becomes of the ticks, on the clock of Berlin.
		want []string
	}{
		{
			"left out", "0 7,12,18 * * *", "2026-05-03T22:00:00Z", office(false),
			[]string{"Mon 07:00 Mon 07:00", "Mon 12:00 skip", "Mon 18:00 Mon 18:00"},
		},
		{
			"moved to the end", "0 7,12,19 * * *", "2026-05-03T22:00:00Z", office(true),
			[]string{"Mon 07:00 Mon 07:00", "Mon 12:00 Mon 18:00", "Mon 19:00 Mon 19:00"},
		},
		{
			"of several, the last is moved", "0 9-17 * * *", "2026-05-04T13:00:00Z", office(true),
			[]string{"Mon 16:00 skip", "Mon 17:00 Mon 18:00", "Tue 09:00 skip"},
		},
		{
			"a tick at the end stands for all", "0 17,18 * * *", "2026-05-04T13:00:00Z", office(true),
			[]string{"Mon 17:00 skip", "Mon 18:00 Mon 18:00"},
		},
		{
			"the beginning belongs to it", "0 8 * * *", "2026-05-03T22:00:00Z", office(false),
			[]string{"Mon 08:00 skip", "Tue 08:00 skip"},
		},
		{
			"not on other days", "0 12 * * *", "2026-05-01T22:00:00Z", office(false),
			[]string{"Sat 12:00 Sat 12:00", "Sun 12:00 Sun 12:00", "Mon 12:00 skip"},
		},
		{
			"a weekend with a change of the clock ends on the clock", "30 5 * * *", "2026-03-28T00:00:00Z",
			[]Window{recurring(t, "0 18 * * 5", berlin, 60*time.Hour, true)},
			[]string{"Sat 05:30 skip", "Sun 05:30 skip", "Mon 05:30 Mon 06:00", "Tue 05:30 Tue 05:30"},
		},
		{
			"dates", "0 12 * * *", "2026-05-03T22:00:00Z",
			[]Window{date("2026-05-04T00:00:00Z", "2026-05-05T10:00:00Z", false)},
			[]string{"Mon 12:00 skip", "Tue 12:00 Tue 12:00"},
		},
		{
			"one window after the other is one", "0 12 * * 1", "2026-05-03T22:00:00Z",
			[]Window{date("2026-05-04T00:00:00Z", "2026-05-05T00:00:00Z", true), date("2026-05-05T00:00:00Z", "2026-05-06T00:00:00Z", true)},
			[]string{"Mon 12:00 Wed 02:00"},
		},
		{
			"leaving out counts more than moving", "0 12 * * 1", "2026-05-03T22:00:00Z",
			[]Window{date("2026-05-04T00:00:00Z", "2026-05-05T00:00:00Z", true), date("2026-05-04T00:00:00Z", "2026-05-06T00:00:00Z", false)},
			[]string{"Mon 12:00 skip"},
		},
		{
			"windows that never end together leave all out", "0 12 * * *", "2026-05-03T22:00:00Z",
			[]Window{recurring(t, "0 */12 * * *", berlin, 7*time.Hour, true), recurring(t, "0 6,18 * * *", berlin, 7*time.Hour, true)},
			[]string{"Mon 12:00 skip", "Tue 12:00 skip"},
		},
		{
			"by duration", "0 * * * *", "2026-05-04T00:00:00Z",
			[]Window{recurring(t, "@every 2h", "", 90*time.Minute, false)},
			[]string{"Mon 03:00 skip", "Mon 04:00 skip"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec := Spec{Name: "a", Expr: mustParse(t, tt.expr, berlin), NotDuring: tt.windows}
			if err := spec.Validate(); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, tick := range Upcoming(spec, utc(t, tt.from), len(tt.want)) {
				line := tick.At.In(spec.Expr.loc).Format("Mon 15:04") + " "
				if tick.Skip {
					line += "skip"
				} else {
					line += tick.Due.In(spec.Expr.loc).Format("Mon 15:04")
				}
				if moved := !tick.Due.Equal(tick.At); (tick.Skip || moved) != (tick.Blackout != "") {
					t.Errorf("%s: the window is %q", line, tick.Blackout)
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("ticks (-want +got):\n%s", diff)
			}
		})
	}
}

// TestJitterStaysOutOfWindows has ticks whose jitter would carry them into a window, and ones that are moved to the end of
// one: their jitter counts from there.
func TestJitterStaysOutOfWindows(t *testing.T) {
	spec := Spec{
		Name: "a", Expr: mustParse(t, "50 7,12 * * *", ""), Jitter: 30 * time.Minute,
		NotDuring: []Window{recurring(t, "0 8 * * *", "", 10*time.Hour, true)},
	}
	early, late := 0, 0
	for _, tick := range Upcoming(spec, utc(t, "2026-05-01T00:00:00Z"), 400) {
		if _, open := spec.Blackout(tick.Due); open {
			t.Fatalf("the tick of %s is due at %s, in the window", tick.At, tick.Due)
		}
		switch {
		case tick.At.Hour() == 7 && tick.Due.After(tick.At):
			early++
		case tick.At.Hour() == 12:
			if end := tick.At.Truncate(24 * time.Hour).Add(18 * time.Hour); tick.Due.Before(end) || tick.Due.Sub(end) >= spec.Jitter {
				t.Fatalf("the tick of %s is due at %s", tick.At, tick.Due)
			}
			late++
		}
	}
	if early < 40 || late != 200 {
		t.Errorf("%d ticks kept their jitter and %d were moved, want about 66 and 200", early, late)
	}
}

func TestWindowValidate(t *testing.T) {
	at := utc(t, "2026-05-01T00:00:00Z")
	tests := []struct {
		name   string
		window Window
		want   string
	}{
		{"dates", Window{From: at, Until: at.Add(1)}, ""},
		{"recurring", recurring(t, "0 8 * * *", "", 23*time.Hour, false), ""},
		{"neither", Window{}, "end is not after its beginning"},
		{"backwards", Window{From: at, Until: at}, "end is not after its beginning"},
		{"both", Window{From: at, Opens: mustParse(t, "@daily", ""), For: time.Hour}, "either a beginning and an end, or"},
		{"too short", recurring(t, "@daily", "", time.Second, false), "1m to 744h"},
		{"too long", recurring(t, "@yearly", "", 32*24*time.Hour, false), "1m to 744h"},
		{"never closes", recurring(t, "@daily", "", 24*time.Hour, false), "opens again before it is closed"},
		{"closes on weekends", recurring(t, "0 0 * * 1-5", "", 24*time.Hour, false), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := Spec{Name: "a", Expr: mustParse(t, "@daily", ""), NotDuring: []Window{tt.window}}.Validate()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestFiringAroundAWindow has ticks before, in and after a window, and one that is made up for.
func TestFiringAroundAWindow(t *testing.T) {
	window := func(move bool) []Window {
		return []Window{{From: midnight().Add(-time.Hour), Until: midnight().Add(25 * time.Minute), Move: move, Reason: "freeze"}}
	}
	tests := []struct {
		name        string
		move        bool
		missed      Missed
		wantFired   []string
		wantSkipped int
		wantMissed  int
	}{
		// The state is that of an hour ago: there are six ticks in the window for which no worker ran.
		{"left out", false, MissedOnce, []string{"a 00:30 @ 00:30:00"}, 8, 0},
		{"moved", true, MissedSkip, []string{"a 00:20 @ 00:25:00", "a 00:30 @ 00:30:00"}, 7, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, notes := &memoryStore{}, &notebook{}
				store.put(t, "a", stored(time.Hour))
				spec := Spec{Name: "a", Expr: mustParse(t, "*/10 * * * *", ""), Missed: tt.missed, NotDuring: window(tt.move)}
				runFor(t, 35*time.Minute, build(t, store, notes, spec))
				if diff := cmp.Diff(tt.wantFired, notes.fired); diff != "" {
					t.Errorf("fired (-want +got):\n%s", diff)
				}
				if len(notes.skipped) != tt.wantSkipped || notes.missed["a"] != tt.wantMissed {
					t.Errorf("skipped %q and missed %d, want %d and %d", notes.skipped, notes.missed["a"], tt.wantSkipped, tt.wantMissed)
				}
				if got := store.state(t, "a").Skipped[VerdictBlackout]; got != tt.wantSkipped {
					t.Errorf("the record has %d skipped, want %d", got, tt.wantSkipped)
				}
			})
		})
	}
}

// TestLateTickStaysOutOfAWindow has a worker start in a window with a tick from before it that is to be made up for.
func TestLateTickStaysOutOfAWindow(t *testing.T) {
	tests := []struct {
		name        string
		move        bool
		wantFired   []string
		wantSkipped []string
	}{
		{"left out", false, nil, []string{"a blackout"}},
		{"moved", true, []string{"a 23:00 @ 00:25:00"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, notes := &memoryStore{}, &notebook{}
				state := stored(2 * time.Hour)
				state.Fingerprint = "0 23 * * * UTC"
				store.put(t, "a", state)
				spec := Spec{Name: "a", Expr: mustParse(t, "0 23 * * *", ""), NotDuring: []Window{
					{From: midnight().Add(-time.Minute), Until: midnight().Add(25 * time.Minute), Move: tt.move},
				}}
				runFor(t, time.Hour, build(t, store, notes, spec))
				if diff := cmp.Diff(tt.wantFired, notes.fired); diff != "" {
					t.Errorf("fired (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(tt.wantSkipped, notes.skipped); diff != "" {
					t.Errorf("skipped (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestNextFireAroundAWindow shows when something fires next, not when a tick is that does not: alerts go by it.
func TestNextFireAroundAWindow(t *testing.T) {
	end := midnight().Add(90 * time.Minute)
	tests := []struct {
		name string
		expr string
		move bool
		want time.Time
	}{
		{"moved", "0 1 * * *", true, end},
		{"left out", "0 1 * * *", false, midnight().Add(25 * time.Hour)},
		{"left out for a later one", "0 * * * *", false, midnight().Add(2 * time.Hour)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				notes := &notebook{}
				spec := Spec{Name: "a", Expr: mustParse(t, tt.expr, ""), NotDuring: []Window{{From: midnight(), Until: end, Move: tt.move}}}
				runFor(t, time.Minute, build(t, &memoryStore{}, notes, spec))
				if !notes.next["a"].Equal(tt.want) {
					t.Errorf("the next one is due at %s, want %s", notes.next["a"], tt.want)
				}
			})
		})
	}
}
