package jobs

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// meanwhile plans what another writer does right before the n-th step.
func (m *memory) meanwhile(n int, act func()) {
	var done atomic.Bool // Its own steps come here as well.
	m.before = func(at int) {
		if at == n && done.CompareAndSwap(false, true) {
			act()
		}
	}
}

// disturbed lets another writer change every record right before it is updated.
func (m *memory) disturbed(id string) {
	m.failing = func(_ int, step string) faultKind {
		if step == "ledger.update" {
			at := m.values["job."+id]
			m.revision++
			at.revision = m.revision
			m.values["job."+id] = at
		}
		return ""
	}
}

// TestRunMeetsIntake lets another event arrive before each step of a run, with and without
// an answer that is lost at that step. It is on the job's record, or has a job of its own.
func TestRunMeetsIntake(t *testing.T) {
	for _, scene := range runScenes() {
		for n := range scene.steps(t) {
			for _, kind := range append(faultKinds(), "") {
				t.Run(fmt.Sprintf("%s/step %d %s", scene.name, n, kind), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						p := newPlant(scene.answers...)
						job := p.acceptJob(t, jwksEvent(t, 1))
						p.steps = nil
						var joined Accepted
						p.meanwhile(n, func() {
							joined = p.accept(t, jwksEvent(t, 2))
							p.failNext(kind)
						})
						deliverUntilDone(t, p.runner(t, "w1"), job)
						r := p.record(t, job.ID)
						if p.api.made() != scene.wantCalls || r.AttemptCount != scene.wantCalls || r.Outcome != scene.wantOutcome || len(p.results) != 1 {
							t.Errorf("%d calls, %d attempts, outcome %s, results %+v", p.api.made(), r.AttemptCount, r.Outcome, p.results)
						}
						if other := p.record(t, joined.JobID); !other.HasEvent(jwksEvent(t, 2).EventRef) || len(p.queued(joined.JobID)) == 0 {
							t.Errorf("event 2 is lost: %+v", joined)
						}
						if joined.JobID == job.ID && len(p.results[0].Events) != 2 {
							t.Errorf("the result knows %+v", p.results[0].Events)
						}
					})
				})
			}
		}
	}
}

// TestRunMeetsLaterExpiry: a job that is about to be given up, because its only event
// expired, goes on when one joins that does not expire.
func TestRunMeetsLaterExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		job := p.acceptJob(t, jwksEvent(t, 1, func(e *Event) { e.Request.ExpiresAt = time.Now().Add(time.Second) }))
		pass(time.Second)
		p.steps = nil
		p.meanwhile(1, func() { p.accept(t, jwksEvent(t, 2)) }) // The record of the end.
		if v := run(t, p.runner(t, "w1"), Delivery{Job: job}); !v.Done {
			t.Errorf("settlement %+v", v)
		}
		if r := p.record(t, job.ID); r.Outcome != OutcomeRevoked || r.EventCount != 2 || p.api.made() != 1 {
			t.Errorf("outcome %s, %d calls", r.Outcome, p.api.made())
		}
		checkCount(t, p, "finished jwks.revoke exhausted", 0)
	})
}

// TestHoldMeetsIntake: an event that joins while a job is being held back is kept.
func TestHoldMeetsIntake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		job := p.acceptJob(t, jwksEvent(t, 1))
		p.pacer.until = time.Now().Add(time.Minute)
		p.steps = nil
		p.meanwhile(1, func() { p.accept(t, jwksEvent(t, 2)) })
		if got, want := run(t, p.runner(t, "w1"), Delivery{Job: job}), (Settlement{Delay: time.Minute}); got != want {
			t.Errorf("settlement %+v, want %+v", got, want)
		}
		if r := p.record(t, job.ID); r.State != StateWaiting || r.EventCount != 2 || r.AttemptCount != 0 {
			t.Errorf("record %+v", r)
		}
	})
}

