package jobs

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// deliverInBackground hands a job to a runner once and returns what came of it.
func deliverInBackground(ctx context.Context, r *Runner, d Delivery) <-chan result {
	out := make(chan result, 1)
	go func() {
		v, err := r.Run(ctx, d)
		out <- result{v, err}
	}()
	synctest.Wait()
	return out
}

// result is what a run came to.
type result struct {
	settlement Settlement
	err        error
}

// TestClaimedElsewhere: a job that another worker has is put back, and looked at now and then.
func TestClaimedElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(takes(20*time.Second, works))
		job := p.acceptJob(t, jwksEvent(t, 1))
		first := deliverInBackground(t.Context(), p.runner(t, "w1"), Delivery{Job: job})
		pass(5 * time.Second)
		if got, want := run(t, p.runner(t, "w2"), Delivery{Job: job}), (Settlement{Delay: claimPoll}); got != want {
			t.Errorf("another worker: %+v, want %+v", got, want)
		}
		if got := run(t, p.runner(t, "w1"), Delivery{Job: job}); got.Done || got.Delay != claimPoll {
			t.Errorf("another message in the same worker: %+v", got)
		}
		if got := <-first; got.err != nil || !got.settlement.Done || p.api.made() != 1 {
			t.Errorf("the first worker: %+v, %d calls", got, p.api.made())
		}
	})
}

// TestClaimRace lets many workers, and one of them twice, take the same job at once.
func TestClaimRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(takes(time.Second, works))
		job := p.acceptJob(t, jwksEvent(t, 1))
		var all sync.WaitGroup
		for _, worker := range []string{"w1", "w1", "w2", "w3", "w4", "w5", "w6", "w7"} {
			r := p.runner(t, worker)
			all.Go(func() { deliverUntilDone(t, r, job) })
		}
		all.Wait()
		if p.api.made() != 1 || len(p.results) != 1 || p.record(t, job.ID).AttemptCount != 1 {
			t.Errorf("%d calls, %d results", p.api.made(), len(p.results))
		}
		checkCount(t, p, "finished jwks.revoke revoked", 1)
	})
}

// TestClaimRaceInOneWorker: a job has two messages when it was lifted into another lane,
// and both may come to the same worker in the same instant.
func TestClaimRaceInOneWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(takes(time.Second, works))
		job := p.acceptJob(t, jwksEvent(t, 1))
		r := p.runner(t, "w1")
		p.steps = nil
		var other <-chan result
		p.meanwhile(1, func() { other = deliverInBackground(t.Context(), r, Delivery{Job: job}) })
		if got, want := run(t, r, Delivery{Job: job}), (Settlement{Delay: claimPoll}); got != want {
			t.Errorf("settlement %+v, want %+v", got, want)
		}
		if got := <-other; got.err != nil || !got.settlement.Done || p.api.made() != 1 {
			t.Errorf("the other message: %+v, %d calls", got, p.api.made())
		}
	})
}

// TestLostWorker: the attempt of a worker that never came back is closed, and the job goes
// on when its lease is over.
func TestLostWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		start := time.Now().UTC()
		job := p.acceptJob(t, jwksEvent(t, 1))
		lost := p.record(t, job.ID)
		lost.begin(start, "w1", 40*time.Second)
		p.put(t, lost)
		pass(10 * time.Second)
		if n := deliverUntilDone(t, p.runner(t, "w2"), job); n != int(30*time.Second/claimPoll)+1 {
			t.Errorf("%d deliveries", n)
		}
		r := p.record(t, job.ID)
		want := []Attempt{
			{
				Attempt: 1, Worker: "w1", StartedAt: start, FinishedAt: start.Add(40 * time.Second), Reason: ReasonInterrupted, MaybeEffective: true,
				Error: "the worker was lost during the call; whether it took effect is not known",
			},
			{
				Attempt: 2, Worker: "w2", StartedAt: start.Add(40 * time.Second), FinishedAt: start.Add(40 * time.Second), Status: 204,
				RequestID: "req-1", Reason: ReasonNone, MaybeEffective: true,
			},
		}
		if diff := cmp.Diff(want, r.Attempts); diff != "" {
			t.Errorf("attempts (-want +got):\n%s", diff)
		}
		if r.AttemptsMaybeEffective != 2 || r.AttemptsSpent != 1 || r.AttemptCount != 2 {
			t.Errorf("%d maybe effective, %d spent, %d attempts", r.AttemptsMaybeEffective, r.AttemptsSpent, r.AttemptCount)
		}
		checkCount(t, p, "first attempt urgent", 0) // The lost worker had it.
		if lines := p.logs.FilterMessage("attempt failed").All(); len(lines) != 1 || lines[0].ContextMap()["reason"] != "interrupted" {
			t.Errorf("the log says %+v, want the attempt of the lost worker", lines)
		}
	})
}

