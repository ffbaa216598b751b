package jobs

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestNotFound: a target that is not there is a success on evidence only, for a mistyped
// id looks the same.
func TestNotFound(t *testing.T) {
	notFound := fails(Failure{Reason: ReasonNotFound, Answer: Answer{Status: 404}})
	reset := fails(Failure{Reason: ReasonUnavailable, MaybeEffective: true})
	tests := []struct {
		name       string
		answers    []func(context.Context, Job) (Answer, error)
		before     Outcome         // Of an earlier job on the target; "" when there is none.
		beside     func(r *Record) // What a job that was unfinished beside it comes to.
		want       Outcome
		wantDetail string // BEFORE and BESIDE stand for those jobs.
	}{
		{
			name: "first answer", answers: []func(context.Context, Job) (Answer, error){notFound},
			want: OutcomeRefused, wantDetail: "not_found: the API said no",
		},
		{
			name: "after an attempt that did nothing", answers: []func(context.Context, Job) (Answer, error){fails(Failure{Reason: ReasonUnavailable}), notFound},
			want: OutcomeRefused, wantDetail: "not_found: the API said no",
		},
		{
			name: "after an attempt that may have worked", answers: []func(context.Context, Job) (Answer, error){reset, notFound},
			want: OutcomeAlreadyGone, wantDetail: "not found, and an earlier attempt of this job may have taken effect",
		},
		{
			name:    "an answer that calls itself effective is no evidence",
			answers: []func(context.Context, Job) (Answer, error){fails(Failure{Reason: ReasonNotFound, MaybeEffective: true})},
			want:    OutcomeRefused, wantDetail: "not_found: the API said no",
		},
		{
			name:    "an answer that may not be the API's own proves nothing",
			answers: []func(context.Context, Job) (Answer, error){reset, fails(Failure{Reason: ReasonNotFound, Unproven: true})},
			want:    OutcomeRefused, wantDetail: "not_found: the API said no",
		},
		{
			name: "revoked by an earlier job", answers: []func(context.Context, Job) (Answer, error){notFound}, before: OutcomeRevoked,
			want: OutcomeAlreadyGone, wantDetail: "not found, and job BEFORE revoked it before",
		},
		{
			name: "an earlier job was refused", answers: []func(context.Context, Job) (Answer, error){notFound}, before: OutcomeRefused,
			want: OutcomeRefused, wantDetail: "not_found: the API said no",
		},
		{
			name: "an earlier job was exhausted", answers: []func(context.Context, Job) (Answer, error){notFound}, before: OutcomeExhausted,
			want: OutcomeRefused, wantDetail: "not_found: the API said no",
		},
		{
			name: "revoked by the job beside it", answers: []func(context.Context, Job) (Answer, error){notFound},
			beside: func(r *Record) { r.finish(time.Now(), 0, OutcomeRevoked, "", false) },
			want:   OutcomeAlreadyGone, wantDetail: "not found, and job BESIDE revoked it before",
		},
		{
			name: "the job beside it waits", answers: []func(context.Context, Job) (Answer, error){notFound},
			beside: func(r *Record) { r.wait(time.Now().Add(time.Hour)) },
			want:   OutcomeRefused, wantDetail: "not_found: the API said no",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(tt.answers...)
				names := strings.NewReplacer()
				if tt.before != "" {
					id := p.accept(t, jwksEvent(t, 1)).JobID
					p.end(t, id, tt.before)
					names = strings.NewReplacer("BEFORE", id)
				}
				var job Job
				if tt.beside != nil {
					id := p.accept(t, jwksEvent(t, 2)).JobID
					job = p.acceptJob(t, jwksEvent(t, 3, separately))
					r := p.record(t, id)
					tt.beside(&r)
					p.put(t, r)
					names = strings.NewReplacer("BESIDE", id)
				} else {
					job = p.acceptJob(t, jwksEvent(t, 3))
				}
				deliverUntilDone(t, p.runner(t, "w1"), job)
				r := p.record(t, job.ID)
				if want := names.Replace(tt.wantDetail); r.Outcome != tt.want || r.Detail != want {
					t.Errorf("outcome %s, detail %q; want %s, %q", r.Outcome, r.Detail, tt.want, want)
				}
				if last := r.Attempts[len(r.Attempts)-1]; last.Reason != ReasonNotFound || len(tt.answers) != r.AttemptCount {
					t.Errorf("%d attempts, the last one %+v", r.AttemptCount, last)
				}
			})
		})
	}
}

