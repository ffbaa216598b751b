package app_test

import (
	"strings"
	"testing"
	"time"

	"rekey/internal/jobs"
)

// mustEndWith checks the last line of a worker's log: what became of the jobs that it had, and how long the stop took.
func mustEndWith(t *testing.T, r *rig, want map[string]int64) map[string]any {
	t.Helper()
	lines := r.logs.All()
	last := lines[len(lines)-1]
	got := last.ContextMap()
	if took, ok := got["duration"].(time.Duration); last.Message != "stopped" || !ok || took <= 0 {
		t.Fatalf("the last line is %q %v, want stopped with its duration", last.Message, got)
	}
	for key, n := range want {
		if got[key] != n {
			t.Errorf("the last line has %s %v, want %d", key, got[key], n)
		}
	}
	return got
}

func TestStopLetsTheCallInFlightFinish(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Worker.DrainTimeout = patience
	project := hexID(1)
	release := make(chan struct{})
	atlas.script(project, holding(release))
	w := rig.start(t)
	w.publish("incident", x509Disable(project).String())
	atlas.await(t, project, 1)
	w.cancel(errTestOver)
	select {
	case err := <-w.ended:
		t.Fatalf("the worker ended (%v) during a call", err)
	case <-time.After(500 * time.Millisecond):
	}
	close(release)
	w.stop()
	mustEndWith(t, rig, map[string]int64{"jobs_finished": 1, "jobs_put_back": 0, "jobs_cut_off": 0})
	next := rig.start(t)
	record := next.resultOf(project)
	next.settled()
	if record.Outcome != jobs.OutcomeRevoked || record.AttemptCount != 1 || len(atlas.requests(project)) != 1 {
		t.Errorf("%s after %d attempts and %d calls, want revoked after one", record.Outcome, record.AttemptCount, len(atlas.requests(project)))
	}
	if got := next.count("REKEY_RESULTS"); got != 1 {
		t.Errorf("there are %d results, want 1", got)
	}
}

func TestStopCutsOffACallThatTakesTooLong(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Worker.DrainTimeout = 100 * time.Millisecond
	rig.cfg.Retry.MaxAttempts = 1 // The cut-off attempt is not spent, or there would be no other.
	project := hexID(1)
	atlas.script(project, holding(make(chan struct{})))
	w := rig.start(t)
	w.publish("incident", x509Disable(project).String())
	atlas.await(t, project, 1)
	w.stop()
	mustEndWith(t, rig, map[string]int64{"jobs_finished": 0, "jobs_put_back": 0, "jobs_cut_off": 1})
	next := rig.start(t)
	record := next.resultOf(project)
	if record.Outcome != jobs.OutcomeRevoked || record.AttemptCount != 2 || record.AttemptsSpent != 1 {
		t.Fatalf("%s with %d of %d attempts spent, want revoked with 1 of 2", record.Outcome, record.AttemptsSpent, record.AttemptCount)
	}
	if first := record.Attempts[0]; first.Reason != jobs.ReasonInterrupted || !first.MaybeEffective {
		t.Errorf("the first attempt is %s, want interrupted, maybe with effect", encoded(first))
	}
	if got := len(atlas.requests(project)); got != 2 {
		t.Errorf("got %d calls, want 2", got)
	}
}

func TestQueuedJobsAreRunByTheNextWorker(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Worker.Concurrency, rig.cfg.Worker.DrainTimeout = 1, patience
	release := make(chan struct{})
	atlas.script(hexID(0), holding(release))
	w := rig.start(t)
	const queued = 10
	w.publish("incident", x509Disable(hexID(0)).String())
	atlas.await(t, hexID(0), 1)
	for n := range queued {
		w.publish("rotation", x509Disable(hexID(1+n)).String())
	}
	eventually(t, "the events to be taken in", w.taken)
	w.cancel(errTestOver)
	eventually(t, "the worker to stop", func() bool {
		_, _, body := w.get("/readyz", "")
		return strings.Contains(body, "stopping")
	})
	close(release)
	w.stop()
	last := mustEndWith(t, rig, map[string]int64{"jobs_finished": 1, "jobs_cut_off": 0})
	if back, _ := last["jobs_put_back"].(int64); back < 1 || back > 2 { // It pulls up to twice as many jobs ahead as it has slots.
		t.Errorf("the last line says that %d jobs were put back, want 1 or 2", back)
	}
	if got := len(atlas.requests(adminPath)); got != 1 {
		t.Errorf("the worker made %d calls after it was told to stop, want none", got-1)
	}
	next := rig.beside("worker-2").start(t)
	for _, r := range next.results(queued + 1) {
		if r.record.Outcome != jobs.OutcomeRevoked || r.record.AttemptCount != 1 {
			t.Errorf("%s is %s after %d attempts, want revoked after 1", r.record.Target, r.record.Outcome, r.record.AttemptCount)
		}
	}
	next.settled()
	if got := len(atlas.requests(adminPath)); got != queued+1 {
		t.Errorf("got %d calls, want one for each of %d jobs", got, queued+1)
	}
}

func TestWaitingJobsAreRunByTheNextWorkerWhenTheyAreDue(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Retry.Base, rig.cfg.Retry.Cap = 3*time.Second, 3*time.Second
	replies := []reply{retryAfter(429, "3"), problem(500, "UNEXPECTED_ERROR")}
	const jobsInAll = 6
	for n := range jobsInAll {
		atlas.script(hexID(n), replies[n%2])
	}
	w := rig.start(t)
	for n := range jobsInAll {
		w.publish("incident", x509Disable(hexID(n)).String())
	}
	for n := range jobsInAll {
		w.recordOf(hexID(n), func(r jobs.Record) bool { return r.State == jobs.StateWaiting })
	}
	w.stop()
	next := rig.start(t) // The server rounds delays to seconds over a restart, and so comes early.
	for _, r := range next.results(jobsInAll) {
		calls := atlas.requests(r.record.Params[jobs.ParamProjectID])
		if len(calls) != 2 {
			t.Fatalf("the job on %s made %d calls, want 2", r.record.Target, len(calls))
		}
		if got := calls[1].at.Sub(calls[0].answered); got < 3*time.Second {
			t.Errorf("the job on %s called again after %s, want at least 3s", r.record.Target, got)
		}
		if due := r.record.Attempts[0].RetryAt; calls[1].at.Before(due) {
			t.Errorf("the job on %s called again %s before its retry_at", r.record.Target, due.Sub(calls[1].at))
		}
	}
}

func TestEventsThatCameWhileNoWorkerRan(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.NATS.URL = startNATS(t, nil).ClientURL()
	w := rig.launch(t)
	w.awaitReady()
	w.connected(t)
	w.stop()
	const events = 20
	for n := range events {
		w.publish("incident", x509Disable(hexID(n)).String())
	}
	rig.beside("worker-2").launch(t)
	w.results(events)
	w.settled()
	if got := len(atlas.requests(adminPath)); got != events {
		t.Errorf("got %d calls, want %d", got, events)
	}
}
