package proof

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/jobs"
)

// watching is a plant whose target is dead, and back at a moment; zero: never.
func watching(t *testing.T, back time.Duration) *plant {
	p := newPlant(t, watched)
	p.policy.Watch, p.policy.Looks = 60*time.Hour, []time.Duration{15 * time.Minute, time.Hour, 24 * time.Hour}
	p.answer = func(_ string, after time.Duration) (int, error) {
		if back > 0 && after >= back {
			return 200, nil
		}
		return 404, nil
	}
	p.events = func(time.Duration) ([]Event, error) {
		return []Event{{ID: "e0", Type: "MADE_UP_CREATED", At: p.began.Add(time.Second)}, {ID: "e1", Type: "MADE_UP_CREATED", At: p.began.Add(back), By: "terraform"}}, nil
	}
	return p
}

// TestWatch: a dead target is looked at when its looks are due, until its watch is over.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := watching(t, 0)
		p.deliver(t)
		want := []string{"target 0s", "target 15m0s", "target 1h0m0s", "target 24h0m0s", "target 48h0m0s", "target 60h0m0s"}
		if diff := cmp.Diff(want, p.reads); diff != "" {
			t.Errorf("reads (-want +got):\n%s", diff)
		}
		r := p.record(t)
		if r.Proof.Verdict != jobs.VerdictVerified || !r.Proof.NextCheckAt.IsZero() || r.Proof.Checks != 6 || len(r.Proof.Evidence) != 2 || r.Proving != nil {
			t.Errorf("the proof is %+v", r.Proof)
		}
		if diff := cmp.Diff([]string{"verified"}, p.announced); diff != "" {
			t.Errorf("announced (-want +got):\n%s", diff)
		}
	})
}

// TestAgeOfLists: what an earlier look has read is no answer to a later one: the API may lag.
func TestAgeOfLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, listed)
		p.policy.Events, p.answer = false, since(5*time.Second, 200, 404)
		p.deliver(t)
		if diff := cmp.Diff([]time.Duration{0, 0, 2 * time.Second, 2 * time.Second, 3 * time.Second, 3 * time.Second}, p.ages); diff != "" {
			t.Errorf("ages (-want +got):\n%s", diff)
		}
	})
}

// TestWatchReadsLists: where a list shows the target, too, a watch reads that alone, which is shared; the target itself where it fails.
func TestWatchReadsLists(t *testing.T) {
	for want, answer := range map[string]func(string, time.Duration) (int, error){
		"target 0s, list 0s, list 1h0m0s": since(0, 0, 404),
		"target 0s, list 0s, list 1h0m0s, target 1h0m0s": func(check string, after time.Duration) (int, error) {
			if check == "list" && after > 0 {
				return 403, nil
			}
			return 404, nil
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPlant(t, listed)
			p.policy.Events, p.policy.Watch, p.policy.Looks, p.answer = false, time.Hour, []time.Duration{time.Hour}, answer
			p.deliver(t)
			if got := strings.Join(p.reads, ", "); got != want {
				t.Errorf("reads %s, want %s", got, want)
			}
		})
	}
}

// TestReverted: what came back is named with its id, who did it and when, and how to stop it there; once, whatever fails.
func TestReverted(t *testing.T) {
	for _, step := range []string{"", "update", "announce", "watch"} {
		for _, done := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				p := watching(t, 30*time.Minute)
				seen := 0
				p.fail = func(name string) (bool, error) {
					if seen++; name != step || seen > 5 {
						return true, nil
					}
					return done, errors.New("no answer came")
				}
				p.deliver(t)
				r := p.record(t)
				if r.Proof.Verdict != jobs.VerdictReverted || r.BackAs["project_id"] != "5ec0000000000000000000f2" || !r.Proof.NextCheckAt.IsZero() {
					t.Fatalf("%s, back as %v", r.Proof.Verdict, r.BackAs)
				}
				if diff := cmp.Diff([]string{"verified", "reverted with a dead letter"}, p.announced); diff != "" || len(p.repeats) > 0 {
					t.Errorf("%d repeats, announced (-want +got):\n%s", len(p.repeats), diff)
				}
				why := r.Proof.Why()
				for _, part := range []string{"OK; MADE_UP_CREATED at 2000-01-01T00:30:00Z by terraform", "; Terraform does: take it out."} {
					if !strings.Contains(why, part) {
						t.Errorf("%q is not in %q", part, why)
					}
				}
				if step == "" && (len(p.counted) != 3 || p.counted[2] != "back" || time.Since(p.began) != time.Hour) {
					t.Errorf("counted %v after %s", p.counted, time.Since(p.began))
				}
			})
		}
	}
}

// TestRepeat: a target that is back is ended again by a job for its new id, under an identity of its own, so often in a row at most.
func TestRepeat(t *testing.T) {
	for n := range 4 {
		synctest.Test(t, func(t *testing.T) {
			p := watching(t, 30*time.Minute)
			p.policy.MaxRepeats = 2
			if n > 0 {
				r := p.record(t)
				r.Events[0].EventRef = jobs.EventRef{Source: jobs.SourceRepeat, ID: fmt.Sprintf("root.%d", n)}
				p.put(t, r)
			}
			failed := false
			p.fail = func(name string) (bool, error) {
				if name == "repeat" && !failed {
					failed = true
					return true, errors.New("no answer came")
				}
				return true, nil
			}
			p.deliver(t)
			id, want := map[int]string{0: "job.1", 1: "root.2"}[n], []string{"verified", "reverted"}
			if id == "" {
				want[1] += " with a dead letter"
			}
			if diff := cmp.Diff(want, p.announced); diff != "" || len(p.repeats) != min(len(id), 1) {
				t.Errorf("repeat %d: repeats %v, announced (-want +got):\n%s", n, p.repeats, diff)
			}
			if id == "" {
				return
			}
			asked := map[string]any{
				"kind": "made_up.watched", "params": map[string]string{"project_id": "5ec0000000000000000000f2"}, "account": "security", "lane": "urgent",
				"reason": "the target of job job is back", "requested_by": "proof.on_revert",
			}
			if diff := cmp.Diff(asked, p.repeats[id]); diff != "" {
				t.Errorf("repeat %d asks (-want +got):\n%s", n, diff)
			}
		})
	}
}

// TestWatchStops where an operator stops it, and for a target that is not known to be dead there is none.
func TestWatchStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := watching(t, 0)
		p.answer = since(0, 0, 403)
		p.policy.Events = false
		p.deliver(t)
		if r := p.record(t); r.Proof.Verdict != jobs.VerdictAccepted || !r.Proof.NextCheckAt.IsZero() || p.watched > 0 {
			t.Errorf("%+v, %d watches", r.Proof, p.watched)
		}
		p = watching(t, 0)
		p.settle(t, (*Checker).Check)
		r := p.record(t)
		r.Proof.NextCheckAt = time.Time{}
		p.put(t, r)
		p.settle(t, (*Checker).Watch)
		if len(p.reads) != 1 {
			t.Errorf("reads %v", p.reads)
		}
	})
}
