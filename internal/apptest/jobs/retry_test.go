package jobs_test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"rekey/internal/apptest"
	"rekey/internal/jobs"
)

func TestRetryAfterIsObeyed(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	tests := []struct {
		name     string
		reply    apptest.Reply
		atLeast  time.Duration // From the answer to the next call.
		recorded time.Duration // From the answer to the attempt's retry_at.
		reason   jobs.Reason
		attempts int // That may be spent.
	}{
		{name: "429 in seconds", reply: apptest.RetryAfter(429, "1"), atLeast: time.Second, recorded: time.Second, reason: jobs.ReasonRateLimited, attempts: 1},
		{name: "429 without", reply: apptest.Problem(429, "RATE_LIMITED_TOKEN_BUCKET"), atLeast: time.Second, reason: jobs.ReasonRateLimited, attempts: 1},
		{name: "429 of zero", reply: apptest.RetryAfter(429, "0"), atLeast: 20 * time.Millisecond, reason: jobs.ReasonRateLimited, attempts: 1},
		{
			name: "429 as a date in the past", reply: apptest.RetryAfter(429, "Sun, 06 Nov 1994 08:49:37 GMT"), atLeast: 20 * time.Millisecond,
			reason: jobs.ReasonRateLimited, attempts: 1,
		},
		{
			name: "400 that is a rate limit", reply: apptest.Problem(400, "RATE_LIMITED_TOKEN_BUCKET").After("1"), atLeast: time.Second, recorded: time.Second,
			reason: jobs.ReasonRateLimited, attempts: 1,
		},
		{name: "503 in seconds", reply: apptest.RetryAfter(503, "1"), atLeast: time.Second, recorded: time.Second, reason: jobs.ReasonUnavailable, attempts: 2},
		{name: "503 without", reply: apptest.Problem(503, "OUTAGE"), atLeast: 20 * time.Millisecond, reason: jobs.ReasonUnavailable, attempts: 2},
	}
	for i, test := range tests {
		atlas.Script(apptest.HexID(i), test.reply)
	}
	w := rig.Start(t)
	for i := range tests {
		w.Publish("incident", apptest.X509Disable(apptest.HexID(i)).String())
	}
	w.Results(len(tests))
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			calls, record := atlas.Requests(apptest.HexID(i)), w.In(t).ResultOf(apptest.HexID(i))
			if len(calls) != 2 || record.Outcome != jobs.OutcomeRevoked {
				t.Fatalf("%s after %d calls, want revoked after 2", record.Outcome, len(calls))
			}
			if got := calls[1].At.Sub(calls[0].Answered); got < test.atLeast {
				t.Errorf("the second call came %s after the first answer, want at least %s", got, test.atLeast)
			}
			first := record.Attempts[0]
			if first.Reason != test.reason || record.AttemptsSpent != test.attempts {
				t.Errorf("the first attempt is %s and %d are spent, want %s and %d", first.Reason, record.AttemptsSpent, test.reason, test.attempts)
			}
			if calls[1].At.Before(first.RetryAt) {
				t.Errorf("the second call came at %s, before the recorded retry_at %s", calls[1].At, first.RetryAt)
			}
			if got := first.RetryAt.Sub(calls[0].Answered); got < test.recorded {
				t.Errorf("the recorded retry_at is %s after the first answer, want at least %s", got, test.recorded)
			}
		})
	}
}

func TestRetryAfterDateIsNotUndercut(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	due := time.Now().Add(3 * time.Second).Truncate(time.Second)
	statuses := []int{429, 503}
	for i, status := range statuses {
		atlas.Script(apptest.HexID(i), apptest.RetryAfter(status, due.UTC().Format(http.TimeFormat)))
	}
	w := rig.Start(t)
	for i := range statuses {
		w.Publish("incident", apptest.X509Disable(apptest.HexID(i)).String())
	}
	w.Results(len(statuses))
	for i, status := range statuses {
		calls := atlas.Requests(apptest.HexID(i))
		if len(calls) != 2 {
			t.Fatalf("after %d there are %d calls, want 2", status, len(calls))
		}
		if calls[1].At.Before(due) {
			t.Errorf("after %d the second call came %s before the date", status, due.Sub(calls[1].At))
		}
	}
}

func TestServerErrorsAreAttemptedAgainWithBackoff(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	project := apptest.HexID(1)
	atlas.Script(project, apptest.Problem(500, "UNEXPECTED_ERROR"), apptest.Reply{Reset: true}, apptest.Reply{Status: 502, Body: "<html>bad gateway</html>"})
	w := rig.Start(t)
	w.Publish("incident", apptest.X509Disable(project).String())
	record := w.ResultOf(project)
	if record.Outcome != jobs.OutcomeRevoked || record.AttemptsSpent != 4 {
		t.Fatalf("%s with %d attempts spent, want revoked with 4: %s", record.Outcome, record.AttemptsSpent, record.Detail)
	}
	calls := atlas.Requests(project)
	for i, want := range []time.Duration{20 * time.Millisecond, 40 * time.Millisecond, 80 * time.Millisecond} {
		if got := calls[i+1].At.Sub(calls[i].At); got < want {
			t.Errorf("call %d came %s after the one before, want at least %s", i+2, got, want)
		}
		if reason := record.Attempts[i].Reason; reason != jobs.ReasonUnavailable {
			t.Errorf("attempt %d is %s, want unavailable", i+1, reason)
		}
	}
}

