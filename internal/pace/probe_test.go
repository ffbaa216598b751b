package pace

import (
	"slices"
	"testing"
	"time"
)

const urgent, normal, bulk Rank = 0, 1, 2

// calls makes as many calls of a rank as may be under way at once.
func calls(p *Probe, now time.Time, rank Rank) (n int) {
	p.Give(now, rank)
	for n < 100 && p.Send(now, rank) {
		n++
		p.Give(now, rank)
	}
	p.Drop(rank)
	return n
}

// answers ends so many calls.
func answers(p *Probe, n int, rank Rank, took time.Duration) {
	for range n {
		p.Count(epoch, rank)
		p.Answered(rank, took, -1)
	}
}

// TestProbeAtOnce: how many calls of each rank, the least urgent first, may be under way at once.
func TestProbeAtOnce(t *testing.T) {
	tests := []struct {
		name string
		p    func(*Probe)
		want [Ranks]int // By rank.
	}{
		{name: "nothing was answered", want: [Ranks]int{4, 1, 1}, p: func(*Probe) {}},
		{name: "answers that say nothing", want: [Ranks]int{8, 3, 3}, p: func(p *Probe) { answers(p, 2*answersPerCall, bulk, ms) }},
		{name: "a part of what is left", want: [Ranks]int{3, 3, 3}, p: func(p *Probe) {
			p.Count(epoch, bulk)
			p.Answered(bulk, ms, 2*leftPerCall+1)
		}},
		{name: "nothing is left", want: [Ranks]int{1, 1, 1}, p: func(p *Probe) {
			p.Count(epoch, bulk)
			p.Answered(bulk, ms, 0)
		}},
		{name: "a refusal", want: [Ranks]int{4, 1, 1}, p: func(p *Probe) {
			answers(p, 2*answersPerCall, bulk, ms)
			p.Count(epoch, bulk)
			p.Refused(bulk)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var p Probe
			tt.p(&p)
			var got [Ranks]int
			for rank := bulk; rank >= urgent; rank-- {
				got[rank] = calls(&p, epoch, rank)
			}
			if got != tt.want {
				t.Errorf("urgent, normal and bulk calls at once: %v, want %v", got, tt.want)
			}
		})
	}
}

// TestProbeOfOneRank: where all jobs are urgent there is nothing to overtake, and a small bucket
// teaches its limit by one refusal.
func TestProbeOfOneRank(t *testing.T) {
	for rank := range Rank(Ranks) {
		var p Probe
		answers(&p, answersPerCall-1, rank, ms)
		if n := calls(&p, epoch, rank); n != 1 {
			t.Errorf("rank %d: %d calls at once, want 1", rank, n)
		}
	}
}

// TestProbeSilence: a call that is not answered for long holds up no other, one at a time.
func TestProbeSilence(t *testing.T) {
	var p Probe
	p.Count(epoch, bulk)
	late := at(answerPatience)
	if calls(&p, late.Add(-1), bulk) != 0 || calls(&p, late, bulk) != 1 {
		t.Error("a call that is not answered holds up the others, or holds up none")
	}
}

// TestProbeReady: jobs make themselves ready ahead of their call while calls are quick.
func TestProbeReady(t *testing.T) {
	ready := func(took time.Duration) (n int) {
		var p Probe
		if took > 0 {
			answers(&p, 1, bulk, took)
		}
		p.Count(epoch, bulk)
		for n < 10 && p.Take(epoch, bulk) {
			n++
		}
		return n
	}
	var got []int
	for _, took := range []time.Duration{0, ms, 20 * ms, 50 * ms, 51 * ms} {
		got = append(got, ready(took))
	}
	if want := []int{0, 4, 2, 1, 0}; !slices.Equal(got, want) {
		t.Errorf("jobs ready behind a call, with nothing answered and with calls of 1, 20, 50 and 51 ms: %v, want %v", got, want)
	}
	// While a call hangs, no slot is held for it by others.
	var p Probe
	answers(&p, 1, bulk, ms)
	p.Count(epoch, bulk)
	if p.Take(at(100*ms), bulk) {
		t.Error("a job is ready behind a call that hangs")
	}
	if late := at(answerPatience); !p.Take(late, bulk) || p.Take(late, bulk) {
		t.Error("behind a call that is not answered, not one at a time")
	}
	if later := at(2 * answerPatience); !p.Take(later, bulk) {
		t.Error("a job that lost its claim holds up all others")
	}
}

