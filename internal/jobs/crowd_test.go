package jobs

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// endless is a policy that asks for more and more jobs, until the planner has enough.
type endless struct {
	t     *testing.T
	same  bool // All for one target.
	most  int
	asked int
}

func (d *endless) Decide(_ context.Context, _ Event, p Planner) []Decision {
	decision := Decision{Policy: "a", Matched: true, Limits: Limits{Deny: Bounds{Projects: []string{fmt.Sprintf("%024x", 0)}}}}
	for d.asked < d.most {
		n := d.asked
		if d.same {
			n = 1
		}
		d.asked++
		if !p.Take(&decision, disableOf(d.t, fmt.Sprintf("%024x", n), func(r *Request) { r.Policy = "a" })) {
			break
		}
	}
	return []Decision{decision}
}

// TestLimitsStopPolicies: no more jobs are planned than show that a limit is exceeded.
func TestLimitsStopPolicies(t *testing.T) {
	for _, tt := range []struct {
		name               string
		same               bool
		limit, asked, jobs int
		problems           string
	}{
		{name: "as many as the limit", limit: 1000, asked: 1000, jobs: 999, problems: "policy a: limits: x509.disable of project/000000000000000000000000: deny.projects has 000000000000000000000000"},
		{name: "beyond the limit", limit: 50, asked: 52, problems: "policy a: limits: x509.disable of project/000000000000000000000000: deny.projects has 000000000000000000000000\nintake.limits.max_jobs_per_event: the event asks for more jobs than the limit of 50"},
		{name: "copies do not count", same: true, limit: 1, asked: 1000, jobs: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := &endless{t: t, same: tt.same, most: 1000}
			plan := (&Rules{Decider: d, Accounts: configured{"security"}, Limits: Limits{MaxJobsPerEvent: tt.limit}}).Plan(t.Context(), jwksEvent(t, 1, func(e *Event) { e.Direct = false }), time.Now())
			if d.asked != tt.asked || len(plan.Jobs) != tt.jobs || fmt.Sprint(plan.Err()) != tt.problems && (tt.problems != "" || plan.Err() != nil) {
				t.Errorf("asked %d times, %d jobs, problems %v", d.asked, len(plan.Jobs), plan.Err())
			}
		})
	}
}

// TestProblemsAreBounded: what lists forbid is reported one by one, up to a bound.
func TestProblemsAreBounded(t *testing.T) {
	d := &endless{t: t, most: 5000}
	rules := Rules{Decider: d, Accounts: configured{"security"}, Limits: Limits{Deny: Bounds{Kinds: []string{"x509.disable"}}}}
	plan := rules.Plan(t.Context(), jwksEvent(t, 1, func(e *Event) { e.Direct = false }), time.Now())
	if n := len(plan.Problems); n != mostProblems+2 || plan.Result() != EventRefused || len(plan.Jobs) > 0 {
		t.Errorf("%d problems, %d jobs, %s", n, len(plan.Jobs), plan.Result())
	}
	last := plan.Problems[len(plan.Problems)-1].Error()
	if want := "intake.limits: 4899 more jobs are forbidden"; last != want {
		t.Errorf("the last problem is %q, want %q", last, want)
	}
}

// hungry is a policy that costs much, and takes its time.
type hungry struct{ took time.Duration }

func (d hungry) Decide(ctx context.Context, _ Event, p Planner) []Decision {
	if p.Costly(ctx) {
		<-time.After(d.took)
	}
	return []Decision{{Policy: "a"}}
}

// deaf counts nothing.
type deaf struct{}

func (deaf) PolicyDecided(string, string) {}

// TestCrowd: so many costly events are worked on at once, some wait for that, and the others are to come later; events
// that cost little are not held up.
func TestCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpread(Rules{Decider: hungry{took: time.Second}, Accounts: configured{"security"}})
		s.fanout.recorder = deaf{} // The other one is for one goroutine.
		event := func(n uint64) Event { return jwksEvent(t, n, func(e *Event) { e.Direct = false }) }
		places, line := cap(s.fanout.crowds.costly.places), cap(s.fanout.crowds.costly.line)
		results := make(chan error, 100)
		const all = 20
		for n := range uint64(all) {
			go func() {
				_, err := s.fanout.Accept(t.Context(), event(n))
				results <- err
			}()
		}
		synctest.Wait()
		if n := len(results); n != all-places-line {
			t.Errorf("%d events are to come later, want %d", n, all-places-line)
		}
		for range all - places - line {
			if err := <-results; !errors.Is(err, ErrCrowded) {
				t.Errorf("got %v, want that it is crowded", err)
			}
		}
		s.fanout.Use(&Rules{Decider: decider{asks("a", disableOf(t, projectOf(1)))}, Accounts: configured{"security"}})
		begun := time.Now()
		if _, err := s.fanout.Accept(t.Context(), event(50)); err != nil || time.Since(begun) > 0 {
			t.Errorf("an event that costs little took %s: %v", time.Since(begun), err)
		}
		for range places + line {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if n := len(s.fanout.crowds.costly.places) + len(s.fanout.crowds.costly.line); n != 0 {
			t.Errorf("%d places are taken when all is over", n)
		}
	})
}