// TestGoneWorker: where it is certain that the holder of a claim lives no more, its lease is not waited for. All else is as
// with a lost worker; another process of the same name is not the holder, and loses nothing.
func TestGoneWorker(t *testing.T) {
	for name, release := range map[string]bool{"seen by the runner": false, "released": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(works)
				gone := func(c Claim) bool { return c.Instance == "killed" }
				for seq, instance := range []string{"killed", "alive"} {
					job := p.acceptJob(t, jwksEvent(t, uint64(seq+1), func(e *Event) { e.Request.Separate = true }))
					claimed := p.record(t, job.ID)
					claimed.begin(time.Now(), "w1", 40*time.Second)
					claimed.Claim.Instance = instance
					p.put(t, claimed)
					r := p.runner(t, "w1", func(c *RunnerConfig) { c.Instance, c.Gone = "new", gone })
					if release {
						r = p.runner(t, "w2")
						if released, err := p.operator(nil).Release(t.Context(), job.ID, gone); err != nil || released != (instance == "killed") {
							t.Fatalf("released %v, %v", released, err)
						}
					}
					v, rec := run(t, r, Delivery{Job: job}), p.record(t, job.ID)
					if instance == "alive" {
						if v != (Settlement{Delay: claimPoll}) || rec.State != StateRunning || rec.Claim.Instance != "alive" {
							t.Errorf("a living worker's job: settlement %+v, record %+v", v, rec)
						}
						continue
					}
					if !v.Done || rec.Outcome != OutcomeRevoked || rec.Attempts[0].Reason != ReasonInterrupted || rec.AttemptsMaybeEffective != 2 {
						t.Errorf("settlement %+v, record %+v", v, rec)
					}
				}
			})
		})
	}
}

// TestNamesake: of two processes with one name, the one that was taken for gone and comes back records nothing.
func TestNamesake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(takes(time.Minute, works), works)
		job := p.acceptJob(t, jwksEvent(t, 1))
		paused := deliverInBackground(t.Context(), p.runner(t, "w1", func(c *RunnerConfig) { c.Instance, c.CallTimeout = "paused", time.Hour }), Delivery{Job: job})
		pass(time.Second)
		if released, err := p.operator(nil).Release(t.Context(), job.ID, func(Claim) bool { return true }); err != nil || !released {
			t.Fatal(released, err)
		}
		if v := run(t, p.runner(t, "w1", func(c *RunnerConfig) { c.Instance = "new" }), Delivery{Job: job}); !v.Done {
			t.Errorf("settlement %+v", v)
		}
		if got := <-paused; got.err != nil || got.settlement != (Settlement{Leave: true}) {
			t.Errorf("the one that was paused: %+v", got)
		}
		if r := p.record(t, job.ID); r.Outcome != OutcomeRevoked || len(p.announce) != 1 {
			t.Errorf("record %+v, %d announcements", r, len(p.announce))
		}
	})
}

// TestRequeue: a job whose message was lost is queued unchanged, with its parameters, and one that is done is not.
func TestRequeue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		job := p.acceptJob(t, jwksEvent(t, 1))
		if err := p.operator(nil).Requeue(t.Context(), job.ID); err != nil {
			t.Fatal(err)
		}
		again := p.queued(job.ID)
		if len(again) != 2 || again[1].Params.Get("federation_id") != idA || again[1].Round != 0 {
			t.Fatalf("queued %+v", again)
		}
		run(t, p.runner(t, "w1"), Delivery{Job: again[1]})
		if err := p.operator(nil).Requeue(t.Context(), job.ID); err != nil || len(p.queued(job.ID)) != 2 {
			t.Errorf("a job that is done is queued again (%v)", err)
		}
	})
}

