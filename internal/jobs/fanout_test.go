package jobs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// purse is a Budget that never forgets.
type purse struct {
	mu    sync.Mutex // Guards taken.
	taken map[string]int
	err   error
}

func (p *purse) Take(_ context.Context, scope string, n, limit int) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return 0, p.err
	}
	got := max(min(n, limit-p.taken[scope]), 0)
	p.taken[scope] += got
	return got, nil
}

func (p *purse) Return(_ context.Context, scope string, n int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken[scope] -= n
	return p.err
}

// decided counts decisions of policies.
type decided map[string]int

func (d decided) PolicyDecided(policy, decision string) { d[policy+" "+decision]++ }

// spread is a plant with a fan-out.
type spread struct {
	*plant
	fanout  *Fanout
	purse   *purse
	decided decided
}

func newSpread(rules Rules) *spread {
	s := &spread{plant: newPlant(works), purse: &purse{taken: map[string]int{}}, decided: decided{}}
	rules.Accounts = configured{"security", "legacy"}
	s.fanout = NewFanout(s.intake, s.purse, s.decided, &rules)
	return s
}

// alert is an event that asks for nothing by itself.
func alert(t *testing.T, seq uint64) Event {
	t.Helper()
	return jwksEvent(t, seq, func(e *Event) { e.Request = Request{} })
}

func TestFanout(t *testing.T) {
	s := newSpread(Rules{Decider: decider{
		asks("leak", disableOf(t, projectOf(1)), disableOf(t, projectOf(2))),
		{Decision: Decision{Policy: "other", Why: "x"}},
		{Decision: Decision{Policy: "broken", Rejection: &Rejection{Code: RejectPolicy, Policy: "broken", Detail: "x"}}},
	}})
	e := jwksEvent(t, 1, func(e *Event) { e.Direct = true })
	got, err := s.fanout.Accept(t.Context(), e)
	if errorText(err) != "policy broken: x" || got.Result != EventAccepted || got.JobID != newJob(e, "security").ID {
		t.Errorf("Accept = %+v, %v", got, err)
	}
	var policies []string
	for _, id := range s.jobIDs() {
		r := s.record(t, id)
		policies = append(policies, string(r.Kind)+" "+r.Policy)
		if !r.HasEvent(e.EventRef) || r.Origin != OriginEvent {
			t.Errorf("the record of %s is %+v", id, r)
		}
	}
	if want := map[string]int{"jwks.revoke ": 1, "x509.disable leak": 2}; !cmp.Equal(want, tally(policies)) {
		t.Errorf("jobs of %v, want %v", policies, want)
	}
	if diff := cmp.Diff(decided{"leak matched": 1, "other not_matched": 1, "broken error": 1}, s.decided); diff != "" {
		t.Errorf("decisions (-want +got):\n%s", diff)
	}
	// Once the policy is mended, the same event adds only what was missing.
	s.fanout.Use(&Rules{Accounts: configured{"security"}, Decider: decider{
		asks("leak", disableOf(t, projectOf(1)), disableOf(t, projectOf(2))), asks("broken", disableOf(t, projectOf(3))),
	}})
	e.Seq = 2 // A replay has another sequence.
	if got, err := s.fanout.Accept(t.Context(), e); err != nil || got.Result != EventAccepted || len(s.jobIDs()) != 4 {
		t.Errorf("the replay: %+v, %v, jobs %v", got, err, s.jobIDs())
	}
	if got, err := s.fanout.Accept(t.Context(), e); err != nil || got.Result != EventDuplicate && got.Result != EventAccepted || len(s.jobIDs()) != 4 {
		t.Errorf("the replay once more: %+v, %v, jobs %v", got, err, s.jobIDs())
	}
}

func tally(list []string) map[string]int {
	counts := map[string]int{}
	for _, one := range list {
		counts[one]++
	}
	return counts
}

