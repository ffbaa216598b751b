package retryafter_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"rekey/internal/retryafter"
)

// noon is a moment between two seconds.
func noon() time.Time { return time.Date(2026, 11, 24, 12, 0, 0, 250_000_000, time.UTC) }

func TestParse(t *testing.T) {
	now := noon()
	httpDate := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	tests := []struct {
		name, value, date string
		want              time.Duration // From now.
		wantNone          bool
	}{
		{name: "seconds", value: "2", want: 2 * time.Second},
		{name: "seconds with spaces", value: " 55\t", want: 55 * time.Second},
		{name: "leading zeros", value: "007", want: 7 * time.Second},
		{name: "seconds do not look at Date", value: "2", date: httpDate(-time.Hour), want: 2 * time.Second},
		{name: "zero", value: "0", want: 0},
		{name: "absurd", value: "99999999999", want: 1_000_000_000 * time.Second},
		{name: "overflow", value: strings.Repeat("9", 400), want: 1_000_000_000 * time.Second},
		{name: "fraction", value: "1.5", want: 2 * time.Second},
		{name: "small fraction", value: "0.001", want: time.Second},
		{name: "fraction of nothing", value: "2.0", want: 2 * time.Second},
		{name: "fraction without a whole", value: ".5", want: time.Second},
		{name: "point at the end", value: "3.", want: 3 * time.Second},
		{name: "just above the most", value: "1000000000.1", want: 1_000_000_000 * time.Second},
		{name: "UTC", value: "Tue, 24 Nov 2026 12:01:00 UTC", want: time.Minute - 250*time.Millisecond},
		{name: "lower case", value: "Tue, 24 Nov 2026 12:01:00 gmt", want: time.Minute - 250*time.Millisecond},
		{name: "UT", value: "Tue, 24 Nov 2026 12:01:00 UT", want: time.Minute - 250*time.Millisecond},
		{name: "+0000", value: "Tue, 24 Nov 2026 12:01:00 +0000", want: time.Minute - 250*time.Millisecond},
		{name: "-0000", value: "Tue, 24 Nov 2026 12:01:00 -0000", want: time.Minute - 250*time.Millisecond},
		{name: "+00:00", value: "Tue, 24 Nov 2026 12:01:00 +00:00", want: time.Minute - 250*time.Millisecond},
		{name: "another offset", value: "Tue, 24 Nov 2026 13:01:00 +0100", want: time.Minute - 250*time.Millisecond},
		{name: "day of one digit", value: "Tue, 1 Dec 2026 12:00:00 GMT", want: 7*24*time.Hour - 250*time.Millisecond},
		{name: "no day of the week", value: "24 Nov 2026 12:01:00 GMT", want: time.Minute - 250*time.Millisecond},
		{name: "RFC 850 date in UTC", value: "Tuesday, 24-Nov-26 12:01:00 UTC", want: time.Minute - 250*time.Millisecond},
		{name: "RFC 850 date with +0000", value: "Tuesday, 24-Nov-26 12:01:00 +0000", want: time.Minute - 250*time.Millisecond},
		{name: "asctime date in UTC", value: "Tue Nov 24 12:01:00 2026 UTC", want: time.Minute - 250*time.Millisecond},
		{name: "RFC 3339", value: "2026-11-24T12:01:00Z", want: time.Minute - 250*time.Millisecond},
		{name: "RFC 3339 with an offset", value: "2026-11-24T13:01:00+01:00", want: time.Minute - 250*time.Millisecond},
		{name: "Date in UTC", value: "Tue, 24 Nov 2026 11:51:00 +0000", date: "Tue, 24 Nov 2026 11:50:00 UTC", want: time.Minute},
		{name: "date", value: "Tue, 24 Nov 2026 12:01:00 GMT", want: time.Minute - 250*time.Millisecond},
		{name: "RFC 850 date", value: "Tuesday, 24-Nov-26 12:01:00 GMT", want: time.Minute - 250*time.Millisecond},
		{name: "asctime date", value: "Tue Nov 24 12:01:00 2026", want: time.Minute - 250*time.Millisecond},
		{name: "date in the past", value: "Tue, 24 Nov 2026 11:59:00 GMT", want: 0},
		{name: "date of year 9999", value: "Fri, 31 Dec 9999 23:59:59 GMT", want: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).Sub(now)},
		{name: "clocks agree", value: httpDate(time.Minute), date: httpDate(0), want: time.Minute - 250*time.Millisecond},
		{name: "clocks agree nearly", value: httpDate(time.Minute), date: httpDate(-time.Second), want: time.Minute - 250*time.Millisecond},
		{name: "our clock is ahead", value: httpDate(-9 * time.Minute), date: httpDate(-10 * time.Minute), want: time.Minute},
		{name: "our clock is behind", value: httpDate(11 * time.Minute), date: httpDate(10 * time.Minute), want: time.Minute},
		{name: "past on both clocks", value: httpDate(-11 * time.Minute), date: httpDate(-10 * time.Minute), want: 0},
		{name: "Date is garbage", value: httpDate(time.Minute), date: "yesterday", want: time.Minute - 250*time.Millisecond},
		{name: "missing", wantNone: true},
		{name: "blank", value: "  ", wantNone: true},
		{name: "negative", value: "-5", wantNone: true},
		{name: "plus", value: "+5", wantNone: true},
		{name: "two points", value: "1.5.2", wantNone: true},
		{name: "point alone", value: ".", wantNone: true},
		{name: "comma", value: "1,5", wantNone: true},
		{name: "unit", value: "5s", wantNone: true},
		{name: "exponent", value: "1e3", wantNone: true},
		{name: "digits of another script", value: "٣", wantNone: true},
		{name: "garbage", value: "soon", wantNone: true},
		{name: "another zone by name", value: "Tue, 24 Nov 2026 12:01:00 CET", wantNone: true},
		{name: "no zone", value: "Tue, 24 Nov 2026 12:01:00", wantNone: true},
		{name: "half of RFC 3339", value: "2026-11-24T12:01:00", wantNone: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := retryafter.Parse(tt.value, tt.date, now)
			if ok == tt.wantNone {
				t.Fatalf("Parse() = %s, %v", got, ok)
			}
			// Of two moments more than 292 years apart, Sub and Add know the difference only roughly.
			if want := now.Add(tt.want); ok && !got.Equal(want) && tt.want != 1<<63-1 {
				t.Errorf("Parse() is %s from now, want %s", got.Sub(now), tt.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"2", "0", "-1", "99999999999999999999", "Tue, 24 Nov 2026 12:01:00 GMT", "Tuesday, 24-Nov-26 12:01:00 GMT", "Tue Nov 24 12:01:00 2026", "1.5", ""} {
		f.Add(seed, "", int64(0))
		f.Add(seed, "Tue, 24 Nov 2026 12:00:00 GMT", int64(3600))
	}
	f.Fuzz(func(t *testing.T, value, date string, offset int64) {
		now := noon().Add(time.Duration(offset%1e9) * time.Second)
		got, ok := retryafter.Parse(value, date, now)
		if !ok {
			if !got.IsZero() {
				t.Errorf("no moment, but %s", got)
			}
			digits := strings.TrimSpace(value)
			if digits != "" && strings.Trim(digits, "0123456789") == "" {
				t.Errorf("%q is a number of seconds", value)
			}
			return
		}
		if got.Before(now) {
			t.Errorf("Parse(%q, %q) is %s before now", value, date, now.Sub(got))
		}
		// An HTTP date that both clocks agree on is obeyed to the moment.
		if at, err := http.ParseTime(strings.TrimSpace(value)); err == nil && date == "" && at.After(now) && !got.Equal(at) {
			t.Errorf("Parse(%q) = %s", value, got)
		}
	})
}
