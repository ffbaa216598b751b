package jobs

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func TestNewRunnerMistakes(t *testing.T) {
	good := RunnerConfig{Worker: "w1", CallTimeout: time.Second, Retry: policy(), Logger: zap.NewNop()}
	tests := []struct {
		name   string
		change func(*RunnerConfig)
		want   string
	}{
		{name: "none", change: func(*RunnerConfig) {}},
		{name: "no worker", change: func(c *RunnerConfig) { c.Worker = "" }, want: "runner: worker and call timeout are required"},
		{name: "no timeout", change: func(c *RunnerConfig) { c.CallTimeout = 0 }, want: "runner: worker and call timeout are required"},
		{
			name: "no attempts", change: func(c *RunnerConfig) { c.Retry.MaxAttempts = 0 },
			want: "retry: base, max_attempts and max_age must be positive and cap at least base",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := good
			tt.change(&cfg)
			r, err := NewRunner(cfg)
			if got := errorText(err); got != tt.want || (r == nil) != (tt.want != "") {
				t.Errorf("NewRunner: error %q, want %q", got, tt.want)
			}
			if r != nil && (r.cfg.Random() < 0 || r.cfg.Random() >= 1) {
				t.Error("the default jitter is not in [0, 1)")
			}
		})
	}
}

// TestRunAnswers gives the first attempt of a job each kind of answer.
func TestRunAnswers(t *testing.T) {
	no := func(r Reason) func(context.Context, Job) (Answer, error) {
		return fails(Failure{Reason: r, Answer: Answer{Status: 499, Code: "CODE", RequestID: "q"}})
	}
	tests := []struct {
		name        string
		answer      func(context.Context, Job) (Answer, error)
		wantState   State
		wantOutcome Outcome
		wantDetail  string
		wantReason  Reason
		wantSpent   int
		wantDelay   time.Duration
	}{
		{name: "revoked", answer: works, wantState: StateDone, wantOutcome: OutcomeRevoked, wantReason: ReasonNone, wantSpent: 1},
		{
			name:      "accepted",
			answer:    func(context.Context, Job) (Answer, error) { return Answer{Status: 202}, nil },
			wantState: StateDone, wantOutcome: OutcomeRevoked, wantReason: ReasonNone, wantSpent: 1,
		},
		{
			name:      "nothing said of what is known",
			answer:    func(context.Context, Job) (Answer, error) { return Answer{Status: 200}, nil },
			wantState: StateDone, wantOutcome: OutcomeRevoked, wantReason: ReasonNone, wantSpent: 1,
		},
		{name: "rate limited", answer: no(ReasonRateLimited), wantState: StateWaiting, wantReason: ReasonRateLimited, wantDelay: time.Second},
		{name: "unavailable", answer: no(ReasonUnavailable), wantState: StateWaiting, wantReason: ReasonUnavailable, wantSpent: 1, wantDelay: time.Second},
		{
			name: "unauthorized", answer: no(ReasonUnauthorized), wantState: StateDone, wantOutcome: OutcomeRefused,
			wantDetail: "unauthorized: the API said no", wantReason: ReasonUnauthorized, wantSpent: 1,
		},
		{
			name: "forbidden", answer: no(ReasonForbidden), wantState: StateDone, wantOutcome: OutcomeRefused,
			wantDetail: "forbidden: the API said no", wantReason: ReasonForbidden, wantSpent: 1,
		},
		{
			name: "not found", answer: no(ReasonNotFound), wantState: StateDone, wantOutcome: OutcomeRefused,
			wantDetail: "not_found: the API said no", wantReason: ReasonNotFound, wantSpent: 1,
		},
		{name: "conflict", answer: no(ReasonConflict), wantState: StateWaiting, wantReason: ReasonConflict, wantSpent: 1, wantDelay: time.Second},
		{
			name: "invalid", answer: no(ReasonInvalid), wantState: StateDone, wantOutcome: OutcomeRefused,
			wantDetail: "invalid: the API said no", wantReason: ReasonInvalid, wantSpent: 1,
		},
		{name: "protocol", answer: no(ReasonProtocol), wantState: StateWaiting, wantReason: ReasonProtocol, wantSpent: 1, wantDelay: time.Second},
		{name: "config", answer: no(ReasonConfig), wantState: StateWaiting, wantReason: ReasonConfig, wantSpent: 1, wantDelay: time.Second},
		{name: "interrupted", answer: no(ReasonInterrupted), wantState: StateQueued, wantReason: ReasonInterrupted},
		{
			name:      "an error of no kind",
			answer:    func(context.Context, Job) (Answer, error) { return Answer{}, errors.New("what?") },
			wantState: StateWaiting, wantReason: ReasonProtocol, wantSpent: 1, wantDelay: time.Second,
		},
		{
			name:      "a failure without details",
			answer:    func(context.Context, Job) (Answer, error) { return Answer{}, &Failure{Reason: ReasonForbidden} },
			wantState: StateDone, wantOutcome: OutcomeRefused, wantDetail: "forbidden: no details are known",
			wantReason: ReasonForbidden, wantSpent: 1,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(tt.answer)
				job := p.acceptJob(t, jwksEvent(t, 1))
				settlement := run(t, p.runner(t, "w1"), Delivery{Job: job})
				if want := (Settlement{Done: tt.wantState == StateDone, Delay: tt.wantDelay}); settlement != want {
					t.Errorf("settlement %+v, want %+v", settlement, want)
				}
				r := p.record(t, job.ID)
				if r.State != tt.wantState || r.Outcome != tt.wantOutcome || r.Detail != tt.wantDetail {
					t.Errorf("state %q, outcome %q, detail %q", r.State, r.Outcome, r.Detail)
				}
				if len(r.Attempts) != 1 || r.Attempts[0].Reason != tt.wantReason || r.AttemptsSpent != tt.wantSpent || r.Claim != (Claim{}) {
					t.Errorf("attempts %+v, %d spent, claim %v", r.Attempts, r.AttemptsSpent, r.Claim)
				}
				checkEnd(t, p, job, tt.wantOutcome, tt.wantReason)
			})
		})
	}
}