// TestFanoutAddsWhatIsMissing cuts the fan-out off at each of its steps, in both ways, and
// delivers the event again.
func TestFanoutAddsWhatIsMissing(t *testing.T) {
	rules := func() Rules {
		return Rules{Decider: decider{asks("a", disableOf(t, projectOf(1)), disableOf(t, projectOf(2)), disableOf(t, projectOf(3)))}}
	}
	whole := newSpread(rules())
	if _, err := whole.fanout.Accept(t.Context(), alert(t, 1)); err != nil {
		t.Fatal(err)
	}
	for n := range whole.steps {
		for _, kind := range faultKinds() {
			t.Run(fmt.Sprintf("%d %s", n, kind), func(t *testing.T) {
				s := newSpread(rules())
				s.failStep(n, kind)
				if _, err := s.fanout.Accept(t.Context(), alert(t, 1)); !errors.Is(err, errLost) {
					t.Fatalf("the first delivery: %v", err)
				}
				s.failing = nil
				accepted, err := s.fanout.Accept(t.Context(), alert(t, 1))
				if err != nil || accepted.Result != EventAccepted {
					t.Fatalf("the second delivery: %+v, %v", accepted, err)
				}
				if diff := cmp.Diff(whole.jobIDs(), s.jobIDs()); diff != "" {
					t.Errorf("jobs (-want +got):\n%s", diff)
				}
				for _, id := range s.jobIDs() {
					if len(s.queued(id)) == 0 {
						t.Errorf("job %s is not in the queue", id)
					}
				}
			})
		}
	}
}

func TestFanoutOfNothing(t *testing.T) {
	s := newSpread(Rules{Decider: decider{{Decision: Decision{Policy: "a", Why: "x"}}}})
	got, err := s.fanout.Accept(t.Context(), alert(t, 1))
	if err != nil || got != (Accepted{Result: EventUnmatched}) || len(s.jobIDs()) > 0 {
		t.Errorf("Accept = %+v, %v", got, err)
	}
	s.fanout.Use(&Rules{Decider: decider{}, DeadLetterUnmatched: true})
	_, err = s.fanout.Accept(t.Context(), alert(t, 1))
	if held, ok := errors.AsType[*Rejection](err); !ok || held.Code != RejectUnmatched || CodeOf(err) != "unmatched" {
		t.Errorf("error %v", err)
	}
}

// TestFanoutExpired: what the intake refuses is a mistake of the policy that asked for it.
func TestFanoutExpired(t *testing.T) {
	late := disableOf(t, projectOf(1), func(r *Request) { r.ExpiresAt = planTime.AddDate(-50, 0, 0) })
	s := newSpread(Rules{Decider: decider{asks("late", late), asks("b", disableOf(t, projectOf(2)))}})
	got, err := s.fanout.Accept(t.Context(), alert(t, 1))
	if !strings.HasPrefix(errorText(err), "policy late: expires_at: the request expired at ") || got.Result != EventAccepted || len(s.jobIDs()) != 1 {
		t.Errorf("Accept = %+v, %v, jobs %v", got, err, s.jobIDs())
	}
	if CodeOf(err) != "policy" || !cmp.Equal(PoliciesOf(err), []string{"late"}) {
		t.Errorf("code %s, policies %v", CodeOf(err), PoliciesOf(err))
	}
}