// TestHoldFails: a hold that cannot be recorded leaves the message to be redelivered.
func TestHoldFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		job := p.acceptJob(t, jwksEvent(t, 1))
		p.pacer.until = time.Now().Add(time.Minute)
		p.steps = nil
		p.failStep(1, lostRequest)
		v, err := p.runner(t, "w1").Run(t.Context(), Delivery{Job: job})
		if want := "holding job " + job.ID + ": ledger.update: no answer came"; v != (Settlement{}) || errorText(err) != want {
			t.Errorf("settlement %+v, error %v", v, err)
		}
	})
}

// TestClaimOvertaken: a claim without an answer that another worker has beaten is no claim.
func TestClaimOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		job := p.acceptJob(t, jwksEvent(t, 1))
		p.steps = nil
		p.failStep(1, lostRequest)
		p.meanwhile(2, func() {
			other := p.record(t, job.ID)
			other.begin(time.Now(), "w2", time.Minute)
			p.put(t, other)
		})
		if got := run(t, p.runner(t, "w1"), Delivery{Job: job}); got.Done || got.Delay != claimPoll {
			t.Errorf("settlement %+v", got)
		}
		if r := p.record(t, job.ID); r.Claim.Worker != "w2" || r.AttemptCount != 1 || p.api.made() != 0 {
			t.Errorf("claim %+v, %d calls", r.Claim, p.api.made())
		}
	})
}

// TestRunNeverInPeace: a record that changes under every look at it is left for a second.
func TestRunNeverInPeace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		job := p.acceptJob(t, jwksEvent(t, 1))
		p.disturbed(job.ID)
		if got, want := run(t, p.runner(t, "w1"), Delivery{Job: job}), (Settlement{Delay: time.Second}); got != want || p.api.made() != 0 {
			t.Errorf("settlement %+v, want %+v; %d calls", got, want, p.api.made())
		}
	})
}

// TestAcceptNeverInPeace: an intake that is always overtaken says so, and is no mistake
// of the event.
func TestAcceptNeverInPeace(t *testing.T) {
	p := newPlant(works)
	first := p.accept(t, jwksEvent(t, 1))
	p.disturbed(first.JobID)
	_, err := p.intake.Accept(t.Context(), jwksEvent(t, 2))
	want := "opening job " + newJob(jwksEvent(t, 2), "security").ID + ": joining job " + first.JobID + ": revision conflict"
	if errorText(err) != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// TestRunCreatesOnce: two workers that both find no record of a job make one.
func TestRunCreatesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		job := newJob(jwksEvent(t, 1), "security")
		p.meanwhile(1, func() { run(t, p.runner(t, "w2"), Delivery{Job: job}) })
		if v := run(t, p.runner(t, "w1"), Delivery{Job: job}); !v.Done || p.api.made() != 1 || len(p.results) != 1 {
			t.Errorf("settlement %+v, %d calls, %d results", v, p.api.made(), len(p.results))
		}
	})
}

// TestIntakeOvertakenByCopy lets a copy of the event be taken in before each step of its
// intake: one job, in the queue.
func TestIntakeOvertakenByCopy(t *testing.T) {
	for _, scene := range intakeScenes() {
		for n := range scene.steps(t) {
			for _, kind := range append(faultKinds(), "") {
				t.Run(fmt.Sprintf("%s/step %d %s", scene.name, n, kind), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						p := newPlant(works)
						scene.prepare(t, p)
						p.steps = nil
						var copied Accepted
						p.meanwhile(n, func() {
							copied = p.accept(t, scene.copied(t, 99))
							p.failNext(kind)
						})
						got := scene.deliver(t, p, 0)
						scene.check(t, p, got)
						if diff := cmp.Diff(copied.JobID, got.JobID); diff != "" {
							t.Errorf("two jobs (-copy +event):\n%s", diff)
						}
					})
				})
			}
		}
	}
}