// checkEnd checks what is published of a job's only attempt.
func checkEnd(t *testing.T, p *plant, job Job, outcome Outcome, reason Reason) {
	t.Helper()
	var wantAnnounced []announcement
	wantCounts := map[string]int{
		"enqueued jwks.revoke urgent event": 1, "first attempt urgent": 1, "attempt jwks.revoke " + string(reason): 1,
	}
	if outcome != "" {
		wantAnnounced = []announcement{{JobID: job.ID, Outcome: outcome}}
		wantCounts["finished jwks.revoke "+string(outcome)] = 1
	}
	if diff := cmp.Diff(wantAnnounced, p.announce); diff != "" {
		t.Errorf("announced (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantCounts, p.recorder.Counts); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	if got := p.logs.FilterLevelExact(zapcore.InfoLevel).Len(); got != len(wantAnnounced) {
		t.Errorf("%d Info lines, want %d", got, len(wantAnnounced))
	}
}

// TestRunRecordsAttempt holds the record of a job that worked at its second attempt, with
// exact times.
func TestRunRecordsAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limited := fails(Failure{
			Reason: ReasonRateLimited, RetryAt: time.Now().Add(4 * time.Second), RetryAfterCapped: true, Err: errors.New("slow down"),
			Answer: Answer{Status: 429, Code: "RATE_LIMITED", RequestID: "q"},
		})
		p := newPlant(takes(time.Second, limited), takes(1500*time.Millisecond, works))
		start := time.Now().UTC()
		job := p.acceptJob(t, jwksEvent(t, 1))
		pass(250 * time.Millisecond)
		if n := deliverUntilDone(t, p.runner(t, "w1"), job); n != 2 {
			t.Errorf("%d deliveries", n)
		}
		at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
		want := NewRecord(job)
		want.State, want.Outcome, want.FinishedAt = StateDone, OutcomeRevoked, at(5500)
		want.AttemptCount, want.AttemptsSpent, want.AttemptsMaybeEffective = 2, 1, 1
		want.Attempts = []Attempt{
			{
				Attempt: 1, Worker: "w1", StartedAt: at(250), FinishedAt: at(1250), DurationMS: 1000, Status: 429, ErrorCode: "RATE_LIMITED",
				Reason: ReasonRateLimited, Error: "slow down", RetryAt: at(4000), RequestID: "q", RetryAfterCapped: true,
			},
			{
				Attempt: 2, Worker: "w1", StartedAt: at(4000), FinishedAt: at(5500), DurationMS: 1500, Status: 204, RequestID: "req-1",
				Reason: ReasonNone, MaybeEffective: true,
			},
		}
		if diff := cmp.Diff(want, p.record(t, job.ID), cmp.Comparer(time.Time.Equal)); diff != "" {
			t.Errorf("record (-want +got):\n%s", diff)
		}
		wantTimes := map[string]time.Duration{"first attempt urgent": 250 * time.Millisecond, "finished jwks.revoke revoked": 5500 * time.Millisecond}
		if diff := cmp.Diff(wantTimes, p.recorder.Times); diff != "" {
			t.Errorf("metrics (-want +got):\n%s", diff)
		}
	})
}

// TestRunWithoutRecord: a job whose record is gone is recorded again.
func TestRunWithoutRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		job := newJob(jwksEvent(t, 1), "security")
		if v := run(t, p.runner(t, "w1"), Delivery{Job: job}); !v.Done {
			t.Errorf("settlement %+v", v)
		}
		if r := p.record(t, job.ID); r.Outcome != OutcomeRevoked || r.EventCount != 1 {
			t.Errorf("record %+v", r)
		}
	})
}

