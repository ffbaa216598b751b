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
		{"six fields", "0 0 3 * * *", "", "the expression has 6 of 5 fields: minute, hour, day of month, month, day of week; there is none for seconds (first) or years (last)"},
		{"blank in a list", "0 3 * * MON, FRI", "", "the expression has 6 of 5 fields: minute, hour, day of month, month, day of week; a list has no blanks: write 1,2"},
		{"last day", "0 3 L * *", "", `day of month (field 3): "L": L is the last day of a month, which cron cannot say: write 1, the first day of the next month, or 28, which every month has`},
		{"third last day", "0 3 l-3 * *", "", `day of month (field 3): "l-3": L is the last day of a month, which cron cannot say: write 1, the first day of the next month, or 28, which every month has`},
		{"last in a list", "0 3 1,L * *", "", `day of month (field 3): "L": L is the last day of a month, which cron cannot say: write 1, the first day of the next month, or 28, which every month has`},
		{"last working day", "0 3 LW * *", "", `day of month (field 3): "LW": LW is the last working day of a month, which cron cannot say: write a day that every month has, such as 28`},
		{"nearest working day", "0 3 15W * *", "", `day of month (field 3): "15W": W is the working day nearest to a date, which cron cannot say: write the date without W, or MON-FRI as day of week`},
		{"last day of the week", "0 3 * * L", "", `day of week (field 5): "L": L is the last day of the week: write SAT`},
		{"last Friday", "0 3 * * 5L", "", `day of week (field 5): "5L": L is the last such weekday of a month, which cron cannot say: write the weekday without L, which is every week, or a day of month`},
		{"last Friday by name", "0 3 * * friL", "", `day of week (field 5): "friL": L is the last such weekday of a month, which cron cannot say: write the weekday without L, which is every week, or a day of month`},
		{"second Friday", "0 3 * * FRI#2", "", `day of week (field 5): "FRI#2": # is the first, second, … such weekday of a month, which cron cannot say: write the weekday without #, which is every week, or a day of month`},
		{"hash elsewhere", "0 3 1#2 * *", "", `day of month (field 3): "1#2": # has no meaning here`},
		{"question mark in a range", "0 3 ?-5 * *", "", `day of month (field 3): "?-5": ? must be alone`},
		{"Jenkins", "H 3 * * *", "", `minute (field 1): "H": H is a time that Jenkins picks: write a number, and set jitter to spread schedules`},
		{"Jenkins with a step", "H(0-29)/10 3 * * *", "", `minute (field 1): "H(0-29)": H is a time that Jenkins picks: write a number, and set jitter to spread schedules`},
		{"random", "0~59 3 * * *", "", `minute (field 1): "0~59": ~ is a time picked at random: write a number, and set jitter to spread schedules`},
		{"dash of a word processor", "0 3 * * MON–FRI", "", `day of week (field 5): "MON–FRI": the dash is that of a word processor: write -`},
		{"minute above", "60 * * * *", "", "minute (field 1): 60 is above the maximum 59"},
		{"hour above", "0 25 * * *", "", "hour (field 2): 25 is above the maximum 23"},
		{"day below", "0 0 0 * *", "", "day of month (field 3): 0 is below the minimum 1"},
		{"month above", "0 0 1 13 *", "", "month (field 4): 13 is above the maximum 12"},
		{"weekday above", "0 0 * * 8", "", "day of week (field 5): 8 is above the maximum 7"},
		{"two mistakes", "60 24 * * *", "", "minute (field 1): 60 is above the maximum 59\nhour (field 2): 24 is above the maximum 23"},
		{"range above", "0 20-24 * * *", "", "hour (field 2): 24 is above the maximum 23"},
		{"backwards", "0 22-3 * * *", "", "hour (field 2): the range 22-3 runs backwards: write 22-23,0-3"},
		{"backwards by name", "0 0 * * FRI-mon", "", "day of week (field 5): the range FRI-mon runs backwards: write FRI-SAT,SUN-mon"},
		{"backwards by number", "0 0 * * 5-1", "", "day of week (field 5): the range 5-1 runs backwards: write 5-6,0-1"},
		{"backwards by month", "0 0 1 NOV-feb *", "", "month (field 4): the range NOV-feb runs backwards: write NOV-DEC,JAN-feb"},
		{"backwards from the end", "0 0 * DEC-JAN *", "", "month (field 4): the range DEC-JAN runs backwards: write DEC,JAN"},
		{"not a number", "x * * * *", "", `minute (field 1): "x" is not a number`},
		{"sign", "+5 * * * *", "", `minute (field 1): "+5" is not a number`},
		{"negative", "-5 * * * *", "", `minute (field 1): "-5" is not a number`},
		{"open range", "5- * * * *", "", `minute (field 1): "5-" is not a number`},
		{"two hyphens", "1-2-3 * * * *", "", `minute (field 1): "1-2-3" is not a number`},
		{"star range", "*-5 * * * *", "", `minute (field 1): "*-5" is not a number`},
		{"huge", "99999999999999999999 * * * *", "", `minute (field 1): "99999999999999999999" is not a number`},
		{"unknown name", "0 0 * janu *", "", `month (field 4): "janu" is neither a number nor a name such as jan`},
		{"empty element", "1,,2 * * * *", "", "minute (field 1): an element of the list is empty: no comma at the begin, at the end or before another one"},
		{"only a comma", ", * * * *", "", "minute (field 1): an element of the list is empty: no comma at the begin, at the end or before another one"},
		{"zero step", "*/0 * * * *", "", "minute (field 1): the step 0 is below the minimum 1"},
		{"long step", "*/90 * * * *", "", "minute (field 1): the step 90 is above the maximum 60"},
		{"no step", "*/ * * * *", "", `minute (field 1): the step "" is not a number`},
		{"two steps", "*/2/3 * * * *", "", `minute (field 1): the step "2/3" is not a number`},
		{"question mark for the hour", "0 ? * * *", "", `hour (field 2): "?": ? is any day, and belongs in day of month or day of week: write *`},
		{"31 February", "0 0 31 2 *", "", "day of month (field 3): 31 never comes in month 2, so this can never fire"},
		{"31 in short months", "0 0 31 4,6,9,11 *", "", "day of month (field 3): 31 never comes in month 4,6,9,11, so this can never fire"},
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

