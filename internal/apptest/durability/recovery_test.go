package durability_test

import (
	"cmp"
	"testing"
	"time"

	"rekey/internal/apptest"
	"rekey/internal/jobs"
)

// longLease is the time of a call whose lease outlasts every test.
const longLease = 5 * time.Minute

// TestAKilledWorkersJobsComeAtOnce: the successor goes on with what its predecessor held, long before any lease is over:
// with an embedded server, whose store only one process can have, and in a fleet under the same name. What the killed one
// was doing is recorded as it is without that: an attempt that may have taken effect.
func TestAKilledWorkersJobsComeAtOnce(t *testing.T) {
	t.Parallel()
	for name, isFleet := range map[string]bool{"embedded": false, "fleet": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, atlas := apptest.StandInRig(t)
			r.Cfg.Atlas.Timeout, r.Cfg.Worker.Concurrency = longLease, 2
			const n = 12 // Two are in flight, others were handed over and are not begun.
			inFlight := r.Cfg.Worker.Concurrency
			if isFleet {
				r.Cfg.NATS.URL, r.Cfg.Worker.Name = apptest.StartNATS(t, nil).ClientURL(), r.Name
			}
			atlas.Script("customerX509", apptest.Holding(make(chan struct{})), apptest.Holding(make(chan struct{})))
			process, url := r.StartToKill(t)
			publisher := apptest.DialNATS(t, cmp.Or(url, r.Cfg.NATS.URL))
			for i := 1; i <= n; i++ {
				publisher.Publish("incident", apptest.X509Disable(apptest.HexID(i)).String())
			}
			atlas.Await(t, "customerX509", inFlight)
			process.Kill()
			publisher.Nc.Close()
			w := r.Launch(t)
			w.AwaitReady()
			w.Stranger = apptest.DialNATS(t, cmp.Or(w.NATS, r.Cfg.NATS.URL))
			interrupted := 0
			for _, result := range w.Results(n) {
				if result.Record.Outcome != jobs.OutcomeRevoked {
					t.Errorf("a job is %s", apptest.Encoded(result.Record))
				}
				if result.Record.Attempts[0].Reason == jobs.ReasonInterrupted && result.Record.AttemptsMaybeEffective == 2 {
					interrupted++
				}
			}
			if calls := len(atlas.Requests("customerX509")); interrupted != inFlight || calls != n+inFlight {
				t.Errorf("%d jobs were interrupted, with %d calls in flight; there were %d calls for %d jobs", interrupted, inFlight, calls, n)
			}
		})
	}
}

// TestTwoWorkersOfOneName: as long as a process of a worker's name lives, another one under that name takes nothing from it,
// and says which setting is wrong.
func TestTwoWorkersOfOneName(t *testing.T) {
	t.Parallel()
	r, atlas := apptest.StandInRig(t)
	r.Cfg.Atlas.Timeout = longLease
	r.Cfg.NATS.URL, r.Cfg.Worker.Name = apptest.StartNATS(t, nil).ClientURL(), r.Name
	release := make(chan struct{})
	atlas.Script(apptest.HexID(1), apptest.Holding(release))
	first := r.Launch(t)
	first.AwaitReady()
	w := first.Connected(t)
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String())
	atlas.Await(t, apptest.HexID(1), 1)
	second := r.Beside(r.Name).Launch(t)
	second.AwaitReady()
	const said = "another process that runs has the same worker.name: give each worker a name of its own; until then claims keep their lease"
	if r.Logs.FilterMessage(said).Len() != 1 {
		t.Error("the log does not say that two workers have one name")
	}
	w.Publish("incident", apptest.X509Disable(apptest.HexID(2)).String())
	w.Results(1)
	close(release)
	w.Results(2)
	if calls := len(atlas.Requests(apptest.HexID(1))); calls != 1 {
		t.Errorf("the job of the first one was called %d times", calls)
	}
}

// TestBegunJobsOutliveTheirEvents: a worker is killed during the call of a job that a slot ran at once, and the stream with the event, which
// answers for that job, is deleted before another worker comes. The job goes on from the ledger.
func TestBegunJobsOutliveTheirEvents(t *testing.T) {
	t.Parallel()
	r, atlas := apptest.StandInRig(t)
	r.Cfg.Atlas.Timeout = apptest.CrashTimeout
	r.Cfg.NATS.URL = apptest.StartNATS(t, nil).ClientURL()
	project := apptest.HexID(1)
	atlas.Script(project, apptest.Holding(make(chan struct{})))
	process, _ := r.StartToKill(t)
	w := &apptest.Worker{Stranger: &apptest.Stranger{T: t}, Rig: r}
	w.Connected(t)
	w.Publish("incident", apptest.X509Disable(project).String())
	atlas.Await(t, project, 1)
	if queued := w.Count("REKEY_JOBS"); queued != 0 {
		t.Fatalf("%d jobs are queued: the slot did not run it at once", queued)
	}
	process.Kill()
	if err := w.Js.DeleteStream(t.Context(), "REKEY_EVENTS"); err != nil {
		t.Fatal(err)
	}
	second := r.Beside("worker-2").Launch(t)
	second.AwaitReady()
	ended := w.ResultOf(project)
	if ended.Outcome != jobs.OutcomeRevoked || ended.AttemptCount != 2 || ended.Attempts[0].Reason != jobs.ReasonInterrupted {
		t.Errorf("the job is %s, want revoked by a second attempt", apptest.Encoded(ended))
	}
}
