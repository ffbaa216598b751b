package app_test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"rekey/internal/jobs"
)

// retryAfter is a refusal of a rate limit, or with 503 an outage, with this header Retry-After.
func retryAfter(status int, value string) reply { return problem(status, "STAND_IN").after(value) }

func TestRetryAfterIsObeyed(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	tests := []struct {
		name     string
		reply    reply
		atLeast  time.Duration // From the answer to the next call.
		recorded time.Duration // From the answer to the attempt's retry_at.
		reason   jobs.Reason
		attempts int // That may be spent.
	}{
		{name: "429 in seconds", reply: retryAfter(429, "1"), atLeast: time.Second, recorded: time.Second, reason: jobs.ReasonRateLimited, attempts: 1},
		{name: "429 without", reply: problem(429, "RATE_LIMITED_TOKEN_BUCKET"), atLeast: time.Second, reason: jobs.ReasonRateLimited, attempts: 1},
		{name: "429 of zero", reply: retryAfter(429, "0"), atLeast: 20 * time.Millisecond, reason: jobs.ReasonRateLimited, attempts: 1},
		{
			name: "429 as a date in the past", reply: retryAfter(429, "Sun, 06 Nov 1994 08:49:37 GMT"), atLeast: 20 * time.Millisecond,
			reason: jobs.ReasonRateLimited, attempts: 1,
		},
		{
			name: "400 that is a rate limit", reply: problem(400, "RATE_LIMITED_TOKEN_BUCKET").after("1"), atLeast: time.Second, recorded: time.Second,
			reason: jobs.ReasonRateLimited, attempts: 1,
		},
		{name: "503 in seconds", reply: retryAfter(503, "1"), atLeast: time.Second, recorded: time.Second, reason: jobs.ReasonUnavailable, attempts: 2},
		{name: "503 without", reply: problem(503, "OUTAGE"), atLeast: 20 * time.Millisecond, reason: jobs.ReasonUnavailable, attempts: 2},
	}
	for i, test := range tests {
		atlas.script(hexID(i), test.reply)
	}
	w := rig.start(t)
	for i := range tests {
		w.publish("incident", x509Disable(hexID(i)).String())
	}
	w.results(len(tests))
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			calls, record := atlas.requests(hexID(i)), w.in(t).resultOf(hexID(i))
			if len(calls) != 2 || record.Outcome != jobs.OutcomeRevoked {
				t.Fatalf("%s after %d calls, want revoked after 2", record.Outcome, len(calls))
			}
			if got := calls[1].at.Sub(calls[0].answered); got < test.atLeast {
				t.Errorf("the second call came %s after the first answer, want at least %s", got, test.atLeast)
			}
			first := record.Attempts[0]
			if first.Reason != test.reason || record.AttemptsSpent != test.attempts {
				t.Errorf("the first attempt is %s and %d are spent, want %s and %d", first.Reason, record.AttemptsSpent, test.reason, test.attempts)
			}
			if calls[1].at.Before(first.RetryAt) {
				t.Errorf("the second call came at %s, before the recorded retry_at %s", calls[1].at, first.RetryAt)
			}
			if got := first.RetryAt.Sub(calls[0].answered); got < test.recorded {
				t.Errorf("the recorded retry_at is %s after the first answer, want at least %s", got, test.recorded)
			}
		})
	}
}

func TestRetryAfterDateIsNotUndercut(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	due := time.Now().Add(3 * time.Second).Truncate(time.Second)
	statuses := []int{429, 503}
	for i, status := range statuses {
		atlas.script(hexID(i), retryAfter(status, due.UTC().Format(http.TimeFormat)))
	}
	w := rig.start(t)
	for i := range statuses {
		w.publish("incident", x509Disable(hexID(i)).String())
	}
	w.results(len(statuses))
	for i, status := range statuses {
		calls := atlas.requests(hexID(i))
		if len(calls) != 2 {
			t.Fatalf("after %d there are %d calls, want 2", status, len(calls))
		}
		if calls[1].at.Before(due) {
			t.Errorf("after %d the second call came %s before the date", status, due.Sub(calls[1].at))
		}
	}
}

func TestServerErrorsAreAttemptedAgainWithBackoff(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	project := hexID(1)
	atlas.script(project, problem(500, "UNEXPECTED_ERROR"), reply{reset: true}, reply{status: 502, body: "<html>bad gateway</html>"})
	w := rig.start(t)
	w.publish("incident", x509Disable(project).String())
	record := w.resultOf(project)
	if record.Outcome != jobs.OutcomeRevoked || record.AttemptsSpent != 4 {
		t.Fatalf("%s with %d attempts spent, want revoked with 4: %s", record.Outcome, record.AttemptsSpent, record.Detail)
	}
	calls := atlas.requests(project)
	for i, want := range []time.Duration{20 * time.Millisecond, 40 * time.Millisecond, 80 * time.Millisecond} {
		if got := calls[i+1].at.Sub(calls[i].at); got < want {
			t.Errorf("call %d came %s after the one before, want at least %s", i+2, got, want)
		}
		if reason := record.Attempts[i].Reason; reason != jobs.ReasonUnavailable {
			t.Errorf("attempt %d is %s, want unavailable", i+1, reason)
		}
	}
}

func TestRateLimitedSpendsNoAttempt(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Retry.MaxAttempts = 1
	project := hexID(1)
	limited := retryAfter(429, "0")
	atlas.script(project, limited, limited, limited)
	w := rig.start(t)
	w.publish("incident", x509Disable(project).String())
	record := w.resultOf(project)
	if record.Outcome != jobs.OutcomeRevoked || record.AttemptCount != 4 || record.AttemptsSpent != 1 {
		t.Errorf("%s with %d of %d attempts spent, want revoked with 1 of 4", record.Outcome, record.AttemptsSpent, record.AttemptCount)
	}
}

