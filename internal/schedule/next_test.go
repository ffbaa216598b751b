package schedule

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func utc(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return at.UTC()
}

// ticks returns the ticks after from as the clock of the zone shows them, with the offset from UTC.
func ticks(t *testing.T, e Expr, from string, n int) []string {
	t.Helper()
	var got []string
	for at := utc(t, from); n > 0; n-- {
		at = e.Next(at)
		got = append(got, at.In(e.loc).Format("2006-01-02 15:04 -0700"))
	}
	return got
}

func TestNextAcrossChangesOfTheClock(t *testing.T) {
	const berlin, newYork, lordHowe = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
	tests := []struct {
		name, expr, zone, from string
		want                   []string
	}{
		{
			"Berlin, skipped", "30 2 * * *", berlin, "2026-03-28T00:00:00Z",
			[]string{"2026-03-28 02:30 +0100", "2026-03-29 03:00 +0200", "2026-03-30 02:30 +0200"},
		},
		{
			"Berlin, skipped, on that weekday only", "30 2 * * 0", berlin, "2026-03-25T00:00:00Z",
			[]string{"2026-03-29 03:00 +0200", "2026-04-05 02:30 +0200"},
		},
		{
			"Berlin, repeated", "30 2 * * *", berlin, "2026-10-24T00:00:00Z",
			[]string{"2026-10-24 02:30 +0200", "2026-10-25 02:30 +0200", "2026-10-26 02:30 +0100"},
		},
		{
			"Berlin, asked between the two", "30 2 * * *", berlin, "2026-10-25T00:45:00Z",
			[]string{"2026-10-26 02:30 +0100"},
		},
		{
			"Berlin, asked in the second of the two", "0 2,3 * * *", berlin, "2026-10-25T01:10:00Z",
			[]string{"2026-10-25 03:00 +0100", "2026-10-26 02:00 +0100"},
		},
		{
			"Berlin, start of the repeated hour", "0 3 * * *", berlin, "2026-10-25T00:59:59.5Z",
			[]string{"2026-10-25 03:00 +0100"},
		},
		{
			"Berlin, several skipped ticks are one", "*/10 2 * * *", berlin, "2026-03-28T01:45:00Z",
			[]string{"2026-03-28 02:50 +0100", "2026-03-29 03:00 +0200", "2026-03-30 02:00 +0200"},
		},
		{
			"Berlin, skipped and kept are one", "0 2,3 * * *", berlin, "2026-03-28T23:00:00Z",
			[]string{"2026-03-29 03:00 +0200", "2026-03-30 02:00 +0200"},
		},
		{
			"Berlin, skipped and a later one are two", "30 2,3 * * *", berlin, "2026-03-28T23:00:00Z",
			[]string{"2026-03-29 03:00 +0200", "2026-03-29 03:30 +0200", "2026-03-30 02:30 +0200"},
		},
		{
			"Berlin, every second hour keeps its pace", "0 */2 * * *", berlin, "2026-03-28T22:00:00Z",
			[]string{"2026-03-29 00:00 +0100", "2026-03-29 03:00 +0200", "2026-03-29 04:00 +0200"},
		},
		{
			"Berlin, hourly keeps its pace", "30 * * * *", berlin, "2026-03-29T00:00:00Z",
			[]string{"2026-03-29 01:30 +0100", "2026-03-29 03:30 +0200", "2026-03-29 04:30 +0200"},
		},
		{
			"Berlin, hourly written as a range", "30 0-23 * * *", berlin, "2026-03-29T00:00:00Z",
			[]string{"2026-03-29 01:30 +0100", "2026-03-29 03:30 +0200"},
		},
		{
			"Berlin, finer than hourly keeps its pace", "5/20 * * * *", berlin, "2026-03-29T00:30:00Z",
			[]string{"2026-03-29 01:45 +0100", "2026-03-29 03:05 +0200", "2026-03-29 03:25 +0200"},
		},
		{
			"Berlin, finer than hourly rests in the repeated hour", "*/20 * * * *", berlin, "2026-10-25T00:00:00Z",
			[]string{"2026-10-25 02:20 +0200", "2026-10-25 02:40 +0200", "2026-10-25 03:00 +0100", "2026-10-25 03:20 +0100"},
		},
		{
			"Berlin, every ten minutes by duration", "@every 20m", berlin, "2026-10-25T00:30:00Z",
			[]string{"2026-10-25 02:40 +0200", "2026-10-25 02:00 +0100", "2026-10-25 02:20 +0100"},
		},
		{
			"Berlin in 2035", "15 2 * * *", berlin, "2035-03-24T12:00:00Z",
			[]string{"2035-03-25 03:00 +0200", "2035-03-26 02:15 +0200"},
		},
		{
			"New York, skipped", "0 2 * * *", newYork, "2020-03-08T00:00:00Z",
			[]string{"2020-03-08 03:00 -0400", "2020-03-09 02:00 -0400"},
		},
		{
			"New York, repeated", "0 1 * * *", newYork, "2020-11-01T00:00:00Z",
			[]string{"2020-11-01 01:00 -0400", "2020-11-02 01:00 -0500"},
		},
		{
			"New York, neither", "0 12 * * 0", newYork, "2035-03-05T00:00:00Z",
			[]string{"2035-03-11 12:00 -0400", "2035-03-18 12:00 -0400"},
		},
		{
			"Lord Howe, half an hour skipped", "15 2 * * *", lordHowe, "2026-10-03T00:00:00Z",
			[]string{"2026-10-04 02:30 +1100", "2026-10-05 02:15 +1100"},
		},
		{
			"Lord Howe, half an hour repeated", "45 1 * * *", lordHowe, "2026-04-04T00:00:00Z",
			[]string{"2026-04-05 01:45 +1100", "2026-04-06 01:45 +1030"},
		},
		{
			"Lord Howe, hourly would lose its pace", "15 * * * *", lordHowe, "2026-10-03T14:00:00Z",
			[]string{"2026-10-04 01:15 +1030", "2026-10-04 02:30 +1100", "2026-10-04 03:15 +1100"},
		},
		{
			"Lord Howe, half-hourly keeps its pace", "15,45 * * * *", lordHowe, "2026-10-03T15:00:00Z",
			[]string{"2026-10-04 01:45 +1030", "2026-10-04 02:45 +1100", "2026-10-04 03:15 +1100"},
		},
		{
			"Apia, a day skipped", "0 3 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z",
			[]string{"2011-12-29 03:00 -1000", "2011-12-31 00:00 +1400", "2011-12-31 03:00 +1400"},
		},
		{
			"Apia, midnight skipped", "@daily", "Pacific/Apia", "2011-12-29T09:00:00Z",
			[]string{"2011-12-29 00:00 -1000", "2011-12-31 00:00 +1400", "2012-01-01 00:00 +1400"},
		},
		{
			"Apia, hourly keeps its pace", "30 * * * *", "Pacific/Apia", "2011-12-30T09:00:00Z",
			[]string{"2011-12-29 23:30 -1000", "2011-12-31 00:30 +1400"},
		},
		{
			"Apia, hourly on the skipped day only", "30 * 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00Z",
			[]string{"2011-12-31 00:00 +1400", "2012-12-30 00:30 +1400"},
		},
		{
			"Kwajalein, a day repeated", "0 12 * * *", "Pacific/Kwajalein", "1969-09-29T00:00:00Z",
			[]string{"1969-09-29 12:00 +1100", "1969-09-30 12:00 +1100", "1969-10-01 12:00 -1200"},
		},
		{
			"Beirut, midnight skipped", "@daily", "Asia/Beirut", "2026-03-27T22:00:00Z",
			[]string{"2026-03-29 01:00 +0300", "2026-03-30 00:00 +0300"},
		},
		{
			"Havana, midnight repeated", "@daily", "America/Havana", "2026-10-31T12:00:00Z",
			[]string{"2026-11-01 00:00 -0400", "2026-11-02 00:00 -0500"},
		},
		{
			"Santiago, the hour before midnight repeated", "0 0 * * *", "America/Santiago", "2026-04-04T12:00:00Z",
			[]string{"2026-04-05 00:00 -0400", "2026-04-06 00:00 -0400"},
		},
		{
			"Casablanca, Ramadan", "30 2 * * *", "Africa/Casablanca", "2026-02-14T12:00:00Z",
			[]string{"2026-02-15 02:30 +0100", "2026-02-16 02:30 +0000"},
		},
		{
			"Casablanca, after Ramadan", "30 2 * * *", "Africa/Casablanca", "2026-03-21T12:00:00Z",
			[]string{"2026-03-22 03:00 +0100", "2026-03-23 02:30 +0100"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ticks(t, mustParse(t, tt.expr, tt.zone), tt.from, len(tt.want))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("ticks (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNextByTheCalendar(t *testing.T) {
	tests := []struct {
		name, expr, from string
		want             []string
	}{
		{"strictly later", "0 3 * * *", "2026-05-01T03:00:00Z", []string{"2026-05-02 03:00 +0000"}},
		{"a moment before", "0 3 * * *", "2026-05-01T02:59:59.999999999Z", []string{"2026-05-01 03:00 +0000"}},
		{"Sunday is 7", "0 0 * * 7", "2026-05-01T00:00:00Z", []string{"2026-05-03 00:00 +0000", "2026-05-10 00:00 +0000"}},
		{"up to Sunday", "0 0 * * sat-7", "2026-05-01T00:00:00Z", []string{"2026-05-02 00:00 +0000", "2026-05-03 00:00 +0000"}},
		{
			"both days restricted: either", "0 0 13 * FRI", "2026-05-01T00:00:00Z",
			[]string{"2026-05-08 00:00 +0000", "2026-05-13 00:00 +0000", "2026-05-15 00:00 +0000"},
		},
		{
			"a star with a step: both", "0 0 */2 * mon", "2026-05-01T00:00:00Z",
			[]string{"2026-05-11 00:00 +0000", "2026-05-25 00:00 +0000"},
		},
		{"question mark", "0 0 ? * mon", "2026-05-01T00:00:00Z", []string{"2026-05-04 00:00 +0000"}},
		{"leap day across 2100", "0 0 29 2 *", "2092-03-01T00:00:00Z", []string{"2096-02-29 00:00 +0000", "2104-02-29 00:00 +0000"}},
		{"short months", "0 0 31 * *", "2026-05-31T00:00:00Z", []string{"2026-07-31 00:00 +0000", "2026-08-31 00:00 +0000"}},
		{"@yearly", "@yearly", "2026-05-01T00:00:00Z", []string{"2027-01-01 00:00 +0000"}},
		{"@annually", "@annually", "2026-05-01T00:00:00Z", []string{"2027-01-01 00:00 +0000"}},
		{"@monthly", "@monthly", "2026-05-01T00:00:00Z", []string{"2026-06-01 00:00 +0000"}},
		{"@weekly", "@weekly", "2026-05-01T00:00:00Z", []string{"2026-05-03 00:00 +0000"}},
		{"@daily", "@daily", "2026-05-01T00:00:00Z", []string{"2026-05-02 00:00 +0000"}},
		{"@midnight", "@midnight", "2026-05-01T00:00:00Z", []string{"2026-05-02 00:00 +0000"}},
		{"@hourly", "@hourly", "2026-05-01T00:00:00Z", []string{"2026-05-01 01:00 +0000"}},
		{"@every keeps its phase", "@every 6h", "2026-05-01T00:00:01Z", []string{"2026-05-01 06:00 +0000", "2026-05-01 12:00 +0000"}},
		{"@every before the epoch", "@every 6h", "1969-12-31T20:00:00Z", []string{"1970-01-01 00:00 +0000", "1970-01-01 06:00 +0000"}},
		{"@every of an odd length", "@every 7h", "1970-01-01T00:00:00Z", []string{"1970-01-01 07:00 +0000", "1970-01-01 14:00 +0000"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ticks(t, mustParse(t, tt.expr, ""), tt.from, len(tt.want))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("ticks (-want +got):\n%s", diff)
			}
		})
	}
}

func TestZeroExprNeverTicks(t *testing.T) {
	if at := (Expr{}).Next(time.Now()); !at.IsZero() {
		t.Errorf("Next of the zero Expr is %s", at)
	}
	if zone := (Expr{}).Zone(); zone != "" {
		t.Errorf("Zone of the zero Expr is %q", zone)
	}
}

func TestBetween(t *testing.T) {
	const from, until = "2026-05-01T00:00:00Z", "2026-05-01T04:00:00Z"
	tests := []struct {
		name, expr, from string
		keep             int
		wantCount        int
		wantLast         []string
	}{
		{"fields, all kept", "30 * * * *", from, 9, 4, []string{"00:30", "01:30", "02:30", "03:30"}},
		{"fields, some kept", "30 * * * *", from, 1, 4, []string{"03:30"}},
		{"fields, more than twice what is kept", "0 * * * *", from, 2, 4, []string{"03:00", "04:00"}},
		{"every, all kept", "@every 1h", from, 9, 4, []string{"01:00", "02:00", "03:00", "04:00"}},
		{"every, exactly kept", "@every 1h", from, 4, 4, []string{"01:00", "02:00", "03:00", "04:00"}},
		{"every, some kept", "@every 1h", from, 3, 4, []string{"02:00", "03:00", "04:00"}},
		{"every, a long time", "@every 1s", "1990-01-01T00:00:00Z", 1, 13269*86400 + 4*3600, []string{"04:00"}},
		{"none", "0 5 * * *", from, 9, 0, nil},
		{"every, none", "@every 1h", until, 9, 0, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			count, last := mustParse(t, tt.expr, "").between(utc(t, tt.from), utc(t, until), tt.keep)
			var got []string
			for _, at := range last {
				got = append(got, at.Format("15:04"))
			}
			if count != tt.wantCount {
				t.Errorf("count is %d, want %d", count, tt.wantCount)
			}
			if diff := cmp.Diff(tt.wantLast, got); diff != "" {
				t.Errorf("last (-want +got):\n%s", diff)
			}
		})
	}
}
