package app_test

import (
	"cmp"
	"testing"
	"time"

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
			r, atlas := standInRig(t)
			r.cfg.Atlas.Timeout, r.cfg.Worker.Concurrency = longLease, 2
			const n = 12 // Two are in flight, others were handed over and are not begun.
			inFlight := r.cfg.Worker.Concurrency
			if isFleet {
				r.cfg.NATS.URL, r.cfg.Worker.Name = startNATS(t, nil).ClientURL(), r.name
			}
			atlas.script("customerX509", holding(make(chan struct{})), holding(make(chan struct{})))
			process, url := r.startToKill(t)
			publisher := dialNATS(t, cmp.Or(url, r.cfg.NATS.URL))
			for i := 1; i <= n; i++ {
				publisher.publish("incident", x509Disable(hexID(i)).String())
			}
			atlas.await(t, "customerX509", inFlight)
			process.kill()
			publisher.nc.Close()
			w := r.launch(t)
			w.awaitReady()
			w.stranger = dialNATS(t, cmp.Or(w.NATS, r.cfg.NATS.URL))
			interrupted := 0
			for _, result := range w.results(n) {
				if result.record.Outcome != jobs.OutcomeRevoked {
					t.Errorf("a job is %s", encoded(result.record))
				}
				if result.record.Attempts[0].Reason == jobs.ReasonInterrupted && result.record.AttemptsMaybeEffective == 2 {
					interrupted++
				}
			}
			if calls := len(atlas.requests("customerX509")); interrupted != inFlight || calls != n+inFlight {
				t.Errorf("%d jobs were interrupted, with %d calls in flight; there were %d calls for %d jobs", interrupted, inFlight, calls, n)
			}
		})
	}
}

// TestTwoWorkersOfOneName: as long as a process of a worker's name lives, another one under that name takes nothing from it,
// and says which setting is wrong.
func TestTwoWorkersOfOneName(t *testing.T) {
	t.Parallel()
	r, atlas := standInRig(t)
	r.cfg.Atlas.Timeout = longLease
	r.cfg.NATS.URL, r.cfg.Worker.Name = startNATS(t, nil).ClientURL(), r.name
	release := make(chan struct{})
	atlas.script(hexID(1), holding(release))
	first := r.launch(t)
	first.awaitReady()
	w := first.connected(t)
	w.publish("incident", x509Disable(hexID(1)).String())
	atlas.await(t, hexID(1), 1)
	second := r.beside(r.name).launch(t)
	second.awaitReady()
	const said = "another process that runs has the same worker.name: give each worker a name of its own; until then claims keep their lease"
	if r.logs.FilterMessage(said).Len() != 1 {
		t.Error("the log does not say that two workers have one name")
	}
	w.publish("incident", x509Disable(hexID(2)).String())
	w.results(1)
	close(release)
	w.results(2)
	if calls := len(atlas.requests(hexID(1))); calls != 1 {
		t.Errorf("the job of the first one was called %d times", calls)
	}
}
