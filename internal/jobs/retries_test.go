package jobs

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// callTimes are the moments of the calls, counted from start.
func (a *api) callTimes(start time.Time) []time.Duration {
	var times []time.Duration
	for _, at := range a.calls {
		times = append(times, at.Sub(start))
	}
	return times
}

// TestRunRetries writes out when a job that fails is attempted, and when it is given up.
func TestRunRetries(t *testing.T) {
	const s, m, h = time.Second, time.Minute, time.Hour
	unavailable := fails(Failure{Reason: ReasonUnavailable})
	tests := []struct {
		name        string
		answers     []func(context.Context, Job) (Answer, error)
		change      func(*RetryPolicy)
		expires     time.Duration
		want        []time.Duration // The calls.
		wantEnd     time.Duration
		wantOutcome Outcome
		wantDetail  string
		wantSpent   int
	}{
		{
			name: "all attempts", answers: []func(context.Context, Job) (Answer, error){unavailable},
			want: []time.Duration{
				0, 1 * s, 3 * s, 7 * s, 15 * s, 31 * s, 63 * s, 127 * s, 255 * s, 511 * s, 811 * s, 1111 * s,
			},
			wantEnd: 1111 * s, wantOutcome: OutcomeExhausted, wantSpent: 12,
			wantDetail: "all 12 attempts are spent; the last one: unavailable: the API said no",
		},
		{
			name: "one attempt", answers: []func(context.Context, Job) (Answer, error){unavailable}, change: func(p *RetryPolicy) { p.MaxAttempts = 1 },
			want: []time.Duration{0}, wantOutcome: OutcomeExhausted, wantSpent: 1,
			wantDetail: "all 1 attempts are spent; the last one: unavailable: the API said no",
		},
		{
			name: "works at last", answers: []func(context.Context, Job) (Answer, error){unavailable, unavailable, works},
			want: []time.Duration{0, 1 * s, 3 * s}, wantEnd: 3 * s, wantOutcome: OutcomeRevoked, wantSpent: 3,
		},
		{
			name:    "free attempts are not counted, and end with the age",
			answers: []func(context.Context, Job) (Answer, error){fails(Failure{Reason: ReasonRateLimited})},
			change:  func(p *RetryPolicy) { p.MaxAttempts, p.Cap, p.MaxAge = 2, 8*s, 1*m },
			want:    []time.Duration{0, 1 * s, 3 * s, 7 * s, 15 * s, 23 * s, 31 * s, 39 * s, 47 * s, 55 * s},
			wantEnd: 55 * s, wantOutcome: OutcomeExhausted, wantSpent: 0,
			wantDetail: "the job would be older than 1m0s; the last attempt: rate_limited: the API said no",
		},
		{
			name: "the age", answers: []func(context.Context, Job) (Answer, error){unavailable}, change: func(p *RetryPolicy) { p.MaxAge = 10 * s },
			want: []time.Duration{0, 1 * s, 3 * s, 7 * s}, wantEnd: 7 * s, wantOutcome: OutcomeExhausted, wantSpent: 4,
			wantDetail: "the job would be older than 10s; the last attempt: unavailable: the API said no",
		},
		{
			name: "the expiry", answers: []func(context.Context, Job) (Answer, error){unavailable}, expires: 5 * s,
			want: []time.Duration{0, 1 * s, 3 * s}, wantEnd: 3 * s, wantOutcome: OutcomeExhausted, wantSpent: 3,
			wantDetail: "the request expires at 2000-01-01T00:00:05Z and could not be attempted before; the last attempt: unavailable: the API said no",
		},
		{
			name: "Retry-After", answers: []func(context.Context, Job) (Answer, error){
				fails(Failure{Reason: ReasonRateLimited, RetryAt: virtualStart().Add(55 * s)}),
				fails(Failure{Reason: ReasonRateLimited, RetryAt: virtualStart().Add(55*s + 100*time.Millisecond)}),
				works,
			},
			want: []time.Duration{0, 55 * s, 57 * s}, wantEnd: 57 * s, wantOutcome: OutcomeRevoked, wantSpent: 1,
		},
		{
			name: "Retry-After beyond the age", answers: []func(context.Context, Job) (Answer, error){
				fails(Failure{Reason: ReasonRateLimited, RetryAt: virtualStart().Add(24 * h)}),
			},
			want: []time.Duration{0}, wantOutcome: OutcomeExhausted,
			wantDetail: "the job would be older than 24h0m0s; the last attempt: rate_limited: the API said no",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(tt.answers...)
				start := time.Now()
				job := p.acceptJob(t, jwksEvent(t, 1, func(e *Event) {
					if tt.expires > 0 {
						e.Request.ExpiresAt = start.Add(tt.expires)
					}
				}))
				deliverUntilDone(t, p.runner(t, "w1", func(c *RunnerConfig) {
					if tt.change != nil {
						tt.change(&c.Retry)
					}
				}), job)
				if diff := cmp.Diff(tt.want, p.api.callTimes(start)); diff != "" {
					t.Errorf("calls (-want +got):\n%s", diff)
				}
				r := p.record(t, job.ID)
				if r.Outcome != tt.wantOutcome || r.Detail != tt.wantDetail || r.AttemptsSpent != tt.wantSpent {
					t.Errorf("outcome %s, %d spent, detail %q", r.Outcome, r.AttemptsSpent, r.Detail)
				}
				if got := r.FinishedAt.Sub(start); got != tt.wantEnd || len(p.announce) != 1 || r.AttemptCount != len(tt.want) {
					t.Errorf("done after %s, %d announcements, %d attempts", got, len(p.announce), r.AttemptCount)
				}
			})
		})
	}
}