// TestRunDoneBefore: what is done is not done again. The message that ended the job may have
// lost its worker before the announcement; every other one leaves that to it.
func TestRunDoneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		job := p.acceptJob(t, jwksEvent(t, 1))
		r := p.runner(t, "w1")
		for _, message := range []uint64{7, 8, 7} {
			job.Message = message
			if v := run(t, r, Delivery{Job: job}); v != (Settlement{Done: true}) {
				t.Errorf("settlement %+v", v)
			}
		}
		want := []announcement{{JobID: job.ID, Outcome: OutcomeRevoked}, {JobID: job.ID, Outcome: OutcomeRevoked, Again: true}}
		if diff := cmp.Diff(want, p.announce); diff != "" || len(p.results) != 1 || p.api.made() != 1 {
			t.Errorf("%d results, %d calls, announced (-want +got):\n%s", len(p.results), p.api.made(), diff)
		}
		checkCount(t, p, "finished jwks.revoke revoked", 1)
	})
}

func checkCount(t *testing.T, p *plant, name string, want int) {
	t.Helper()
	if got := p.recorder.Counts[name]; got != want {
		t.Errorf("metric %q is %d, want %d", name, got, want)
	}
}

// TestInfoLine: one line tells the end of a job, with the fixed keys.
func TestInfoLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(takes(2*time.Second, fails(Failure{Reason: ReasonUnavailable})), fails(Failure{Reason: ReasonForbidden}))
		job := p.acceptJob(t, jwksEvent(t, 1))
		deliverUntilDone(t, p.runner(t, "w1"), job)
		lines := p.logs.FilterLevelExact(zapcore.InfoLevel).All()
		if len(lines) != 1 || lines[0].Message != "job finished" || lines[0].LoggerName != "jobs" {
			t.Fatalf("lines %+v", lines)
		}
		want := map[string]any{
			"job_id": job.ID, "event_id": "event-1", "kind": "jwks.revoke", "target": "federation/" + idA + "/idp/" + idB,
			"account": "security", "lane": "urgent", "outcome": "refused", "attempt": int64(2),
			"duration": 3 * time.Second, "detail": "forbidden: the API said no", "reason": "forbidden",
		}
		if diff := cmp.Diff(want, lines[0].ContextMap()); diff != "" {
			t.Errorf("fields (-want +got):\n%s", diff)
		}
		if got := p.logs.FilterLevelExact(zapcore.WarnLevel).Len(); got != 1 || p.logs.Len() != 2 {
			t.Errorf("%d warnings of %d lines", got, p.logs.Len())
		}
	})
}

// TestDryRunProvesNothing: its job ends without a success, is no evidence of one, and what is
// meant is done beside it.
func TestDryRunProvesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dryRun := func(context.Context, Job) (Answer, error) {
			return Answer{DryRun: true, Detail: "dry run: DELETE was not sent"}, nil
		}
		p := newPlant(dryRun, works)
		r := p.runner(t, "w1")
		rehearsed := p.acceptJob(t, jwksEvent(t, 1, func(e *Event) { e.Request.DryRun = true }))
		meant := p.acceptJob(t, jwksEvent(t, 1)) // The same event without it, while the dry run is unfinished.
		run(t, r, Delivery{Job: rehearsed})
		run(t, r, Delivery{Job: meant})
		rec := p.record(t, rehearsed.ID)
		if rec.Outcome != OutcomeCancelled || !rec.Rehearsed() || !rec.DryRun || rec.Detail != "dry run: DELETE was not sent" ||
			rec.AttemptsMaybeEffective != 0 || rec.Outcome.Success() {
			t.Errorf("the dry run is %+v", rec)
		}
		if rec := p.record(t, meant.ID); rec.Outcome != OutcomeRevoked || rec.DryRun {
			t.Errorf("what is meant is %+v", rec)
		}
	})
}

// TestDryRunAfterKill: a dry run whose worker was lost has changed nothing either, so that it is no evidence that the target
// is gone.
func TestDryRunAfterKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(fails(Failure{Reason: ReasonNotFound, MaybeEffective: true}))
		job := p.acceptJob(t, jwksEvent(t, 1, func(e *Event) { e.Request.DryRun = true }))
		entry, err := (memoryLedger{p.memory}).Load(t.Context(), job.ID)
		if err != nil {
			t.Fatal(err)
		}
		entry.Record.begin(time.Now(), "killed", time.Second)
		if _, err := (memoryLedger{p.memory}).Update(t.Context(), entry); err != nil {
			t.Fatal(err)
		}
		deliverUntilDone(t, p.runner(t, "w1"), job)
		rec := p.record(t, job.ID)
		if rec.Outcome != OutcomeRefused || rec.AttemptCount != 2 || rec.AttemptsMaybeEffective != 0 || rec.Attempts[0].MaybeEffective || rec.Attempts[1].MaybeEffective {
			t.Errorf("the dry run is %+v", rec)
		}
	})
}