func TestExhaustedByMaxAttempts(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Retry.MaxAttempts = 3
	project := hexID(1)
	atlas.script(project, problem(500, "UNEXPECTED_ERROR").always())
	w := rig.start(t)
	w.publish("incident", x509Disable(project).String())
	record := w.resultOf(project)
	w.settled()
	if got := len(atlas.requests(project)); record.Outcome != jobs.OutcomeExhausted || record.AttemptsSpent != 3 || got != 3 {
		t.Errorf("%s with %d attempts spent and %d calls, want exhausted with 3 and 3", record.Outcome, record.AttemptsSpent, got)
	}
}

func TestExhaustedByAge(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		maxAge   time.Duration
		reply    reply
		change   func(request) request
		mostCall int
	}{
		{name: "max_age", maxAge: 300 * time.Millisecond, reply: problem(500, "UNEXPECTED_ERROR").always(), mostCall: 100},
		{name: "Retry-After beyond max_age", maxAge: time.Hour, reply: retryAfter(429, "7200").always(), mostCall: 1},
		{
			name: "Retry-After beyond expires_at", maxAge: time.Hour, reply: retryAfter(429, "600").always(), mostCall: 1,
			change: func(r request) request {
				return r.with("expires_at", time.Now().Add(time.Minute).UTC().Format(time.RFC3339))
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			rig, atlas := standInRig(t)
			rig.cfg.Retry.MaxAge, rig.cfg.Retry.MaxAttempts = test.maxAge, 1000
			project := hexID(1)
			atlas.script(project, test.reply)
			w := rig.start(t)
			r := x509Disable(project)
			if test.change != nil {
				r = test.change(r)
			}
			w.publish("incident", r.String())
			record := w.resultOf(project)
			w.settled()
			if record.Outcome != jobs.OutcomeExhausted {
				t.Errorf("the outcome is %s, want exhausted", record.Outcome)
			}
			if got := len(atlas.requests(project)); got > test.mostCall {
				t.Errorf("got %d calls, want at most %d", got, test.mostCall)
			}
			for _, a := range record.Attempts {
				if age := a.StartedAt.Sub(record.AcceptedAt); age >= test.maxAge {
					t.Errorf("attempt %d began at the age of %s, beyond %s", a.Attempt, age, test.maxAge)
				}
			}
		})
	}
}

func TestAbsurdRetryAfterIsCapped(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"999999999", "99999999999999999999", time.Now().AddDate(500, 0, 0).UTC().Format(http.TimeFormat)} {
		t.Run(value, func(t *testing.T) {
			t.Parallel()
			rig, atlas := standInRig(t)
			rig.cfg.Retry.RetryAfterCap = 400 * time.Millisecond
			project := hexID(1)
			atlas.script(project, retryAfter(429, value))
			w := rig.start(t)
			w.publish("incident", x509Disable(project).String())
			record := w.resultOf(project)
			if record.Outcome != jobs.OutcomeRevoked || !record.Attempts[0].RetryAfterCapped {
				t.Errorf("%s, retry_after_capped is %t: want revoked and true", record.Outcome, record.Attempts[0].RetryAfterCapped)
			}
			calls := atlas.requests(project)
			if got := calls[1].at.Sub(calls[0].answered); got < 400*time.Millisecond {
				t.Errorf("the second call came after %s, before the cap of 400ms", got)
			}
		})
	}
}

func TestRetryAfterInTheProblemDocument(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	project := hexID(1)
	atlas.script(project, jsonReply(429, `{"error":429,"errorCode":"RATE_LIMITED_TOKEN_BUCKET","reason":"Too Many Requests",`+
		`"detail":"Rate limit exceeded. Please retry after 2 seconds.","parameters":["api/atlas/v2/groups",2,10,5,60]}`))
	w := rig.start(t)
	w.publish("incident", x509Disable(project).String())
	w.resultOf(project)
	calls := atlas.requests(project)
	if got := calls[1].at.Sub(calls[0].answered); got < 2*time.Second {
		t.Errorf("the second call came after %s, before the 2s of the error document", got)
	}
}

func TestWaitingJobHoldsNoSlot(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Worker.Concurrency = 1
	const hour = 3600
	for n := range 3 {
		atlas.script(hexID(n), retryAfter(429, strconv.Itoa(hour)).always())
	}
	w := rig.start(t)
	for n := range 3 {
		w.publish("incident", x509Disable(hexID(n)).String())
	}
	for n := range 3 {
		atlas.await(t, hexID(n), 1)
	}
	w.publish("rotation", x509Disable(hexID(3)).String())
	if record := w.resultOf(hexID(3)); record.Outcome != jobs.OutcomeRevoked {
		t.Errorf("the job behind those that wait is %s", record.Outcome)
	}
	for n := range 3 {
		record := w.recordOf(hexID(n), func(r jobs.Record) bool { return r.State == jobs.StateWaiting })
		if earliest := atlas.requests(hexID(n))[0].answered.Add(hour * time.Second); record.RetryAt.Before(earliest) {
			t.Errorf("retry_at is %s, want at least %s", record.RetryAt, earliest)
		}
	}
	eventually(t, "rekey_queue_waiting to be 3", func() bool { return w.metrics()["rekey_queue_waiting"] == 3 })
}