func TestFanoutByTheHour(t *testing.T) {
	five := func() []Request {
		var list []Request
		for i := range 5 {
			list = append(list, disableOf(t, projectOf(i)))
		}
		return list
	}
	tests := []struct {
		name      string
		rules     Rules
		taken     map[string]int // Before.
		wantJobs  int
		wantErr   string
		wantTaken map[string]int
	}{
		{name: "no limits", rules: Rules{Decider: decider{asks("a", five()...)}}, wantJobs: 5, wantTaken: map[string]int{}},
		{
			name: "room enough", rules: Rules{Limits: Limits{MaxJobsPerHour: 5}, Decider: decider{limited(asks("a", five()...), Limits{MaxJobsPerHour: 9})}},
			wantJobs: 5, wantTaken: map[string]int{"all": 5, "policy.a": 5},
		},
		{
			name: "the policy's limit", rules: Rules{Limits: Limits{MaxJobsPerHour: 9}, Decider: decider{limited(asks("a", five()...), Limits{MaxJobsPerHour: 3})}},
			taken: map[string]int{"policy.a": 1}, wantJobs: 2, wantErr: "policy a: limits.max_jobs_per_hour: 3 of the event's jobs exceed the limit of 3 in an hour",
			wantTaken: map[string]int{"all": 2, "policy.a": 3},
		},
		{
			name: "the limit of all", rules: Rules{Limits: Limits{MaxJobsPerHour: 3}, Decider: decider{limited(asks("a", five()[:2]...), Limits{MaxJobsPerHour: 3}), asks("b", five()[2:]...)}},
			wantJobs: 3, wantErr: "intake.limits.max_jobs_per_hour: 2 of the event's jobs exceed the limit of 3 in an hour",
			wantTaken: map[string]int{"all": 3, "policy.a": 2},
		},
		{
			name: "the limit of all gives back the policy's", rules: Rules{Limits: Limits{MaxJobsPerHour: 3}, Decider: decider{limited(asks("a", five()...), Limits{MaxJobsPerHour: 4})}},
			taken: map[string]int{"all": 2}, wantJobs: 1,
			wantErr:   "policy a: limits.max_jobs_per_hour: 1 of the event's jobs exceed the limit of 4 in an hour\nintake.limits.max_jobs_per_hour: 3 of the event's jobs exceed the limit of 3 in an hour",
			wantTaken: map[string]int{"all": 3, "policy.a": 1},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSpread(tt.rules)
			maps.Copy(s.purse.taken, tt.taken)
			check := func(delivery string) {
				t.Helper()
				_, err := s.fanout.Accept(t.Context(), alert(t, 1))
				if errorText(err) != tt.wantErr && delivery == "first" || len(s.jobIDs()) != tt.wantJobs {
					t.Errorf("%s: error %q, jobs %v", delivery, errorText(err), s.jobIDs())
				}
				if diff := cmp.Diff(tt.wantTaken, s.purse.taken); diff != "" {
					t.Errorf("%s: counted (-want +got):\n%s", delivery, diff)
				}
			}
			check("first")
			check("again") // What exists is not counted once more.
			if tt.wantErr == "" {
				return
			}
			// An hour later the limit allows more, and a replay makes what was missing.
			clear(s.purse.taken)
			if len(s.jobIDs()) < 5 {
				e := alert(t, 1)
				e.Seq = 2
				if _, err := s.fanout.Accept(t.Context(), e); len(s.jobIDs()) != min(5, tt.wantJobs+s.purse.taken["all"]) || len(s.jobIDs()) == tt.wantJobs {
					t.Errorf("an hour later: %v, jobs %v", err, s.jobIDs())
				}
			}
		})
	}
}

// TestFanoutCountsNoDuplicates: what joins the job of another event is no job more.
func TestFanoutCountsNoDuplicates(t *testing.T) {
	s := newSpread(Rules{Limits: Limits{MaxJobsPerHour: 2}, Decider: decider{asks("a", disableOf(t, projectOf(1)))}})
	for seq := range uint64(20) {
		if _, err := s.fanout.Accept(t.Context(), alert(t, seq)); err != nil {
			t.Fatalf("event %d: %v", seq, err)
		}
	}
	if diff := cmp.Diff(map[string]int{"all": 1}, s.purse.taken); diff != "" || len(s.jobIDs()) != 1 {
		t.Errorf("jobs %v, counted (-want +got):\n%s", s.jobIDs(), diff)
	}
}

// TestFanoutWithoutItsBudget: limits that cannot be checked let nothing through.
func TestFanoutWithoutItsBudget(t *testing.T) {
	s := newSpread(Rules{Limits: Limits{MaxJobsPerHour: 2}, Decider: decider{asks("a", disableOf(t, projectOf(1)))}})
	s.purse.err = errLost
	_, err := s.fanout.Accept(t.Context(), alert(t, 1))
	if _, held := errors.AsType[*Rejection](err); !errors.Is(err, errLost) || held || len(s.jobIDs()) > 0 {
		t.Errorf("error %v, jobs %v", err, s.jobIDs())
	}
}

func TestFanoutSaysWhatIsLimited(t *testing.T) {
	s := newSpread(Rules{Decider: decider{limited(asks("a", disableOf(t, projectOf(1)), disableOf(t, projectOf(2))), Limits{Deny: Bounds{Projects: []string{projectOf(2)}}})}})
	_, err := s.fanout.Accept(t.Context(), alert(t, 1))
	if CodeOf(err) != "limit" || ResultOf(err) != EventRefused || len(s.jobIDs()) != 1 || s.decided["a limited"] != 1 {
		t.Errorf("error %v (%s), jobs %v, decisions %v", err, CodeOf(err), s.jobIDs(), s.decided)
	}
}
