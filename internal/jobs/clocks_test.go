package jobs

import (
	"testing"
	"testing/synctest"
	"time"
)

// skews are by how much the clock of another worker is off.
func skews() map[string]time.Duration {
	return map[string]time.Duration{
		"right": 0, "an hour ahead": time.Hour, "an hour behind": -time.Hour, "25 hours ahead": 25 * time.Hour, "25 hours behind": -25 * time.Hour,
	}
}

// TestClaimUnderSkewedClocks: how long a claim holds goes by the ledger's clock alone. A
// worker whose clock is ahead of ours does not hold a job up when it is lost, and one whose
// clock is behind keeps its job while it lives.
func TestClaimUnderSkewedClocks(t *testing.T) {
	for name, skew := range skews() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(works)
				job := p.acceptJob(t, jwksEvent(t, 1))
				claimed := p.record(t, job.ID)
				claimed.begin(time.Now().Add(skew), "w1", 40*time.Second)
				p.put(t, claimed)
				r := p.runner(t, "w2")
				pass(40*time.Second - 1)
				if v := run(t, r, Delivery{Job: job}); v != (Settlement{Delay: 1}) || p.api.made() != 0 {
					t.Fatalf("while the lease holds: settlement %+v, %d calls", v, p.api.made())
				}
				pass(1)
				if v := run(t, r, Delivery{Job: job}); !v.Done || p.api.made() != 1 {
					t.Errorf("when it has ended: settlement %+v, %d calls", v, p.api.made())
				}
			})
		})
	}
}

// TestRenewalUnderSkewedClocks: a renewal counts from when the ledger took it.
func TestRenewalUnderSkewedClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(takes(29*time.Second, works))
		job := p.acceptJob(t, jwksEvent(t, 1))
		first := deliverInBackground(t.Context(), p.runner(t, "w1"), Delivery{Job: job})
		pass(28 * time.Second) // Renewed after a third and two thirds of 40 s.
		entry, err := memoryLedger{p.memory}.Load(t.Context(), job.ID)
		if err != nil {
			t.Fatal(err)
		}
		left, err := p.runner(t, "w2").leaseLeft(t.Context(), entry)
		if want := 80*time.Second*2/3 + 40*time.Second/3 - 28*time.Second; err != nil || left.Round(time.Millisecond) != want.Round(time.Millisecond) {
			t.Errorf("%s are left (%v), want %s", left, err, want)
		}
		if got := <-first; got.err != nil || !got.settlement.Done {
			t.Errorf("%+v", got)
		}
	})
}

// TestJobUnderSkewedClocks: the life of a job goes by the time that all workers share. Whatever this machine's clock
// shows, nothing is exhausted or refused too early, waits too long or is attempted after its end.
func TestJobUnderSkewedClocks(t *testing.T) {
	for name, skew := range skews() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shared := func() time.Time { return time.Now().Add(-skew) }
				p := newPlant(fails(Failure{Reason: ReasonRateLimited, RetryAt: time.Now().Add(30 * time.Second)}), fails(Failure{Reason: ReasonUnavailable}))
				p.intake.now = shared
				job := p.acceptJob(t, jwksEvent(t, 1, func(e *Event) {
					e.At, e.Request.ExpiresAt = shared(), shared().Add(33*time.Second)
				}))
				r := p.runner(t, "w1", func(c *RunnerConfig) { c.Now = shared })
				for i, want := range []time.Duration{30 * time.Second, 2 * time.Second} {
					if v := run(t, r, Delivery{Job: job}); v != (Settlement{Delay: want}) {
						t.Fatalf("attempt %d: settlement %+v, want a delay of %s", i+1, v, want)
					}
					rec := p.record(t, job.ID)
					if got := rec.RetryAt.Sub(shared()); got != want {
						t.Errorf("attempt %d: retry_at is in %s for the other workers, want %s", i+1, got, want)
					}
					if v := run(t, r, Delivery{Job: job}); v != (Settlement{Delay: want}) {
						t.Errorf("attempt %d: handed over early: settlement %+v", i+1, v)
					}
					pass(want)
				}
				if v := run(t, r, Delivery{Job: job}); !v.Done || p.record(t, job.ID).Outcome != OutcomeExhausted || p.api.made() != 3 {
					t.Errorf("after its end: settlement %+v, outcome %s, %d calls", v, p.record(t, job.ID).Outcome, p.api.made())
				}
			})
		})
	}
}

// TestRetryUnderSkewedClocks: an operator's machine may show any time; what is retried has all of its age before it.
func TestRetryUnderSkewedClocks(t *testing.T) {
	for name, skew := range skews() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(fails(Failure{Reason: ReasonForbidden}), works)
				job := p.acceptJob(t, jwksEvent(t, 1))
				run(t, p.runner(t, "w1"), Delivery{Job: job})
				pass(policy().MaxAge)
				if _, err := p.operator(nil).Retry(t.Context(), job.ID, Operation{At: time.Now().Add(skew), Action: ActionRetry}); err != nil {
					t.Fatal(err)
				}
				if v := run(t, p.runner(t, "w1"), Delivery{Job: p.queued(job.ID)[1]}); !v.Done || p.record(t, job.ID).Outcome != OutcomeRevoked {
					t.Errorf("settlement %+v, record %+v", v, p.record(t, job.ID))
				}
			})
		})
	}
}

// TestHolderUnderSkewedClocks: the time for which a target may be held without a record goes by the
// ledger's clock alone.
func TestHolderUnderSkewedClocks(t *testing.T) {
	for name, skew := range skews() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(works)
				p.failNamed("ledger.create", lostRequest)
				lost := jwksEvent(t, 1)
				if _, err := p.intake.Accept(t.Context(), lost); err == nil {
					t.Fatal("the intake was not cut off")
				}
				p.failing = nil
				targets, key := memoryTargets{p.memory}, newJob(lost, "security").TargetKey()
				held, err := targets.Load(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				held.At = held.At.Add(skew)
				if err := targets.Save(t.Context(), key, held); err != nil {
					t.Fatal(err)
				}
				pass(creationTimeout - time.Second) // An intake waits for less than a second itself.
				if _, err := p.intake.Accept(t.Context(), jwksEvent(t, 2)); err == nil {
					t.Error("the target was taken over while its holder may be at work")
				}
				pass(time.Second)
				if got := p.accept(t, jwksEvent(t, 2)); got.Result != EventAccepted {
					t.Errorf("when its holder is lost: %+v", got)
				}
			})
		})
	}
}

// TestAgeRaces: what changed between a look and the question for its age is looked at again.
func TestAgeRaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		job := p.acceptJob(t, jwksEvent(t, 1))
		claimed := p.record(t, job.ID)
		claimed.begin(time.Now(), "w1", 40*time.Second)
		p.put(t, claimed)
		p.steps = nil
		p.meanwhile(1, func() { // The question.
			claimed.requeue()
			p.put(t, claimed)
		})
		if v := run(t, p.runner(t, "w2"), Delivery{Job: job}); !v.Done || p.api.made() != 1 {
			t.Errorf("settlement %+v, %d calls", v, p.api.made())
		}
	})
}