// TestNotFoundWhileTheOtherRuns: two jobs of their own on one target call at the same time.
// The one that comes second must not take the other's success for a mistyped id.
func TestNotFoundWhileTheOtherRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := false
		p := newPlant(func(ctx context.Context, j Job) (Answer, error) {
			if gone {
				return fails(Failure{Reason: ReasonNotFound})(ctx, j)
			}
			gone = true // The API has done it; its answer takes its time.
			return takes(5*time.Second, works)(ctx, j)
		})
		first := p.acceptJob(t, jwksEvent(t, 1))
		second := p.acceptJob(t, jwksEvent(t, 2, separately))
		finished := make(chan struct{})
		go func() {
			defer close(finished)
			deliverUntilDone(t, p.runner(t, "w1"), first)
		}()
		synctest.Wait()
		deliverUntilDone(t, p.runner(t, "w2"), second)
		<-finished
		if r := p.record(t, first.ID); r.Outcome != OutcomeRevoked || r.AttemptCount != 1 {
			t.Errorf("first job: %s after %d attempts", r.Outcome, r.AttemptCount)
		}
		r := p.record(t, second.ID)
		if r.Outcome != OutcomeAlreadyGone || r.Detail != "not found, and job "+first.ID+" revoked it before" {
			t.Errorf("second job: %s, %q", r.Outcome, r.Detail)
		}
		if want := "the API said no; job " + first.ID + " on the same target is running"; r.Attempts[0].Error != want {
			t.Errorf("its first attempt: %q", r.Attempts[0].Error)
		}
	})
}

// TestNotFoundWithoutLedger: when the evidence cannot be looked up, the attempt is
// recorded as what it was and made again. Left open it would become evidence itself, and
// a mistyped id would look like success.
func TestNotFoundWithoutLedger(t *testing.T) {
	for _, step := range []string{"targets.load", "ledger.load"} {
		t.Run(step, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(fails(Failure{Reason: ReasonNotFound}))
				p.accept(t, jwksEvent(t, 1))
				job := p.acceptJob(t, jwksEvent(t, 2, separately))
				failed := false
				p.failing = func(_ int, at string) faultKind {
					if at == step && p.api.made() == 1 && !failed {
						failed = true
						return lostRequest
					}
					return ""
				}
				deliverUntilDone(t, p.runner(t, "w1"), job)
				r := p.record(t, job.ID)
				if !failed || r.Outcome != OutcomeRefused || r.AttemptCount != 2 || r.AttemptsMaybeEffective != 0 {
					t.Errorf("fault %v, outcome %s, attempts %+v", failed, r.Outcome, r.Attempts)
				}
			})
		})
	}
}

// TestRepeatAfterLostAnswer: a JWKS revoke whose answer was lost is sent again, and the
// result says that it may have been done twice.
func TestRepeatAfterLostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(fails(Failure{Reason: ReasonUnavailable, MaybeEffective: true}), works)
		job := p.acceptJob(t, jwksEvent(t, 1))
		deliverUntilDone(t, p.runner(t, "w1"), job)
		if r := p.record(t, job.ID); r.Outcome != OutcomeRevoked || r.AttemptsMaybeEffective != 2 || r.AttemptsSpent != 2 {
			t.Errorf("outcome %s, %d maybe effective, %d spent", r.Outcome, r.AttemptsMaybeEffective, r.AttemptsSpent)
		}
	})
}