// TestProbePlan: the lines of the ranks, and that a line gets denser with what may be under way.
func TestProbePlan(t *testing.T) {
	var p Probe
	answers(&p, 1, bulk, 30*ms)
	plan := func(rank Rank) time.Duration { return p.Plan(epoch, epoch, rank).Sub(epoch) }
	if got, want := []time.Duration{plan(bulk).Round(ms), plan(bulk).Round(ms)}, []time.Duration{30 * ms, 60 * ms}; !slices.Equal(got, want) {
		t.Errorf("bulk jobs are planned after %v, want %v", got, want)
	}
	if got := plan(urgent); got >= 30*ms {
		t.Errorf("an urgent job is planned after %s, behind the bulk jobs", got)
	}
	var last time.Duration
	for range 1000 {
		last = plan(bulk)
	}
	if last > 600*30*ms {
		t.Errorf("the last of 1000 jobs is planned after %s; more of them will be under way at once then", last)
	}
	// Nothing that hangs makes plans of minutes.
	p.Count(epoch, normal)
	now := at(30 * time.Second)
	if first := p.Plan(now, now, normal); first.Sub(now) > mostStep {
		t.Errorf("behind a call that hangs the next job is planned after %s", first.Sub(now))
	}
}

// TestProbeSettle: what counts as taken once the limit is known.
func TestProbeSettle(t *testing.T) {
	limit := Limit{Capacity: 20, Refill: 1, Every: time.Hour}
	out := func(p *Probe, s State) int {
		s.Learn(limit, SourceRateLimits)
		p.Settle(epoch, &s)
		return 20 - s.Tokens(epoch)
	}
	var p Probe
	answers(&p, 3, bulk, ms)
	p.Count(epoch, bulk)
	if got := out(&p, State{}); got != 4 {
		t.Errorf("%d calls are out, want the 4 that were made", got)
	}
	p.Answered(bulk, ms, 11) // Others have called as well.
	p.Count(epoch, urgent)
	if got := out(&p, State{}); got != 10 {
		t.Errorf("%d calls are out, want the 9 that are missing and the one under way", got)
	}
	p.Unsent(urgent)
	if got := out(&p, State{}); got != 9 {
		t.Errorf("%d calls are out after one was not made, want 9", got)
	}
	// A second worker adds what it has under way.
	var second Probe
	second.Count(epoch, bulk)
	shared := State{}
	shared.Learn(limit, SourceRateLimits)
	p.Settle(epoch, &shared)
	second.Settle(epoch, &shared)
	if got := 20 - shared.Tokens(epoch); got != 10 {
		t.Errorf("%d calls of two workers are out, want 10", got)
	}
}

// TestOneGoesFirst: after a refusal that does not name the limit, one call of the fleet goes ahead
// of all others.
func TestOneGoesFirst(t *testing.T) {
	var s State
	s.Refuse(Refusal{Sent: epoch, At: epoch, Until: at(time.Second)})
	opened := at(time.Second)
	if !s.Take(opened, bulk, 0.2) || s.Take(opened, urgent, 0.2) {
		t.Error("after the pause not one call goes first")
	}
	if got := s.Plan(opened, urgent, 0.2); !got.After(opened) {
		t.Errorf("the job behind it comes back after %s", got.Sub(opened))
	}
	if late := opened.Add(answerPatience); !s.Take(late, bulk, 0.2) {
		t.Error("a call that is not answered holds up all others")
	}
	if !s.Accepted(opened) || !s.Take(opened, bulk, 0.2) || !s.Take(opened, bulk, 0.2) {
		t.Error("a call that got through did not open the bucket")
	}
}

// TestSlots: what one account of several may hold of a worker's slots.
func TestSlots(t *testing.T) {
	tests := []struct{ all, kept, urgent, others int }{
		{all: 1, urgent: 1, others: 1},
		{all: 2, kept: 1, urgent: 2, others: 1},
		{all: 4, kept: 1, urgent: 3, others: 2},
		{all: 16, kept: 4, urgent: 15, others: 10},
		{all: 64, kept: 13, urgent: 63, others: 43},
	}
	for _, tt := range tests {
		if got := Kept(tt.all, 0.2); got != tt.kept {
			t.Errorf("of %d slots %d are kept, want %d", tt.all, got, tt.kept)
		}
		slots := Slots{All: tt.all, Kept: tt.kept}
		var h Holding
		taken := map[Rank]int{}
		for _, rank := range []Rank{bulk, urgent} {
			for h.Take(rank, slots) {
				taken[rank]++
			}
		}
		if taken[bulk] != tt.others || taken[bulk]+taken[urgent] != tt.urgent {
			t.Errorf("of %d slots one account holds %d, %d with urgent jobs, want %d and %d",
				tt.all, taken[bulk], taken[bulk]+taken[urgent], tt.others, tt.urgent)
		}
		h.Drop()
		h.Done(100 * ms)
		if !h.Take(urgent, slots) {
			t.Errorf("of %d slots those that were given back are lost", tt.all)
		}
		if got := h.Plan(epoch, bulk, slots).Sub(epoch); got < leastStep || got > mostStep {
			t.Errorf("a job without a slot comes back after %s", got)
		}
	}
}
