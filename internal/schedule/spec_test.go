package schedule

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestValidate(t *testing.T) {
	daily := mustParse(t, "@daily", "")
	tests := []struct {
		name string
		spec Spec
		want string
	}{
		{"good", Spec{Name: "a", Expr: daily}, ""},
		{"all set", Spec{Name: "a", Expr: daily, Jitter: 1, Missed: MissedAll, MaxLate: 1}, ""},
		{"no name", Spec{Expr: daily}, "the name is empty"},
		{"no expression", Spec{Name: "a"}, "the expression is missing"},
		{"jitter", Spec{Name: "a", Expr: daily, Jitter: -time.Second}, "the jitter -1s is negative"},
		{"lateness", Spec{Name: "a", Expr: daily, MaxLate: -time.Hour}, "the maximal lateness -1h0m0s is negative"},
		{"missed", Spec{Name: "a", Expr: daily, Missed: "twice"}, `missed is "twice" instead of skip, once or all`},
		{"several", Spec{Jitter: -1}, "the name is empty\nthe expression is missing\nthe jitter -1ns is negative"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if err := tt.spec.Validate(); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestUpcoming(t *testing.T) {
	spec := Spec{Name: "nightly", Expr: mustParse(t, "30 2 * * *", "Europe/Berlin")}
	got := Upcoming(spec, utc(t, "2026-03-28T12:00:00Z"), 2)
	jump, after := utc(t, "2026-03-29T01:00:00Z"), utc(t, "2026-03-30T00:30:00Z")
	want := []Tick{{Schedule: "nightly", At: jump, Due: jump}, {Schedule: "nightly", At: after, Due: after}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ticks (-want +got):\n%s", diff)
	}
	if got := Upcoming(spec, jump, 0); len(got) != 0 {
		t.Errorf("no ticks were asked for, got %v", got)
	}
	if got := Upcoming(Spec{Name: "never"}, jump, 3); len(got) != 0 {
		t.Errorf("ticks of a schedule without an expression: %v", got)
	}
}

func TestJitter(t *testing.T) {
	tests := []struct {
		name, expr string
		jitter     time.Duration
		wantBelow  time.Duration
		// wantAbove is what the greatest of a thousand delays surely exceeds.
		wantAbove time.Duration
	}{
		{"none", "0 * * * *", 0, 1, -1},
		{"short", "0 * * * *", 5 * time.Minute, 5 * time.Minute, 4 * time.Minute},
		{"longer than the period", "0 * * * *", 3 * time.Hour, time.Hour - time.Second, 55 * time.Minute},
		{"two seconds", "@every 2s", time.Minute, time.Second, 900 * time.Millisecond},
		{"no time before the next tick", "@every 1s", time.Minute, 1, -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec := Spec{Name: "a", Expr: mustParse(t, tt.expr, ""), Jitter: tt.jitter}
			var greatest, sum time.Duration
			for _, tick := range Upcoming(spec, utc(t, "2026-01-01T00:00:00Z"), 1000) {
				delay := tick.Due.Sub(tick.At)
				if delay < 0 || delay >= tt.wantBelow {
					t.Fatalf("tick %s is due after %s, want less than %s", tick.At, delay, tt.wantBelow)
				}
				greatest, sum = max(greatest, delay), sum+delay
			}
			if greatest <= tt.wantAbove {
				t.Errorf("the greatest delay is %s, want more than %s", greatest, tt.wantAbove)
			}
			if mean := sum / 1000; tt.wantAbove > 0 && (mean < tt.wantBelow*45/100 || mean > tt.wantBelow*55/100) {
				t.Errorf("the mean delay is %s, want about half of %s", mean, tt.wantBelow)
			}
		})
	}
}

// TestJitterIsTheSameEverywhere pins the delays: a new version that chose others would fire beside the old one.
func TestJitterIsTheSameEverywhere(t *testing.T) {
	at := utc(t, "2026-05-03T01:00:00Z")
	tests := []struct {
		name string
		at   time.Time
		want time.Duration
	}{
		{"weekly-jwks", at, 83_991 * time.Millisecond},
		{"weekly-jwks", at.Add(7 * 24 * time.Hour), 99_099 * time.Millisecond},
		{"weekly-x509", at, 66_692 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name+" "+tt.at.Format(time.DateOnly), func(t *testing.T) {
			spec := Spec{Name: tt.name, Expr: mustParse(t, "0 3 * * 0", "Europe/Berlin"), Jitter: 5 * time.Minute}
			if got := spec.tick(tt.at).Due.Sub(tt.at); got != tt.want {
				t.Errorf("the delay is %s, want %s", got, tt.want)
			}
		})
	}
}

func TestOverdue(t *testing.T) {
	tests := []struct {
		name, expr, after, now string
		jitter, maxLate        time.Duration
		wantCount, wantTicks   int
	}{
		{"none", "@hourly", "2026-05-01T10:00:00Z", "2026-05-01T10:59:59Z", 0, 0, 0, 0},
		{"due this moment", "@hourly", "2026-05-01T10:00:00Z", "2026-05-01T11:00:00Z", 0, 0, 1, 1},
		{"the last waits for its jitter", "@hourly", "2026-05-01T10:00:00Z", "2026-05-01T12:00:00Z", 50 * time.Minute, 0, 1, 1},
		{"the only one waits for its jitter", "@hourly", "2026-05-01T10:00:00Z", "2026-05-01T11:00:00Z", 50 * time.Minute, 0, 0, 0},
		{"more than fire", "@every 1m", "2026-05-01T00:00:00Z", "2026-05-02T00:00:00Z", 0, 0, 1440, catchUpLimit},
		{"a clock that was in 1970", "@hourly", "1970-01-01T00:00:00Z", "2026-05-01T00:00:00Z", 0, 0, 366 * 24, catchUpLimit},
		{"away for long, but not too late", "@yearly", "2023-12-31T00:00:00Z", "2026-05-01T00:00:00Z", 0, 900 * 24 * time.Hour, 3, 3},
		{"a clock that was ahead", "@hourly", "2030-01-01T00:00:00Z", "2026-05-01T00:00:00Z", 0, 0, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec := Spec{Name: "a", Expr: mustParse(t, tt.expr, ""), Jitter: tt.jitter, MaxLate: tt.maxLate}
			count, ticks := spec.overdue(utc(t, tt.after), utc(t, tt.now))
			if count != tt.wantCount || len(ticks) != tt.wantTicks {
				t.Errorf("got %d and %d ticks, want %d and %d", count, len(ticks), tt.wantCount, tt.wantTicks)
			}
		})
	}
}

func TestMakeUp(t *testing.T) {
	now := utc(t, "2026-05-01T10:00:00Z")
	tests := []struct {
		name   string
		missed Missed
		ages   []time.Duration
		want   []time.Duration
	}{
		{"skip", MissedSkip, []time.Duration{3, 2, 1}, nil},
		{"once", MissedOnce, []time.Duration{3, 2, 1}, []time.Duration{1}},
		{"once, too late", MissedOnce, []time.Duration{8, 6}, nil},
		{"all", MissedAll, []time.Duration{3, 2, 1}, []time.Duration{3, 2, 1}},
		{"all, some too late", MissedAll, []time.Duration{7, 6, 5, 4}, []time.Duration{5, 4}},
		{"all, all too late", MissedAll, []time.Duration{7, 6}, nil},
		{"all of none", MissedAll, nil, nil},
		{"once of none", MissedOnce, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var ticks []Tick
			for _, age := range tt.ages {
				ticks = append(ticks, Tick{Due: now.Add(-age * time.Hour)})
			}
			var got []time.Duration
			for _, tick := range (Spec{Missed: tt.missed, MaxLate: 5 * time.Hour}).makeUp(ticks, now) {
				got = append(got, now.Sub(tick.Due)/time.Hour)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("made up (-want +got):\n%s", diff)
			}
		})
	}
}
