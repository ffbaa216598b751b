package proof

import (
	"slices"
	"testing"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

const (
	hour = time.Hour
	min1 = time.Minute
	sec  = time.Second
)

// TestLooks: a target is looked at soon at first, then every minute, and last when the time is over.
func TestLooks(t *testing.T) {
	looks := func(within time.Duration, took time.Duration) (list []time.Duration) {
		for at := time.Duration(0); at <= within; at = nextLook(at+took, within) {
			list = append(list, at)
			if at == within {
				break
			}
		}
		return list
	}
	tests := []struct {
		name         string
		within, took time.Duration
		want         []time.Duration
	}{
		{"usual", 4 * min1, 0, []time.Duration{0, 2 * sec, 5 * sec, 15 * sec, min1, 2 * min1, 3 * min1, 4 * min1}},
		{"short", 10 * sec, 0, []time.Duration{0, 2 * sec, 5 * sec, 10 * sec}},
		{"slow reads", 20 * sec, 1500 * time.Millisecond, []time.Duration{0, 5 * sec, 15 * sec, 20 * sec}},
	}
	for _, tt := range tests {
		if got := looks(tt.within, tt.took); !slices.Equal(got, tt.want) {
			t.Errorf("%s: looks at %v, want %v", tt.name, got, tt.want)
		}
	}
	if got := nextLook(2*hour, 24*hour); got != 2*hour+8*min1 {
		t.Errorf("the look after 2 h is at %s, want 8 min later", got)
	}
}

func TestWatchLooks(t *testing.T) {
	usual := []time.Duration{15 * min1, hour, 3*hour + 15*min1, 24 * hour}
	tests := []struct {
		name  string
		watch time.Duration
		looks []time.Duration
		want  []time.Duration
	}{
		{"usual", 66 * hour, usual, []time.Duration{15 * min1, hour, 3*hour + 15*min1, 24 * hour, 48 * hour, 66 * hour}},
		{"one look", 3 * hour, []time.Duration{hour}, []time.Duration{hour, 2 * hour, 3 * hour}},
		{"short", 30 * min1, usual, []time.Duration{15 * min1, 30 * min1}},
		{"none", 0, usual, nil},
	}
	for _, tt := range tests {
		var got []time.Duration
		for at := nextWatch(0, tt.watch, tt.looks); at > 0; at = nextWatch(at, tt.watch, tt.looks) {
			got = append(got, at)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: looks at %v, want %v", tt.name, got, tt.want)
		}
	}
	if got := nextWatch(50*hour, 168*hour, usual); got != 72*hour {
		t.Errorf("after a late look at 50 h, the next one is at %s", got)
	}
}

func TestConclude(t *testing.T) {
	two := []kinds.Check{{Name: "a"}, {Name: "b"}}
	type shown = map[string]kinds.Shows
	tests := []struct {
		name              string
		checks            []kinds.Check
		shown             shown
		recorded, awaited bool
		before, over      jobs.Verdict // Until the time is over, and then.
	}{
		{"all dead", two, shown{"a": kinds.ShowsDead, "b": kinds.ShowsDead}, false, true, jobs.VerdictVerified, jobs.VerdictVerified},
		{"one alive", two, shown{"a": kinds.ShowsDead, "b": kinds.ShowsAlive}, true, true, jobs.VerdictPending, jobs.VerdictStillAlive},
		{"one under way", two, shown{"a": kinds.ShowsDead, "b": kinds.ShowsPending}, false, false, jobs.VerdictPending, jobs.VerdictAccepted},
		{"under way and recorded", two, shown{"a": kinds.ShowsDead, "b": kinds.ShowsPending}, true, true, jobs.VerdictPending, jobs.VerdictRecorded},
		{"one not read", two, shown{"a": kinds.ShowsDead}, false, false, jobs.VerdictPending, jobs.VerdictAccepted},
		{"one shows nothing", two, shown{"a": kinds.ShowsDead, "b": kinds.ShowsNothing}, false, false, jobs.VerdictAccepted, jobs.VerdictAccepted},
		{"one shows nothing, the log may", two, shown{"a": kinds.ShowsNothing, "b": kinds.ShowsDead}, false, true, jobs.VerdictPending, jobs.VerdictAccepted},
		{"one shows nothing, the log has it", two, shown{"a": kinds.ShowsNothing, "b": kinds.ShowsDead}, true, true, jobs.VerdictRecorded, jobs.VerdictRecorded},
		{"no check, no log", nil, nil, false, false, jobs.VerdictAccepted, jobs.VerdictAccepted},
		{"no check, a log", nil, nil, false, true, jobs.VerdictPending, jobs.VerdictAccepted},
		{"no check, recorded", nil, nil, true, true, jobs.VerdictRecorded, jobs.VerdictRecorded},
	}
	for _, tt := range tests {
		if got := conclude(tt.checks, tt.shown, tt.recorded, tt.awaited, false); got != tt.before {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.before)
		}
		if got := conclude(tt.checks, tt.shown, tt.recorded, tt.awaited, true); got != tt.over {
			t.Errorf("%s: %s when the time is over, want %s", tt.name, got, tt.over)
		}
	}
}
