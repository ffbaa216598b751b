package jobs

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// drain hands every message of the queue over until it is done with, those that come
// meanwhile included.
func (p *plant) drain(t *testing.T, r *Runner, from int) (to int) {
	t.Helper()
	for ; from < len(p.queue); from++ {
		job := p.queue[from]
		job.Message = uint64(from + 1)
		for count := uint64(1); ; count++ {
			v, err := r.Run(t.Context(), Delivery{Job: job, Count: count})
			if err == nil && v.Done {
				break
			}
			if count > 1000 {
				t.Fatalf("message %d is not done with after %d deliveries", from+1, count)
			}
			pass(max(v.Delay, time.Millisecond))
		}
	}
	return from
}

// TestRetrySurvives cuts a retry off before and after each of its steps. The workers deal
// with what it left in the queue before or after the operator repeats it: the job runs once
// and has one result, and no message stays.
func TestRetrySurvives(t *testing.T) {
	for n := range 5 {
		for _, kind := range faultKinds() {
			for _, between := range []bool{false, true} {
				t.Run(fmt.Sprintf("step %d %s, worked between: %v", n, kind, between), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						p := newPlant(works)
						job := p.acceptJob(t, jwksEvent(t, 1))
						p.end(t, job.ID, OutcomeRefused)
						w1, from := p.runner(t, "w1"), len(p.queue)
						p.steps = nil
						p.failStep(n, kind)
						if _, err := p.operator(nil).Retry(t.Context(), job.ID, operation(ActionRetry)); (err == nil) != (n == 4) {
							t.Fatalf("a retry has 4 steps; cut off at step %d its error is %v", n, err)
						}
						p.failing = nil
						if between {
							from = p.drain(t, w1, from)
						}
						_, err := p.operator(nil).Retry(t.Context(), job.ID, operation(ActionRetry))
						if err != nil && !errors.Is(err, ErrSucceeded) && !errors.Is(err, ErrAsked) {
							t.Fatalf("repeating it: %v", err)
						}
						p.drain(t, w1, from)
						if rec := p.record(t, job.ID); rec.Outcome != OutcomeRevoked || p.api.made() != 1 || len(p.results) != 1 {
							t.Errorf("%s %s, %d calls, %d results", rec.State, rec.Outcome, p.api.made(), len(p.results))
						}
					})
				})
			}
		}
	}
}

// TestRetryThatTookTooLong: a message that was forgotten because the operator's record came
// too late is queued again.
func TestRetryThatTookTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		job := p.acceptJob(t, jwksEvent(t, 1))
		p.end(t, job.ID, OutcomeRefused)
		w1, from := p.runner(t, "w1"), len(p.queue)
		p.steps = nil
		p.meanwhile(3, func() { from = p.drain(t, w1, from) }) // The record.
		if _, err := p.operator(nil).Retry(t.Context(), job.ID, operation(ActionRetry)); err != nil {
			t.Fatal(err)
		}
		p.drain(t, w1, from)
		if rec := p.record(t, job.ID); rec.Outcome != OutcomeRevoked || p.api.made() != 1 || len(p.results) != 1 {
			t.Errorf("%s %s, %d calls, %d results", rec.State, rec.Outcome, p.api.made(), len(p.results))
		}
	})
}

// TestRetryMeetsALostWorker: a job whose worker was lost is running until its lease ends, by
// the ledger's clock, and may be retried afterwards.
func TestRetryMeetsALostWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		job := p.acceptJob(t, jwksEvent(t, 1))
		lost := p.record(t, job.ID)
		lost.begin(time.Now().Add(-time.Hour), "w1", 40*time.Second)
		p.put(t, lost)
		if _, err := p.operator(nil).Retry(t.Context(), job.ID, operation(ActionRetry)); !errors.Is(err, ErrRunning) {
			t.Errorf("while it may be running: %v", err)
		}
		pass(40 * time.Second)
		if _, err := p.operator(nil).Retry(t.Context(), job.ID, operation(ActionRetry)); err != nil {
			t.Errorf("when its worker is lost: %v", err)
		}
	})
}

// TestRetryBesideAnother: a job that holds its target is not retried either while one beside
// it is at work.
func TestRetryBesideAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		p.acceptJob(t, jwksEvent(t, 1))
		second := p.acceptJob(t, jwksEvent(t, 2, separately))
		p.end(t, second.ID, OutcomeRefused)
		if _, err := p.operator(nil).Retry(t.Context(), second.ID, operation(ActionRetry)); err == nil {
			t.Error("retried beside an unfinished job")
		}
	})
}

// TestCancelSurvives cuts a cancellation off before and after each of its steps: once it is
// recorded the job ends without another attempt, whether a worker is woken or not.
func TestCancelSurvives(t *testing.T) {
	for n := range 3 {
		for _, kind := range faultKinds() {
			t.Run(fmt.Sprintf("step %d %s", n, kind), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := newPlant(works)
					job := p.acceptJob(t, jwksEvent(t, 1))
					p.steps = nil
					p.failStep(n, kind)
					if _, err := p.operator(nil).Cancel(t.Context(), job.ID, operation(ActionCancel)); err == nil {
						t.Fatal("the fault was not noticed")
					}
					p.failing = nil
					want := OutcomeRevoked
					if p.record(t, job.ID).CancelAsked {
						want = OutcomeCancelled
					}
					p.drain(t, p.runner(t, "w1"), 0)
					if rec := p.record(t, job.ID); rec.Outcome != want || len(p.results) != 1 || n > 0 && kind == lostAnswer && want != OutcomeCancelled {
						t.Errorf("outcome %s, want %s; %d results", rec.Outcome, want, len(p.results))
					}
				})
			})
		}
	}
}
