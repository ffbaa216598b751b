package jobs

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestLeaseIsRenewed: a lease of 10 s more than the call's timeout is renewed each third
// of it while the call is in flight.
func TestLeaseIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(takes(49*time.Second, works))
		start := time.Now()
		job := p.acceptJob(t, jwksEvent(t, 1))
		r := p.runner(t, "w1", func(c *RunnerConfig) { c.CallTimeout = 50 * time.Second })
		done := deliverInBackground(t.Context(), r, Delivery{Job: job})
		for _, row := range []struct{ at, until time.Duration }{
			{at: 0, until: 60 * time.Second},
			{at: 19 * time.Second, until: 60 * time.Second},
			{at: 20 * time.Second, until: 80 * time.Second},
			{at: 39 * time.Second, until: 80 * time.Second},
			{at: 40 * time.Second, until: 100 * time.Second},
			{at: 48 * time.Second, until: 100 * time.Second},
		} {
			pass(row.at - time.Since(start))
			synctest.Wait()
			if got := p.record(t, job.ID).Claim; got.Worker != "w1" || got.Until.Sub(start) != row.until {
				t.Errorf("after %s the claim is %s's until %s, want %s", row.at, got.Worker, got.Until.Sub(start), row.until)
			}
		}
		if got := <-done; got.err != nil || !got.settlement.Done {
			t.Errorf("%+v", got)
		}
		if rec := p.record(t, job.ID); rec.Outcome != OutcomeRevoked || rec.Claim != (Claim{}) || rec.AttemptCount != 1 {
			t.Errorf("record %+v", rec)
		}
	})
}

// TestLeaseLost: a worker whose job another one has taken cuts its call off, or drops its
// answer, and settles nothing.
func TestLeaseLost(t *testing.T) {
	tests := []struct {
		name         string
		answer       func(context.Context, Job) (Answer, error)
		other        string        // The worker that takes the job.
		after        time.Duration // From the start to the settlement.
		wantAttempts int           // In the metrics: a call that was cut off came to nothing.
	}{
		{name: "noticed by the renewal", answer: takes(29*time.Second, works), other: "w2", after: 40 * time.Second / 3},
		{name: "noticed by the answer's record", answer: takes(5*time.Second, works), other: "w2", after: 5 * time.Second, wantAttempts: 1},
		{
			name: "noticed by a failure's record", answer: takes(5*time.Second, fails(Failure{Reason: ReasonForbidden})), other: "w2",
			after: 5 * time.Second, wantAttempts: 1,
		},
		{name: "to another message in the same worker", answer: takes(5*time.Second, works), other: "w1", after: 5 * time.Second, wantAttempts: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(tt.answer)
				start := time.Now()
				job := p.acceptJob(t, jwksEvent(t, 1))
				done := deliverInBackground(t.Context(), p.runner(t, "w1"), Delivery{Job: job})
				pass(time.Second)
				other := p.record(t, job.ID)
				other.begin(time.Now(), tt.other, 40*time.Second)
				p.put(t, other)
				got := <-done
				if got != (result{settlement: Settlement{Leave: true}}) || time.Since(start) != tt.after {
					t.Errorf("%+v after %s", got, time.Since(start))
				}
				if diff := cmp.Diff(other, p.record(t, job.ID), cmp.Comparer(time.Time.Equal)); diff != "" {
					t.Errorf("the other worker's record changed (-want +got):\n%s", diff)
				}
				if got := p.logs.FilterMessage("another worker has the job").Len(); got != 1 {
					t.Errorf("%d lines tell of it", got)
				}
				if len(p.announce) != 0 || p.logs.FilterMessage("job finished").Len() != 0 {
					t.Errorf("announced %+v", p.announce)
				}
				attempts := 0
				for _, reason := range Reasons() {
					attempts += p.recorder.Counts["attempt jwks.revoke "+string(reason)]
				}
				if attempts != tt.wantAttempts {
					t.Errorf("%d attempts in the metrics, want %d", attempts, tt.wantAttempts)
				}
			})
		})
	}
}

// TestCallTimeout: a call that takes too long is cut off, and its attempt says so once,
// whether the client's error names the cause or not.
func TestCallTimeout(t *testing.T) {
	cut := func(why func(context.Context) error) func(context.Context, Job) (Answer, error) {
		return func(ctx context.Context, _ Job) (Answer, error) {
			<-ctx.Done()
			return Answer{}, &Failure{Reason: ReasonUnavailable, MaybeEffective: true, Err: fmt.Errorf("calling: %w", why(ctx))}
		}
	}
	tests := []struct {
		name   string
		answer func(context.Context, Job) (Answer, error)
		want   string
	}{
		{
			name: "plain", answer: cut(func(ctx context.Context) error { return ctx.Err() }),
			want: "the attempt took longer than its timeout of 30s: calling: context deadline exceeded",
		},
		{name: "with cause", answer: cut(context.Cause), want: "calling: the attempt took longer than its timeout of 30s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(tt.answer)
				start := time.Now()
				job := p.acceptJob(t, jwksEvent(t, 1))
				if got, want := run(t, p.runner(t, "w1"), Delivery{Job: job}), (Settlement{Delay: time.Second}); got != want {
					t.Errorf("settlement %+v, want %+v", got, want)
				}
				r := p.record(t, job.ID)
				if a := r.Attempts[0]; a.Reason != ReasonUnavailable || a.Error != tt.want || !a.MaybeEffective || a.DurationMS != 30_000 {
					t.Errorf("attempt %+v", a)
				}
				if time.Since(start) != 30*time.Second || r.State != StateWaiting || r.AttemptsSpent != 1 {
					t.Errorf("after %s: %+v", time.Since(start), r)
				}
			})
		})
	}
}