// virtualStart is when the virtual time of a test begins.
func virtualStart() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

// TestRunJitter: the jitter lengthens the backoff and leaves Retry-After alone.
func TestRunJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(
			fails(Failure{Reason: ReasonUnavailable}),
			fails(Failure{Reason: ReasonRateLimited, RetryAt: time.Now().Add(time.Minute)}),
			works,
		)
		start := time.Now()
		job := p.acceptJob(t, jwksEvent(t, 1))
		deliverUntilDone(t, p.runner(t, "w1", func(c *RunnerConfig) { c.Random = func() float64 { return 0.4 } }), job)
		if diff := cmp.Diff([]time.Duration{0, 1100 * time.Millisecond, time.Minute}, p.api.callTimes(start)); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
	})
}

// TestRunEarly: a delivery before its time is put back for the rest of it and leaves no
// trace: the engine forgets delays, or keeps them to the second only.
func TestRunEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(fails(Failure{Reason: ReasonRateLimited, RetryAt: time.Now().Add(time.Minute)}), works)
		job := p.acceptJob(t, jwksEvent(t, 1))
		r := p.runner(t, "w1")
		run(t, r, Delivery{Job: job})
		before := p.record(t, job.ID)
		for _, early := range []time.Duration{0, 10 * time.Second, 50*time.Second - 1} {
			pass(early)
			want := Settlement{Delay: time.Until(before.RetryAt)}
			if got := run(t, r, Delivery{Job: job}); got != want || want.Delay <= 0 {
				t.Errorf("settlement %+v, want %+v", got, want)
			}
		}
		if diff := cmp.Diff(before, p.record(t, job.ID)); diff != "" || p.api.made() != 1 {
			t.Errorf("%d calls, record (-want +got):\n%s", p.api.made(), diff)
		}
		pass(1)
		if got := run(t, r, Delivery{Job: job}); !got.Done || p.api.made() != 2 {
			t.Errorf("at the moment itself: %+v, %d calls", got, p.api.made())
		}
	})
}

// TestRunPaused: a pause of the job's rate bucket puts it off without an attempt.
func TestRunPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		start := time.Now()
		job := p.acceptJob(t, jwksEvent(t, 1))
		p.pacer.until = start.Add(time.Minute)
		r := p.runner(t, "w1")
		if got, want := run(t, r, Delivery{Job: job}), (Settlement{Delay: time.Minute}); got != want {
			t.Errorf("settlement %+v, want %+v", got, want)
		}
		rec := p.record(t, job.ID)
		if rec.State != StateWaiting || !rec.Paced || !rec.RetryAt.Equal(p.pacer.until) || rec.AttemptCount != 0 || rec.AttemptsSpent != 0 {
			t.Errorf("record %+v", rec)
		}
		pass(time.Minute)
		if got := run(t, r, Delivery{Job: job}); !got.Done {
			t.Errorf("after the pause: %+v", got)
		}
		if diff := cmp.Diff([]time.Duration{time.Minute}, p.api.callTimes(start)); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
		checkCount(t, p, "attempt jwks.revoke rate_limited", 0)
	})
}

// TestRunTooLate: jobs that no worker could attempt in time are given up without a call.
func TestRunTooLate(t *testing.T) {
	tests := []struct {
		name    string
		expires time.Duration
		pause   time.Duration // Of the rate bucket, from the start on.
		waits   time.Duration // Before the delivery.
		want    string
	}{
		{name: "too old", waits: 24 * time.Hour, want: "the job would be older than 24h0m0s"},
		{
			name: "expired in the queue", expires: time.Minute, waits: time.Minute,
			want: "the request expires at 2000-01-01T00:01:00Z and could not be attempted before",
		},
		{
			name: "paused beyond its expiry", expires: time.Minute, pause: time.Hour,
			want: "the API's rate limit: the request expires at 2000-01-01T00:01:00Z and could not be attempted before",
		},
		{name: "paused beyond its age", pause: 25 * time.Hour, want: "the API's rate limit: the job would be older than 24h0m0s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(works)
				job := p.acceptJob(t, jwksEvent(t, 1, func(e *Event) {
					if tt.expires > 0 {
						e.Request.ExpiresAt = time.Now().Add(tt.expires)
					}
				}))
				p.pacer.until = time.Now().Add(tt.pause)
				pass(tt.waits)
				if v := run(t, p.runner(t, "w1"), Delivery{Job: job}); v != (Settlement{Done: true}) {
					t.Errorf("settlement %+v", v)
				}
				r := p.record(t, job.ID)
				if r.Outcome != OutcomeExhausted || r.Detail != tt.want || r.AttemptCount != 0 || p.api.made() != 0 {
					t.Errorf("outcome %s, detail %q, %d calls", r.Outcome, r.Detail, p.api.made())
				}
				want := []announcement{{JobID: job.ID, Outcome: OutcomeExhausted}}
				if !slices.Equal(p.announce, want) {
					t.Errorf("announced %+v", p.announce)
				}
				checkCount(t, p, "finished jwks.revoke exhausted", 1)
			})
		})
	}
}
