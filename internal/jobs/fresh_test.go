package jobs

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// TestFreshJobsAreNotRead: the first delivery of a job that this worker has just made is run without a read of the ledger.
func TestFreshJobsAreNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		p.intake.Share(&p.fresh)
		job := p.acceptJob(t, jwksEvent(t, 1))
		before := len(p.steps)
		if v := run(t, p.runner(t, "w1"), Delivery{Job: job, Count: 1}); !v.Done || p.api.made() != 1 {
			t.Fatalf("settlement %+v, %d calls", v, p.api.made())
		}
		if steps := p.steps[before:]; slices.Contains(steps, "ledger.load") {
			t.Errorf("the steps are %v", steps)
		}
	})
}

// TestFreshJobsThatChanged: what others have done to a job since this worker made it is found before anything is called for it.
func TestFreshJobsThatChanged(t *testing.T) {
	tests := []struct {
		name      string
		change    func(t *testing.T, p *plant, job Job)
		wait      time.Duration // Until the bucket has a token.
		want      Outcome
		wantCalls int
	}{
		{"cancelled", func(t *testing.T, p *plant, job Job) {
			t.Helper()
			if _, err := p.operator(nil).Cancel(t.Context(), job.ID, Operation{Action: ActionCancel, By: "op"}); err != nil {
				t.Fatal(err)
			}
		}, 0, OutcomeCancelled, 0},
		{"cancelled, and there is no token", func(t *testing.T, p *plant, job Job) {
			t.Helper()
			if _, err := p.operator(nil).Cancel(t.Context(), job.ID, Operation{Action: ActionCancel, By: "op"}); err != nil {
				t.Fatal(err)
			}
		}, time.Minute, OutcomeCancelled, 0},
		{"given more time, of which the first is over", func(t *testing.T, p *plant, _ Job) {
			t.Helper()
			p.accept(t, jwksEvent(t, 2, func(e *Event) { e.Request.ExpiresAt = time.Now().Add(time.Hour) }))
			pass(2 * time.Minute)
		}, 0, OutcomeRevoked, 1},
		{"done by another worker", func(t *testing.T, p *plant, job Job) {
			t.Helper()
			kept, _ := p.fresh.take(t.Context(), job.ID)
			run(t, p.runner(t, "w2"), Delivery{Job: job, Count: 2})
			p.fresh.making(job.ID)(kept, nil)
		}, 0, OutcomeRevoked, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(works)
				p.intake.Share(&p.fresh)
				job := p.acceptJob(t, jwksEvent(t, 1, func(e *Event) { e.Request.ExpiresAt = time.Now().Add(time.Minute) }))
				tt.change(t, p, job)
				p.pacer.until = time.Now().Add(tt.wait)
				deliverUntilDone(t, p.runner(t, "w1"), job)
				if r := p.record(t, job.ID); r.Outcome != tt.want || p.api.made() != tt.wantCalls {
					t.Errorf("the job is %s after %d calls, want %s after %d", r.Outcome, p.api.made(), tt.want, tt.wantCalls)
				}
			})
		})
	}
}

// TestFreshIsBounded: the oldest records are forgotten first, and each is had once.
func TestFreshIsBounded(t *testing.T) {
	var f Fresh
	const all = 3 * mostFresh
	for n := range all {
		f.making(strconv.Itoa(n))(Entry{Revision: uint64(n)}, nil)
	}
	if len(f.entries) != mostFresh {
		t.Errorf("it keeps %d records", len(f.entries))
	}
	if _, ok := f.take(t.Context(), strconv.Itoa(all-mostFresh-1)); ok {
		t.Error("an old record is there")
	}
	if e, ok := f.take(t.Context(), strconv.Itoa(all-mostFresh)); !ok || e.Revision != all-mostFresh {
		t.Errorf("the oldest of those that are kept is %+v", e)
	}
	if _, ok := f.take(t.Context(), strconv.Itoa(all-mostFresh)); ok {
		t.Error("a record is had twice")
	}
}

// TestFreshIsWaitedFor: a job whose message comes before its record is written waits for that, or reads the ledger where it failed, or
// where the worker stops.
func TestFreshIsWaitedFor(t *testing.T) {
	for name, tt := range map[string]struct {
		err    error
		isOver bool
		want   bool
	}{
		"written": {want: true},
		"failed":  {err: ErrConflict},
		"stopped": {isOver: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var f Fresh
				made := f.making("job1")
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				took := make(chan bool, 1)
				go func() { _, ok := f.take(ctx, "job1"); took <- ok }()
				synctest.Wait()
				if len(took) > 0 {
					t.Fatal("it does not wait")
				}
				if tt.isOver {
					stop()
					synctest.Wait()
				}
				made(Entry{}, tt.err)
				if got := <-took; got != tt.want {
					t.Errorf("there is a record: %t", got)
				}
			})
		})
	}
}