// TestStopping: a call that the worker's stop cuts off spends no attempt, and the job goes
// back at once.
func TestStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(takes(20*time.Second, works), works)
		job := p.acceptJob(t, jwksEvent(t, 1))
		ctx, stop := context.WithCancelCause(t.Context())
		done := deliverInBackground(ctx, p.runner(t, "w1"), Delivery{Job: job})
		pass(5 * time.Second)
		stop(ErrStopping)
		if got := <-done; got != (result{}) {
			t.Errorf("%+v", got)
		}
		r := p.record(t, job.ID)
		if a := r.Attempts[0]; a.Reason != ReasonInterrupted || a.Error != ErrStopping.Error() || a.DurationMS != 5000 {
			t.Errorf("attempt %+v", a)
		}
		if r.State != StateQueued || r.AttemptsSpent != 0 || !r.RetryAt.IsZero() || r.Claim != (Claim{}) || len(p.announce) != 0 {
			t.Errorf("record %+v", r)
		}
		checkCount(t, p, "attempt jwks.revoke interrupted", 1)
		if got := run(t, p.runner(t, "w2"), Delivery{Job: job}); !got.Done {
			t.Errorf("the next worker: %+v", got)
		}
		if r := p.record(t, job.ID); r.AttemptsSpent != 1 || r.AttemptCount != 2 {
			t.Errorf("%d spent of %d attempts", r.AttemptsSpent, r.AttemptCount)
		}
	})
}

// TestStoppingWhileClaiming: a claim whose answer is lost while the worker stops is not
// left behind: it would hold the job up until its lease ends.
func TestStoppingWhileClaiming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancelCause(t.Context())
		p := newPlant(takes(time.Second, works))
		job := p.acceptJob(t, jwksEvent(t, 1))
		p.steps = nil
		p.failStep(1, lostAnswer)
		p.meanwhile(1, func() { stop(ErrStopping) })
		v, err := p.runner(t, "w1").Run(ctx, Delivery{Job: job})
		if r := p.record(t, job.ID); v != (Settlement{}) || err != nil || r.State != StateQueued || r.AttemptsSpent != 0 || r.Claim != (Claim{}) {
			t.Errorf("settlement %+v, error %v, record %+v", v, err, r)
		}
	})
}

// TestStoppingKeepsAnswers: what the API has answered counts although the worker stops.
func TestStoppingKeepsAnswers(t *testing.T) {
	tests := []struct {
		name   string
		answer func(context.Context, Job) (Answer, error)
		want   Outcome
	}{
		{name: "worked", answer: works, want: OutcomeRevoked},
		{name: "forbidden", answer: fails(Failure{Reason: ReasonForbidden}), want: OutcomeRefused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancelCause(t.Context())
				p := newPlant(func(_ context.Context, j Job) (Answer, error) {
					stop(ErrStopping)
					return tt.answer(ctx, j)
				})
				job := p.acceptJob(t, jwksEvent(t, 1))
				v, err := p.runner(t, "w1").Run(ctx, Delivery{Job: job})
				if r := p.record(t, job.ID); err != nil || !v.Done || r.Outcome != tt.want || len(p.results) != 1 {
					t.Errorf("settlement %+v, error %v, outcome %s", v, err, r.Outcome)
				}
			})
		})
	}
}

// TestJoinInFlight: events that join, and lift, a job during its call are on its record
// when it is done, beside what the call did.
func TestJoinInFlight(t *testing.T) {
	tests := []struct {
		name  string
		after []time.Duration // When events join, from the start of the call.
	}{
		{name: "before the first renewal", after: []time.Duration{time.Second}},
		{name: "around renewals", after: []time.Duration{10 * time.Second, 15 * time.Second, 25 * time.Second}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(takes(28*time.Second, works))
				start := time.Now()
				job := p.acceptJob(t, jwksEvent(t, 1, inLane(LaneBulk)))
				done := deliverInBackground(t.Context(), p.runner(t, "w1"), Delivery{Job: job})
				for i, after := range tt.after {
					pass(after - time.Since(start))
					if got := p.accept(t, jwksEvent(t, uint64(i)+2)); got.JobID != job.ID {
						t.Errorf("event came to %+v", got)
					}
				}
				if got := <-done; got.err != nil || !got.settlement.Done {
					t.Errorf("%+v", got)
				}
				r := p.record(t, job.ID)
				if r.EventCount != len(tt.after)+1 || len(r.Events) != r.EventCount || r.Lane != LaneUrgent {
					t.Errorf("%d events, lane %s", r.EventCount, r.Lane)
				}
				if r.Outcome != OutcomeRevoked || r.AttemptCount != 1 || r.Attempts[0].Reason != ReasonNone || p.api.made() != 1 {
					t.Errorf("outcome %s, attempts %+v", r.Outcome, r.Attempts)
				}
				if len(p.results) != 1 || p.results[0].EventCount != r.EventCount {
					t.Errorf("results %+v", p.results)
				}
			})
		})
	}
}
