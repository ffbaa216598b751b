package jobs

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/kinds"
)

// originals are the events that a stream keeps, by their sequence.
type originals map[uint64]Params

func (o originals) Params(_ context.Context, rec *Record) (Params, error) {
	p, ok := o[rec.Events[0].Seq]
	if !ok {
		return Params{}, ErrNotFound
	}
	return p, nil
}

func (p *plant) operator(o originals) *Operator {
	return NewOperator(memoryLedger{p.memory}, memoryTargets{p.memory}, p.memory, o, time.Now)
}

func tokenEvent(t *testing.T, seq uint64) Event {
	return jwksEvent(t, seq, func(e *Event) {
		e.Request.Kind = kinds.TokenRevoke
		e.Request.Params = mustParams(t, kinds.TokenRevoke, map[string]any{"token": canary})
	})
}

func operation(action Action) Operation {
	return Operation{At: time.Now().UTC(), Action: action, By: "ada", Reason: "because"}
}

// TestRetry: what has ended without success begins anew; what has succeeded is left alone.
func TestRetry(t *testing.T) {
	tests := []struct {
		name    string
		outcome Outcome
		wantErr error
	}{
		{name: "refused", outcome: OutcomeRefused},
		{name: "exhausted", outcome: OutcomeExhausted},
		{name: "cancelled", outcome: OutcomeCancelled},
		{name: "revoked", outcome: OutcomeRevoked, wantErr: ErrSucceeded},
		{name: "already gone", outcome: OutcomeAlreadyGone, wantErr: ErrSucceeded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(works)
				job := p.acceptJob(t, jwksEvent(t, 1))
				p.end(t, job.ID, tt.outcome)
				op := operation(ActionRetry)
				_, err := p.operator(nil).Retry(t.Context(), job.ID, op)
				if !errors.Is(err, tt.wantErr) {
					t.Fatalf("error %v, want %v", err, tt.wantErr)
				}
				rec := p.record(t, job.ID)
				if tt.wantErr != nil {
					if rec.Outcome != tt.outcome || rec.Round != 0 {
						t.Errorf("the record was touched: %+v", rec)
					}
					return
				}
				if rec.State != StateQueued || rec.Outcome != "" || rec.Round != 1 || rec.AttemptsSpent != 0 {
					t.Errorf("not reopened: %+v", rec)
				}
				if diff := cmp.Diff([]Operation{op}, rec.Operations); diff != "" {
					t.Error(diff)
				}
				job.Round = 1
				deliverUntilDone(t, p.runner(t, "w1"), job)
				if rec := p.record(t, job.ID); rec.Outcome != OutcomeRevoked {
					t.Errorf("after the retry: %s %s", rec.State, rec.Outcome)
				}
			})
		})
	}
}

// TestDrop: the dead letter of how a job has ended is dealt with until the job is retried; that of an earlier end says nothing of the latest.
func TestDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		job := p.acceptJob(t, jwksEvent(t, 1))
		drop := func(written time.Time, want bool) {
			t.Helper()
			if err := p.operator(nil).Drop(t.Context(), job.ID, written, operation(ActionDrop)); err != nil {
				t.Fatal(err)
			}
			if rec := p.record(t, job.ID); rec.DroppedAt.IsZero() == want || rec.Operations[len(rec.Operations)-1].Action != ActionDrop {
				t.Errorf("dropped at %s, want that it is: %v; %+v", rec.DroppedAt, want, rec.Operations)
			}
		}
		p.end(t, job.ID, OutcomeRefused)
		first := time.Now().Add(-time.Second)
		drop(first, true)
		if _, err := p.operator(nil).Retry(t.Context(), job.ID, operation(ActionRetry)); err != nil {
			t.Fatal(err)
		}
		if rec := p.record(t, job.ID); !rec.DroppedAt.IsZero() {
			t.Errorf("after a retry it is dropped at %s", rec.DroppedAt)
		}
		drop(first, false) // The job has not ended.
		p.end(t, job.ID, OutcomeRefused)
		drop(first, false)
		drop(time.Now(), true)
	})
}