// TestParseTakesBothSundays: what is not ambiguous is read.
func TestParseTakesBothSundays(t *testing.T) {
	tests := []struct{ name, expr, same string }{
		{"Friday to Sunday", "0 3 * * FRI-SUN", "0 3 * * 0,5,6"},
		{"in lower case", "0 3 * * fri-sun", "0 3 * * 0,5,6"},
		{"by number", "0 3 * * 5-7", "0 3 * * 0,5,6"},
		{"to 0", "0 3 * * 5-0", "0 3 * * 0,5,6"},
		{"mixed", "0 3 * * 5-SUN", "0 3 * * 0,5,6"},
		{"from 7", "0 3 * * 7-1", "0 3 * * 0,1"},
		{"with a step", "0 3 * * FRI-SUN/2", "0 3 * * 0,5"},
		{"Saturday and Sunday", "0 3 * * SAT-SUN", "0 3 * * 0,6"},
		{"the whole week", "0 3 * * MON-SUN", "0 3 * * 0,1,2,3,4,5,6"},
		{"Sunday alone", "0 3 * * SUN-SUN", "0 3 * * 0"},
		{"Sunday first", "0 3 * * SUN-TUE", "0 3 * * 0,1,2"},
		{"tabs and blanks", "\t0\t 3  *\t*\t\tsun ", "0 3 * * 0"},
		{"a no-break space", "0\u00a03 * * 0", "0 3 * * 0"},
		{"any day", "0 3 ? * ?", "0 3 * * *"},
		{"a word in upper case", "@DAILY", "0 0 * * *"},
		{"every in upper case", "@EVERY 6h", "@every 6h"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at := time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)
			got, want := mustParse(t, tt.expr, ""), mustParse(t, tt.same, "")
			for range 20 {
				next := got.Next(at)
				if expected := want.Next(at); !next.Equal(expected) {
					t.Fatalf("after %s comes %s, want %s", at, next, expected)
				}
				at = next
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