// TestRequeueWithoutItsEvent: a job that was begun by its event, whose stream was lost with it and its worker, is queued from the ledger. It
// goes on when the lease is over.
func TestRequeueWithoutItsEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		job := newJob(jwksEvent(t, 1), "security")
		lost := NewRecord(job)
		lost.ByEvent = true
		lost.begin(time.Now(), "w1", 40*time.Second)
		p.put(t, lost)
		if err := p.operator(nil).Requeue(t.Context(), job.ID); err != nil || len(p.queued(job.ID)) != 1 {
			t.Fatalf("queued %+v (%v)", p.queue, err)
		}
		deliverUntilDone(t, p.runner(t, "w2"), p.queued(job.ID)[0])
		r := p.record(t, job.ID)
		if r.Outcome != OutcomeRevoked || r.AttemptsMaybeEffective != 2 || r.Attempts[0].Reason != ReasonInterrupted || p.api.made() != 1 {
			t.Errorf("record %+v", r)
		}
	})
}

// TestLostWorkerTooLate: a job that is too old when its worker is lost says so, and that
// its attempt may have worked.
func TestLostWorkerTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		job := p.acceptJob(t, jwksEvent(t, 1, func(e *Event) { e.Request.ExpiresAt = time.Now().Add(30 * time.Second) }))
		lost := p.record(t, job.ID)
		lost.begin(time.Now(), "w1", 40*time.Second)
		p.put(t, lost)
		deliverUntilDone(t, p.runner(t, "w2"), job)
		r := p.record(t, job.ID)
		if r.Outcome != OutcomeExhausted || r.AttemptsMaybeEffective != 1 || r.Attempts[0].Reason != ReasonInterrupted || p.api.made() != 0 {
			t.Errorf("record %+v", r)
		}
	})
}

// TestLostWorkerIsLogged: whatever becomes of a job whose worker was lost, its record says that the
// attempt may have worked, and not that it is under way.
func TestLostWorkerIsLogged(t *testing.T) {
	for _, tt := range []struct {
		name        string
		cancelled   bool
		turn, pause time.Duration // From the end of the lease on.
		wantState   State
		wantOutcome Outcome
	}{
		{name: "it waits for its turn", turn: time.Minute, wantState: StateWaiting},
		{name: "the API is paused for too long", pause: 2 * time.Hour, wantState: StateDone, wantOutcome: OutcomeExhausted},
		{name: "it was cancelled", cancelled: true, wantState: StateDone, wantOutcome: OutcomeCancelled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(works)
				job := p.acceptJob(t, jwksEvent(t, 1, func(e *Event) { e.Request.ExpiresAt = time.Now().Add(time.Hour) }))
				lost := p.record(t, job.ID)
				lost.begin(time.Now(), "w1", 40*time.Second)
				lost.CancelAsked = tt.cancelled
				p.put(t, lost)
				pass(40 * time.Second)
				p.pacer.estimate, p.pacer.until = tt.turn > 0, time.Now().Add(tt.turn+tt.pause)
				run(t, p.runner(t, "w2"), Delivery{Job: job})
				r := p.record(t, job.ID)
				if r.State != tt.wantState || r.Outcome != tt.wantOutcome || p.api.made() != 0 {
					t.Errorf("it is %s, %q, after %d calls", r.State, r.Outcome, p.api.made())
				}
				if r.Attempts[0].Reason != ReasonInterrupted || r.AttemptsMaybeEffective != 1 || r.Claim != (Claim{}) {
					t.Errorf("attempt %+v, %d maybe effective, claim %+v", r.Attempts[0], r.AttemptsMaybeEffective, r.Claim)
				}
			})
		})
	}
}

// TestLostWorkerGone: a delete that finds nothing after a lost attempt is a success.
func TestLostWorkerGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(fails(Failure{Reason: ReasonNotFound}))
		job := p.acceptJob(t, jwksEvent(t, 1))
		lost := p.record(t, job.ID)
		lost.begin(time.Now(), "w1", 40*time.Second)
		p.put(t, lost)
		deliverUntilDone(t, p.runner(t, "w2"), job)
		if r := p.record(t, job.ID); r.Outcome != OutcomeAlreadyGone || r.AttemptsMaybeEffective != 1 {
			t.Errorf("outcome %s, %d maybe effective", r.Outcome, r.AttemptsMaybeEffective)
		}
	})
}