// TestRetryAge: the age of a reopened job counts from the operation, or it would end at once.
func TestRetryAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		job := p.acceptJob(t, jwksEvent(t, 1))
		p.end(t, job.ID, OutcomeExhausted)
		pass(100 * 24 * time.Hour)
		if _, err := p.operator(nil).Retry(t.Context(), job.ID, operation(ActionRetry)); err != nil {
			t.Fatal(err)
		}
		job.Round = 1
		deliverUntilDone(t, p.runner(t, "w1"), job)
		if rec := p.record(t, job.ID); rec.Outcome != OutcomeRevoked {
			t.Errorf("outcome %s: %s", rec.Outcome, rec.Detail)
		}
	})
}

// TestRetryToken: the secret is only in the original event.
func TestRetryToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		event := tokenEvent(t, 1)
		job := p.acceptJob(t, event)
		p.end(t, job.ID, OutcomeRefused)
		if _, err := p.operator(originals{}).Retry(t.Context(), job.ID, operation(ActionRetry)); err == nil {
			t.Fatal("retried without the token")
		}
		if rec := p.record(t, job.ID); rec.Outcome != OutcomeRefused {
			t.Errorf("the record was touched: %+v", rec)
		}
		kept := originals{event.Seq: event.Request.Params}
		if _, err := p.operator(kept).Retry(t.Context(), job.ID, operation(ActionRetry)); err != nil {
			t.Fatal(err)
		}
		queued := p.queued(job.ID)
		if last := queued[len(queued)-1]; last.Round != 1 || last.Params.Secret("token").Reveal() != event.Request.Params.Secret("token").Reveal() {
			t.Errorf("queued %+v", last)
		}
	})
}

// TestRetryWhileAnotherWorks: two jobs on one target would make two calls.
func TestRetryWhileAnotherWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		first := p.acceptJob(t, jwksEvent(t, 1))
		p.end(t, first.ID, OutcomeRefused)
		p.acceptJob(t, jwksEvent(t, 2))
		if _, err := p.operator(nil).Retry(t.Context(), first.ID, operation(ActionRetry)); err == nil {
			t.Error("retried beside an unfinished job")
		}
	})
}

// TestRetryAheadOfRecord: a message that comes before the operator's record is put back,
// and forgotten when the record never comes.
func TestRetryAheadOfRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		job := p.acceptJob(t, jwksEvent(t, 1))
		p.end(t, job.ID, OutcomeRefused)
		job.Round = 1
		begun := time.Now()
		for count := uint64(1); ; count++ {
			v := run(t, p.runner(t, "w1"), Delivery{Job: job, Count: count})
			if v.Done {
				break
			}
			if v.Delay != 100*time.Millisecond {
				t.Fatalf("got %+v, want it back soon", v)
			}
			pass(v.Delay)
		}
		if took := time.Since(begun); took != creationTimeout {
			t.Errorf("it was forgotten after %s, want %s", took, creationTimeout)
		}
	})
}

// TestCancel: a queued or waiting job ends before its next attempt, without a call.
func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(fails(Failure{Reason: ReasonUnavailable}), works)
		job := p.acceptJob(t, jwksEvent(t, 1))
		if _, err := p.runner(t, "w1").Run(t.Context(), Delivery{Job: job}); err != nil {
			t.Fatal(err)
		}
		if _, err := p.operator(nil).Cancel(t.Context(), job.ID, operation(ActionCancel)); err != nil {
			t.Fatal(err)
		}
		wake := job
		wake.Wake, wake.Params = true, Params{}
		v, err := p.runner(t, "w2").Run(t.Context(), Delivery{Job: wake})
		if err != nil || !v.Done {
			t.Fatalf("got %+v, %v", v, err)
		}
		rec := p.record(t, job.ID)
		if rec.Outcome != OutcomeCancelled || rec.Detail != "cancelled by ada: because" || rec.AttemptCount != 1 {
			t.Errorf("got %s, %q after %d attempts", rec.Outcome, rec.Detail, rec.AttemptCount)
		}
		if _, err := p.operator(nil).Cancel(t.Context(), job.ID, operation(ActionCancel)); !errors.Is(err, ErrEnded) {
			t.Errorf("a second time: %v", err)
		}
	})
}

