package proof

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/jobs"
)

// TestRevertedBeforeItsLook: a target that is alive when its proof ends is back, not still alive, where something shows that it was dead
// since the success: the event log, or another id.
func TestRevertedBeforeItsLook(t *testing.T) {
	const same = "5ec0000000000000000000f2" // Under this id a read shows what is alive.
	for _, tt := range []struct {
		name   string
		id     string
		events []Event
		want   jobs.Verdict
	}{
		{"nothing shows it", same, nil, jobs.VerdictStillAlive},
		{"an event before the success", same, []Event{{ID: "e1", Type: "MADE_UP_CREATED", Names: true, At: time.Unix(0, 0)}}, jobs.VerdictStillAlive},
		{"an event after it", same, []Event{{ID: "e1", Type: "MADE_UP_CREATED", Names: true, By: "terraform"}}, jobs.VerdictReverted},
		{"another id", "5ec0000000000000000000f1", nil, jobs.VerdictReverted},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPlant(t, watched)
			r := p.record(t)
			r.Params["project_id"] = tt.id
			p.put(t, r)
			p.answer = func(string, time.Duration) (int, error) { return 200, nil }
			p.events = func(time.Duration) ([]Event, error) {
				for i := range tt.events {
					if tt.events[i].At.IsZero() {
						tt.events[i].At = p.began.Add(time.Minute)
					}
				}
				return tt.events, nil
			}
			p.settleFor(t, tt.id, (*Checker).Check)
			want := []string{string(tt.want) + " with a dead letter"}
			if diff := cmp.Diff(want, p.announced); diff != "" || p.record(t).Proof.Verdict != tt.want {
				t.Errorf("%s: announced (-want +got):\n%s", tt.name, diff)
			}
		})
	}
}

// TestCheckNow: a message that an operator has queued makes one look, without parameters of its own, and ends; where the look was made
// by the watch, it makes none.
func TestCheckNow(t *testing.T) {
	for _, made := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := watching(t, 0)
			p.settle(t, (*Checker).Check)
			<-time.After(time.Minute) // In the bubble.
			r := p.record(t)
			now := time.Now()
			r.Operations = append(r.Operations, jobs.Operation{At: now, Action: jobs.ActionCheck, By: "ada"})
			if r.Proof.NextCheckAt = now; made {
				r.Proof.CheckedAt, r.Proof.NextCheckAt = now.Add(time.Second), now.Add(time.Hour)
			}
			p.put(t, r)
			<-time.After(2 * time.Second)
			p.reads = nil
			s, err := p.checker().Watch(t.Context(), jobs.Delivery{Job: jobs.Job{ID: "job", Kind: r.Kind, Wake: true}, Count: 1})
			if err != nil || !s.Done {
				t.Fatalf("%+v, %v", s, err)
			}
			want := []string{"target 1m2s"}
			if made {
				want = nil
			}
			if diff := cmp.Diff(want, p.reads); diff != "" {
				t.Errorf("made %t: reads (-want +got):\n%s", made, diff)
			}
			if next := p.record(t).Proof.NextCheckAt; !made && !next.Equal(p.began.Add(15*time.Minute)) {
				t.Errorf("the watch goes on at %s", next)
			}
		})
	}
}
