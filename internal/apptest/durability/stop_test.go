package durability_test

import (
	"strings"
	"testing"
	"time"

	"rekey/internal/apptest"
	"rekey/internal/jobs"
)

// mustEndWith checks the last line of a worker's log: what became of the jobs that it had, and how long the stop took.
func mustEndWith(t *testing.T, r *apptest.Rig, want map[string]int64) map[string]any {
	t.Helper()
	lines := r.Logs.All()
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
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Worker.DrainTimeout = apptest.Patience
	project := apptest.HexID(1)
	release := make(chan struct{})
	atlas.Script(project, apptest.Holding(release))
	w := rig.Start(t)
	w.Publish("incident", apptest.X509Disable(project).String())
	atlas.Await(t, project, 1)
	w.Cancel(apptest.ErrTestOver)
	select {
	case err := <-w.Ended:
		t.Fatalf("the worker ended (%v) during a call", err)
	case <-time.After(500 * time.Millisecond):
	}
	close(release)
	w.Stop()
	mustEndWith(t, rig, map[string]int64{"jobs_finished": 1, "jobs_put_back": 0, "jobs_cut_off": 0})
	next := rig.Start(t)
	record := next.ResultOf(project)
	next.Settled()
	if record.Outcome != jobs.OutcomeRevoked || record.AttemptCount != 1 || len(atlas.Requests(project)) != 1 {
		t.Errorf("%s after %d attempts and %d calls, want revoked after one", record.Outcome, record.AttemptCount, len(atlas.Requests(project)))
	}
	if got := next.Count("REKEY_RESULTS"); got != 1 {
		t.Errorf("there are %d results, want 1", got)
	}
}

func TestStopCutsOffACallThatTakesTooLong(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Worker.DrainTimeout = 100 * time.Millisecond
	rig.Cfg.Retry.MaxAttempts = 1 // The cut-off attempt is not spent, or there would be no other.
	project := apptest.HexID(1)
	atlas.Script(project, apptest.Holding(make(chan struct{})))
	w := rig.Start(t)
	w.Publish("incident", apptest.X509Disable(project).String())
	atlas.Await(t, project, 1)
	w.Stop()
	mustEndWith(t, rig, map[string]int64{"jobs_finished": 0, "jobs_put_back": 0, "jobs_cut_off": 1})
	next := rig.Start(t)
	record := next.ResultOf(project)
	if record.Outcome != jobs.OutcomeRevoked || record.AttemptCount != 2 || record.AttemptsSpent != 1 {
		t.Fatalf("%s with %d of %d attempts spent, want revoked with 1 of 2", record.Outcome, record.AttemptsSpent, record.AttemptCount)
	}
	if first := record.Attempts[0]; first.Reason != jobs.ReasonInterrupted || !first.MaybeEffective {
		t.Errorf("the first attempt is %s, want interrupted, maybe with effect", apptest.Encoded(first))
	}
	if got := len(atlas.Requests(project)); got != 2 {
		t.Errorf("got %d calls, want 2", got)
	}
}

func TestQueuedJobsAreRunByTheNextWorker(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Worker.Concurrency, rig.Cfg.Worker.DrainTimeout = 1, apptest.Patience
	release := make(chan struct{})
	atlas.Script(apptest.HexID(0), apptest.Holding(release))
	w := rig.Start(t)
	const queued = 10
	w.Publish("incident", apptest.X509Disable(apptest.HexID(0)).String())
	atlas.Await(t, apptest.HexID(0), 1)
	for n := range queued {
		w.Publish("rotation", apptest.X509Disable(apptest.HexID(1+n)).String())
	}
	apptest.Eventually(t, "the events to be taken in", w.Taken)
	w.Cancel(apptest.ErrTestOver)
	apptest.Eventually(t, "the worker to stop", func() bool {
		_, _, body := w.Get("/readyz", "")
		return strings.Contains(body, "stopping")
	})
	close(release)
	w.Stop()
	last := mustEndWith(t, rig, map[string]int64{"jobs_finished": 1, "jobs_cut_off": 0})
	if back, _ := last["jobs_put_back"].(int64); back < 1 || back > 3 {
		// It pulls up to twice as many jobs ahead as it has slots, and the job under way may have been queued after 8 s.
		t.Errorf("the last line says that %d jobs were put back, want 1 to 3", back)
	}
	if got := len(atlas.Requests(apptest.AdminPath)); got != 1 {
		t.Errorf("the worker made %d calls after the signal to stop, want none", got-1)
	}
	next := rig.Beside("worker-2").Start(t)
	for _, r := range next.Results(queued + 1) {
		if r.Record.Outcome != jobs.OutcomeRevoked || r.Record.AttemptCount != 1 {
			t.Errorf("%s is %s after %d attempts, want revoked after 1", r.Record.Target, r.Record.Outcome, r.Record.AttemptCount)
		}
	}
	next.Settled()
	if got := len(atlas.Requests(apptest.AdminPath)); got != queued+1 {
		t.Errorf("got %d calls, want one for each of %d jobs", got, queued+1)
	}
}

func TestWaitingJobsAreRunByTheNextWorkerWhenTheyAreDue(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Retry.Base, rig.Cfg.Retry.Cap = 3*time.Second, 3*time.Second
	replies := []apptest.Reply{apptest.RetryAfter(429, "3"), apptest.Problem(500, "UNEXPECTED_ERROR")}
	const jobsInAll = 6
	for n := range jobsInAll {
		atlas.Script(apptest.HexID(n), replies[n%2])
	}
	w := rig.Start(t)
	for n := range jobsInAll {
		w.Publish("incident", apptest.X509Disable(apptest.HexID(n)).String())
	}
	for n := range jobsInAll { // On a busy machine the first of them may run again before the last has failed.
		w.RecordOf(apptest.HexID(n), func(r jobs.PublicRecord) bool { return len(r.Attempts) > 0 && !r.Attempts[0].FinishedAt.IsZero() })
	}
	w.Stop()
	next := rig.Start(t) // The server rounds delays to seconds over a restart, and so comes early.
	for _, r := range next.Results(jobsInAll) {
		calls := atlas.Requests(r.Record.Params["project_id"])
		if len(calls) != 2 {
			t.Fatalf("the job on %s made %d calls, want 2", r.Record.Target, len(calls))
		}
		if got := calls[1].At.Sub(calls[0].Answered); got < 3*time.Second {
			t.Errorf("the job on %s called again after %s, want at least 3s", r.Record.Target, got)
		}
		if due := r.Record.Attempts[0].RetryAt; calls[1].At.Before(due) {
			t.Errorf("the job on %s called again %s before its retry_at", r.Record.Target, due.Sub(calls[1].At))
		}
	}
}

func TestEventsThatCameWhileNoWorkerRan(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.NATS.URL = apptest.StartNATS(t, nil).ClientURL()
	w := rig.Launch(t)
	w.AwaitReady()
	w.Connected(t)
	w.Stop()
	const events = 20
	for n := range events {
		w.Publish("incident", apptest.X509Disable(apptest.HexID(n)).String())
	}
	rig.Beside("worker-2").Launch(t)
	w.Results(events)
	w.Settled()
	if got := len(atlas.Requests(apptest.AdminPath)); got != events {
		t.Errorf("got %d calls, want %d", got, events)
	}
}
