package schedule

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // The machine may have no time zones, or older ones.

	"github.com/robfig/cron/v3"
)

func mustParse(t *testing.T, expr, zone string) Expr {
	t.Helper()
	e, err := Parse(expr, zone)
	if err != nil {
		t.Fatalf("Parse(%q, %q): %v", expr, zone, err)
	}
	return e
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		name, expr, zone string
		want             string
	}{
		{"empty", " ", "", "the expression is empty"},
		{"four fields", "0 3 * *", "", "the expression has 4 of 5 fields: minute, hour, day of month, month, day of week"},
		{"six fields", "0 0 3 * * *", "", "the expression has 6 of 5 fields: minute, hour, day of month, month, day of week"},
		{"minute above", "60 * * * *", "", "minute: 60 is above the maximum 59"},
		{"hour above", "0 25 * * *", "", "hour: 25 is above the maximum 23"},
		{"day below", "0 0 0 * *", "", "day of month: 0 is below the minimum 1"},
		{"month above", "0 0 1 13 *", "", "month: 13 is above the maximum 12"},
		{"weekday above", "0 0 * * 8", "", "day of week: 8 is above the maximum 7"},
		{"two mistakes", "60 24 * * *", "", "minute: 60 is above the maximum 59\nhour: 24 is above the maximum 23"},
		{"range above", "0 20-24 * * *", "", "hour: 24 is above the maximum 23"},
		{"backwards", "0 22-3 * * *", "", "hour: the range 22-3 runs backwards"},
		{"backwards by name", "0 0 * * SAT-SUN", "", "day of week: the range sat-sun runs backwards"},
		{"not a number", "x * * * *", "", `minute: "x" is not a number`},
		{"sign", "+5 * * * *", "", `minute: "+5" is not a number`},
		{"negative", "-5 * * * *", "", `minute: "-5" is not a number`},
		{"open range", "5- * * * *", "", `minute: "5-" is not a number`},
		{"two hyphens", "1-2-3 * * * *", "", `minute: "1-2-3" is not a number`},
		{"star range", "*-5 * * * *", "", `minute: "*-5" is not a number`},
		{"huge", "99999999999999999999 * * * *", "", `minute: "99999999999999999999" is not a number`},
		{"unknown name", "0 0 * janu *", "", `month: "janu" is neither a number nor a name such as jan`},
		{"empty element", "1,,2 * * * *", "", "minute: an element is empty"},
		{"only a comma", ", * * * *", "", "minute: an element is empty"},
		{"zero step", "*/0 * * * *", "", "minute: the step 0 is below the minimum 1"},
		{"long step", "*/90 * * * *", "", "minute: the step 90 is above the maximum 60"},
		{"no step", "*/ * * * *", "", `minute: the step "" is not a number`},
		{"two steps", "*/2/3 * * * *", "", `minute: the step "2/3" is not a number`},
		{"question mark for the hour", "0 ? * * *", "", `hour: "?" is not a number`},
		{"31 February", "0 0 31 2 *", "", "day of month: 31 never comes in month 2, so this can never fire"},
		{"31 in short months", "0 0 31 4,6,9,11 *", "", "day of month: 31 never comes in month 4,6,9,11, so this can never fire"},
		{"zone inside", "TZ=Europe/Berlin 0 3 * * *", "", "TZ=Europe/Berlin: the time zone does not belong inside the expression"},
		{"cron zone inside", "CRON_TZ=UTC @daily", "", "CRON_TZ=UTC: the time zone does not belong inside the expression"},
		{"unknown zone", "@daily", "Europe/Berln", "loading time zone: unknown time zone Europe/Berln"},
		{"zone of the machine", "@daily", "Local", "time zone Local differs between machines: name one, such as Europe/Berlin"},
		{"reboot", "@reboot", "", `"@reboot" is not one of @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly or @every D`},
		{"every nothing", "@every", "", "@every needs one duration, such as @every 6h or @every 1h30m"},
		{"every two", "@every 1h 30m", "", "@every needs one duration, such as @every 6h or @every 1h30m"},
		{"every word", "@every day", "", `@every: "day" is not a duration such as 6h or 1h30m`},
		{"every too often", "@every 500ms", "", "@every: 500ms is below the minimum 1s"},
		{"every negative", "@every -1h", "", "@every: -1h is below the minimum 1s"},
		{"every fraction", "@every 1.5s", "", "@every: 1.5s is not a whole number of seconds"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := Parse(tt.expr, tt.zone)
			if err == nil {
				t.Fatalf("Parse accepted it, next tick %s", e.Next(time.Now()))
			}
			if err.Error() != tt.want {
				t.Errorf("got  %s\nwant %s", err, tt.want)
			}
		})
	}
}

func TestParseKeepsTheText(t *testing.T) {
	tests := []struct {
		name, expr, zone   string
		wantText, wantZone string
	}{
		{"spaces", "  0  3 *\t* SUN ", "Europe/Berlin", "0 3 * * SUN", "Europe/Berlin"},
		{"macro", "@daily", "", "@daily", "UTC"},
		{"every", "@every 6h", "Asia/Tokyo", "@every 6h", "Asia/Tokyo"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := mustParse(t, tt.expr, tt.zone)
			if e.String() != tt.wantText || e.Zone() != tt.wantZone {
				t.Errorf("got %q in %q, want %q in %q", e, e.Zone(), tt.wantText, tt.wantZone)
			}
		})
	}
}

// TestParseAgreesWithRobfig compares our masks with those of robfig/cron on what both accept. They differ on purpose in
// "*/n" for days, which is a star in crontab(5) and not in robfig/cron, so that bit is compared elsewhere.
func TestParseAgreesWithRobfig(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		expr := randomExpr(rng)
		e, err := Parse(expr, "")
		if err != nil {
			if strings.Contains(err.Error(), "can never fire") {
				continue
			}
			t.Fatalf("Parse(%q): %v", expr, err)
		}
		parsed, err := cron.ParseStandard("TZ=UTC " + expr)
		if err != nil {
			t.Fatalf("ParseStandard(%q): %v", expr, err)
		}
		got, want := *e.fields, *parsed.(*cron.SpecSchedule)
		got.Dom, got.Dow = got.Dom&^starBit, got.Dow&^starBit
		want.Dom, want.Dow = want.Dom&^starBit, want.Dow&^starBit
		// robfig/cron sets the bit in the other fields too, where it means nothing.
		want.Minute, want.Hour, want.Month = want.Minute&^starBit, want.Hour&^starBit, want.Month&^starBit
		if got != want {
			t.Fatalf("%q: got %x, want %x", expr, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"0 3 * * 0", "@every 6h", "*/7 2-5,9 ? JAN-mar 5-7", "TZ=UTC @daily", "0 0 29 2 *"} {
		f.Add(seed, "Europe/Berlin", int64(1792000000))
	}
	f.Fuzz(func(t *testing.T, expr, zone string, unix int64) {
		e, err := Parse(expr, zone)
		if err != nil {
			return
		}
		after := time.Unix(unix%(1<<33), 0)
		first := e.Next(after)
		if second := e.Next(first); !first.After(after) || !second.After(first) {
			t.Errorf("%q in %q: after %s come %s and %s", expr, zone, after, first, second)
		}
	})
}
