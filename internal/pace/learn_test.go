package pace

import (
	"testing"
	"time"
)

// TestScout: during a pause one job is planned for its very end, unless a more urgent one is.
func TestScout(t *testing.T) {
	busy := func() State {
		s := State{Limit: Limit{Capacity: 20, Refill: 1, Every: 20 * ms}}
		for s.Take(epoch, 2, 0.2) {
		}
		for range 100 {
			s.Plan(epoch, 2, 0.2)
		}
		s.Refuse(Refusal{Sent: epoch, At: epoch, Until: at(time.Second)})
		return s
	}
	s := busy()
	if first := s.Plan(at(ms), 2, 0.2); !first.Equal(at(time.Second)) {
		t.Errorf("the first job of the pause comes back after %s, want 1s", first.Sub(epoch))
	}
	if second := s.Plan(at(ms), 2, 0.2); !second.After(at(2 * time.Second)) {
		t.Errorf("the second comes back after %s, want behind all others", second.Sub(epoch))
	}
	s = busy()
	if urgent := s.Plan(at(ms), 0, 0.2); !urgent.Equal(at(time.Second)) {
		t.Errorf("the urgent job comes back after %s, want 1s", urgent.Sub(epoch))
	}
	s = busy()
	s.Planned[0] = micros(at(time.Second))
	if bulk := s.Plan(at(ms), 2, 0.2); !bulk.After(at(2 * time.Second)) {
		t.Errorf("with an urgent job planned, a bulk job comes back after %s, want behind all others", bulk.Sub(epoch))
	}
}

func TestLearn(t *testing.T) {
	a, b := Limit{Capacity: 1, Refill: 1, Every: time.Second}, Limit{Capacity: 2, Refill: 2, Every: time.Second}
	steps := []struct {
		name    string
		limit   Limit
		from    Source
		changed bool
		want    Source
	}{
		{name: "less than a limit", limit: Limit{Capacity: 3}, from: SourceAnswer},
		{name: "nonsense", limit: Limit{Capacity: 3, Refill: 1, Every: 1}, from: SourceAnswer},
		{name: "the default", limit: a, from: SourceDefault, changed: true, want: SourceDefault},
		{name: "an answer", limit: b, from: SourceAnswer, changed: true, want: SourceAnswer},
		{name: "the same again", limit: b, from: SourceAnswer, want: SourceAnswer},
		{name: "the default again", limit: a, from: SourceDefault, want: SourceAnswer},
		{name: "the list", limit: a, from: SourceRateLimits, changed: true, want: SourceRateLimits},
		{name: "a vendor who changed it", limit: b, from: SourceAnswer, changed: true, want: SourceAnswer},
		{name: "the operator", limit: a, from: SourceConfig, changed: true, want: SourceConfig},
		{name: "an answer against the operator", limit: b, from: SourceAnswer, want: SourceConfig},
	}
	var s State
	for _, step := range steps {
		if got := s.Learn(step.limit, step.from); got != step.changed || s.Source != step.want {
			t.Errorf("%s: changed %t, source %q", step.name, got, s.Source)
		}
	}
	if !s.Forget() || s.Forget() || s.Limit.Known() || s.Source != SourceNone {
		t.Error("a configured limit was not forgotten")
	}
}