// TestRepeatedOperation: what changes nothing is not recorded again, and its message is queued once more, which may have been lost.
func TestRepeatedOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		job := p.acceptJob(t, jwksEvent(t, 1))
		op := p.operator(nil)
		repeat := func(do func(context.Context, string, Operation) (Record, error), action Action, recorded int) {
			t.Helper()
			queued := len(p.memory.queue)
			if rec, err := do(t.Context(), job.ID, operation(action)); !errors.Is(err, ErrAsked) || rec.JobID != job.ID {
				t.Errorf("%s: %v, %+v", action, err, rec)
			}
			if rec := p.record(t, job.ID); len(rec.Operations) != recorded || rec.Round != 0 || len(p.memory.queue) != queued+1 {
				t.Errorf("%s: round %d, %d messages, %+v", action, rec.Round, len(p.memory.queue)-queued, rec.Operations)
			}
		}
		repeat(op.Retry, ActionRetry, 0)
		if _, err := op.Cancel(t.Context(), job.ID, operation(ActionCancel)); err != nil {
			t.Fatal(err)
		}
		repeat(op.Cancel, ActionCancel, 1)
		if rec, err := op.Retry(t.Context(), job.ID, operation(ActionRetry)); err != nil || rec.CancelAsked || rec.Round != 1 {
			t.Errorf("a retry takes a cancellation back: %v, %+v", err, rec)
		}
	})
}

// TestCancelWhileRunning: the call is not cut off. When it fails the job ends as
// cancelled, when it succeeds the success counts.
func TestCancelWhileRunning(t *testing.T) {
	for _, tt := range []struct {
		name   string
		err    error
		want   Outcome
		detail string
	}{
		{name: "fails", err: &Failure{Reason: ReasonUnavailable, Err: errors.New("no")}, want: OutcomeCancelled, detail: "cancelled by ada: because"},
		{name: "succeeds", want: OutcomeRevoked, detail: "the cancellation by ada came too late"},
		{name: "is refused", err: &Failure{Reason: ReasonForbidden, Err: errors.New("no")}, want: OutcomeRefused, detail: "forbidden: no; the cancellation by ada came too late"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var p *plant
				p = newPlant(func(ctx context.Context, j Job) (Answer, error) {
					if _, err := p.operator(nil).Cancel(ctx, j.ID, operation(ActionCancel)); err != nil {
						t.Error(err)
					}
					return Answer{Status: 204}, tt.err
				})
				job := p.acceptJob(t, jwksEvent(t, 1))
				v, err := p.runner(t, "w1").Run(t.Context(), Delivery{Job: job})
				if err != nil || !v.Done {
					t.Fatalf("got %+v, %v", v, err)
				}
				rec := p.record(t, job.ID)
				if rec.Outcome != tt.want || rec.Detail != tt.detail {
					t.Errorf("outcome %s, want %s; detail %q, want %q", rec.Outcome, tt.want, rec.Detail, tt.detail)
				}
			})
		})
	}
}

// TestWake: a message that only wakes makes no call and no record.
func TestWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		job := p.acceptJob(t, jwksEvent(t, 1))
		job.Wake, job.Params = true, Params{}
		if v, err := p.runner(t, "w1").Run(t.Context(), Delivery{Job: job}); err != nil || !v.Done {
			t.Errorf("got %+v, %v", v, err)
		}
		if rec := p.record(t, job.ID); rec.AttemptCount != 0 || rec.State != StateQueued {
			t.Errorf("the job was touched: %+v", rec)
		}
	})
}

// TestStopWatch: an operator ends the watch of a dead target, which is recorded; before there is a verdict, and where nothing is
// watched, there is nothing to end.
func TestStopWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		job := p.acceptJob(t, jwksEvent(t, 1))
		deliverUntilDone(t, p.runner(t, "w1", proving), job)
		stop := func() (Record, error) {
			return p.operator(nil).StopWatch(t.Context(), job.ID, Operation{Action: ActionStop, By: "ops", Reason: "planned"})
		}
		if _, err := stop(); !errors.Is(err, ErrPending) {
			t.Errorf("of a proof that is pending: %v", err)
		}
		verified := p.record(t, job.ID)
		verified.Conclude(time.Now(), VerdictVerified, time.Now().Add(time.Hour))
		p.put(t, verified)
		rec, err := stop()
		if n := len(rec.Operations); err != nil || n != 1 || rec.Operations[0].Action != ActionStop || rec.Operations[0].Reason != "planned" {
			t.Errorf("%+v, %v", rec.Operations, err)
		}
		if r := p.record(t, job.ID); r.Watched() || r.Verdict() != VerdictVerified || r.Proving != nil {
			t.Errorf("the proof is %+v", r.Proof)
		}
		if _, err := stop(); !errors.Is(err, ErrNotWatched) {
			t.Errorf("once more: %v", err)
		}
	})
}
