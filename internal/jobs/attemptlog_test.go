package jobs

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// TestFailedAttemptIsLogged: with why, when the next one is, and the trace that it belongs to.
func TestFailedAttemptIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limited := Failure{Reason: ReasonRateLimited, RetryAt: time.Now().Add(8 * time.Second), Answer: Answer{Status: 429, Code: "RATE_LIMITED"}}
		p := newPlant(fails(limited))
		job := p.acceptJob(t, jwksEvent(t, 1, func(e *Event) { e.Trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" }))
		run(t, p.runner(t, "w1"), Delivery{Job: job})
		lines := p.logs.FilterMessage("attempt failed").All()
		if len(lines) != 1 || lines[0].Level != zapcore.WarnLevel {
			t.Fatalf("lines %+v", lines)
		}
		want := map[string]any{
			"job_id": job.ID, "event_id": "event-1", "kind": "jwks.revoke", "target": "federation/" + idA + "/idp/" + idB,
			"account": "security", "lane": "urgent", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "attempt": int64(1),
			"reason": "rate_limited", "status": int64(429), "error_code": "RATE_LIMITED", "error": "the API said no", "retry_at": limited.RetryAt,
		}
		if diff := cmp.Diff(want, lines[0].ContextMap()); diff != "" {
			t.Errorf("fields (-want +got):\n%s", diff)
		}
	})
}

// TestFailedAttemptsAreLoggedOnceAMinute: of one target; the next line counts what had none.
func TestFailedAttemptsAreLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(fails(Failure{Reason: ReasonUnavailable}))
		begun := time.Now()
		deliverUntilDone(t, p.runner(t, "w1"), p.acceptJob(t, jwksEvent(t, 1)))
		var at, unsaid []int
		for _, line := range p.logs.FilterMessage("attempt failed").All() {
			at = append(at, int(line.Time.Sub(begun).Seconds()))
			n, _ := line.ContextMap()["failures_not_logged"].(int64)
			unsaid = append(unsaid, int(n))
		}
		// The attempts are at 0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 811 and 1111 s.
		if diff := cmp.Diff([]int{0, 63, 127, 255, 511, 811, 1111}, at); diff != "" {
			t.Errorf("seconds of the lines (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]int{0, 5, 0, 0, 0, 0, 0}, unsaid); diff != "" {
			t.Errorf("failures_not_logged (-want +got):\n%s", diff)
		}
	})
}

// TestAttemptLogForgets: it remembers no more targets than it needs, and loses no count.
func TestAttemptLogForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.WarnLevel)
		l := newAttemptLog(zap.New(core))
		fail := func(n int) {
			l.failed(&Record{PublicRecord: PublicRecord{
				JobID: fmt.Sprint("job-", n), Target: fmt.Sprint("target-", n), Events: []RecordedEvent{{EventRef: EventRef{ID: "e"}}},
				Attempts: []Attempt{{Attempt: 1, Reason: ReasonUnavailable}},
			}})
		}
		for n := range attemptLogTargets {
			fail(n)
		}
		fail(0)
		fail(0)
		pass(attemptLogEvery)
		fail(attemptLogTargets)
		if got := len(l.lines); got != 1 {
			t.Errorf("%d targets are remembered, want 1", got)
		}
		more := logs.FilterMessage("more attempts failed").All()
		if len(more) != 1 || more[0].ContextMap()["target"] != "target-0" || more[0].ContextMap()["failures_not_logged"] != int64(2) {
			t.Errorf("lines %+v", more)
		}
	})
}