func TestRateLimitedSpendsNoAttempt(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Retry.MaxAttempts = 1
	project := apptest.HexID(1)
	limited := apptest.RetryAfter(429, "0")
	atlas.Script(project, limited, limited, limited)
	w := rig.Start(t)
	w.Publish("incident", apptest.X509Disable(project).String())
	record := w.ResultOf(project)
	if record.Outcome != jobs.OutcomeRevoked || record.AttemptCount != 4 || record.AttemptsSpent != 1 {
		t.Errorf("%s with %d of %d attempts spent, want revoked with 1 of 4", record.Outcome, record.AttemptsSpent, record.AttemptCount)
	}
}

func TestExhaustedByMaxAttempts(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Retry.MaxAttempts = 3
	project := apptest.HexID(1)
	atlas.Script(project, apptest.Problem(500, "UNEXPECTED_ERROR").Always())
	w := rig.Start(t)
	w.Publish("incident", apptest.X509Disable(project).String())
	record := w.ResultOf(project)
	w.Settled()
	if got := len(atlas.Requests(project)); record.Outcome != jobs.OutcomeExhausted || record.AttemptsSpent != 3 || got != 3 {
		t.Errorf("%s with %d attempts spent and %d calls, want exhausted with 3 and 3", record.Outcome, record.AttemptsSpent, got)
	}
}

func TestExhaustedByAge(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		maxAge   time.Duration
		reply    apptest.Reply
		change   func(apptest.Request) apptest.Request
		mostCall int
	}{
		{name: "max_age", maxAge: 300 * time.Millisecond, reply: apptest.Problem(500, "UNEXPECTED_ERROR").Always(), mostCall: 100},
		{name: "Retry-After beyond max_age", maxAge: time.Hour, reply: apptest.RetryAfter(429, "7200").Always(), mostCall: 1},
		{
			name: "Retry-After beyond expires_at", maxAge: time.Hour, reply: apptest.RetryAfter(429, "600").Always(), mostCall: 1,
			change: func(r apptest.Request) apptest.Request {
				return r.With("expires_at", time.Now().Add(time.Minute).UTC().Format(time.RFC3339))
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			rig, atlas := apptest.StandInRig(t)
			rig.Cfg.Retry.MaxAge, rig.Cfg.Retry.MaxAttempts = test.maxAge, 1000
			project := apptest.HexID(1)
			atlas.Script(project, test.reply)
			w := rig.Start(t)
			r := apptest.X509Disable(project)
			if test.change != nil {
				r = test.change(r)
			}
			w.Publish("incident", r.String())
			record := w.ResultOf(project)
			w.Settled()
			if record.Outcome != jobs.OutcomeExhausted {
				t.Errorf("the outcome is %s, want exhausted", record.Outcome)
			}
			if got := len(atlas.Requests(project)); got > test.mostCall {
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
			rig, atlas := apptest.StandInRig(t)
			rig.Cfg.Retry.RetryAfterCap = 400 * time.Millisecond
			project := apptest.HexID(1)
			atlas.Script(project, apptest.RetryAfter(429, value))
			w := rig.Start(t)
			w.Publish("incident", apptest.X509Disable(project).String())
			record := w.ResultOf(project)
			if record.Outcome != jobs.OutcomeRevoked || !record.Attempts[0].RetryAfterCapped {
				t.Errorf("%s, retry_after_capped is %t: want revoked and true", record.Outcome, record.Attempts[0].RetryAfterCapped)
			}
			calls := atlas.Requests(project)
			if got := calls[1].At.Sub(calls[0].Answered); got < 400*time.Millisecond {
				t.Errorf("the second call came after %s, before the cap of 400ms", got)
			}
		})
	}
}

func TestRetryAfterInTheProblemDocument(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	project := apptest.HexID(1)
	atlas.Script(project, apptest.JSONReply(429, `{"error":429,"errorCode":"RATE_LIMITED_TOKEN_BUCKET","reason":"Too Many Requests",`+
		`"detail":"Rate limit exceeded. Please retry after 2 seconds.","parameters":["api/atlas/v2/groups",2,10,5,60]}`))
	w := rig.Start(t)
	w.Publish("incident", apptest.X509Disable(project).String())
	w.ResultOf(project)
	calls := atlas.Requests(project)
	if got := calls[1].At.Sub(calls[0].Answered); got < 2*time.Second {
		t.Errorf("the second call came after %s, before the 2s of the error document", got)
	}
}

func TestWaitingJobHoldsNoSlot(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Worker.Concurrency = 1
	const hour = 3600
	for n := range 3 {
		atlas.Script(apptest.HexID(n), apptest.RetryAfter(429, strconv.Itoa(hour)).Always())
	}
	w := rig.Start(t)
	for n := range 3 {
		w.Publish("incident", apptest.X509Disable(apptest.HexID(n)).String())
	}
	for n := range 3 {
		atlas.Await(t, apptest.HexID(n), 1)
	}
	w.Publish("rotation", apptest.X509Disable(apptest.HexID(3)).String())
	if record := w.ResultOf(apptest.HexID(3)); record.Outcome != jobs.OutcomeRevoked {
		t.Errorf("the job behind those that wait is %s", record.Outcome)
	}
	for n := range 3 {
		record := w.RecordOf(apptest.HexID(n), func(r jobs.PublicRecord) bool { return r.State == jobs.StateWaiting })
		if earliest := atlas.Requests(apptest.HexID(n))[0].Answered.Add(hour * time.Second); record.RetryAt.Before(earliest) {
			t.Errorf("retry_at is %s, want at least %s", record.RetryAt, earliest)
		}
	}
	apptest.Eventually(t, "rekey_queue_waiting to be 3", func() bool { return w.Metrics()["rekey_queue_waiting"] == 3 })
}
