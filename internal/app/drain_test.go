package app_test

import (
	"sync"
	"testing"
	"time"

	"rekey/internal/jobs"
)

// TestStoppedAgainAndAgain stops a worker under load, again and again, while another one of its
// fleet goes on: no attempt counts as failed, no job waits for more than a call, and nothing
// runs twice.
func TestStoppedAgainAndAgain(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Worker.Concurrency, rig.cfg.Worker.DrainTimeout = 4, patience
	atlas.script("/userSecurity", reply{delay: 50 * time.Millisecond}.always())
	w, stopped := twoWorkers(t, rig)
	// As many events as jobs have ended, and some: there is always work, and never a backlog.
	var publisher sync.WaitGroup
	over := make(chan struct{})
	n := 0
	publisher.Go(func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(5 * time.Millisecond):
			}
			if done, err := w.js.Stream(t.Context(), "REKEY_RESULTS"); err != nil || n-int(done.CachedInfo().State.Msgs) > 16 {
				continue
			}
			event := x509Disable(hexID(n)).cloudEvent("urn:siem", hexID(n))
			if _, err := w.js.Publish(t.Context(), "rekey.v1.event.incident", []byte(event)); err == nil {
				n++
			}
		}
	})
	for round := range sized(12, 50) {
		before := len(atlas.requests("/userSecurity"))
		eventually(t, "calls", func() bool { return len(atlas.requests("/userSecurity")) > before+4 })
		stopped.stop()
		stopped = rig.beside("worker-2").launch(t)
		if stopped.awaitReady(); t.Failed() {
			t.Fatalf("round %d", round+1)
		}
	}
	close(over)
	publisher.Wait()
	w.results(n)
	w.settled()
	if repeated := w.tally(t, atlas, n); repeated != 0 {
		t.Errorf("%d calls were made twice", repeated)
	}
	for _, r := range w.results(n) {
		first := r.record.Attempts[0]
		if r.record.AttemptCount != 1 || first.Reason != jobs.ReasonNone {
			t.Errorf("%s has the attempts %s", r.record.Target, encoded(r.record.Attempts))
		}
		// A message that was not given back is redelivered after 15 s.
		if waited := first.StartedAt.Sub(r.record.AcceptedAt); waited > 10*time.Second {
			t.Errorf("%s waited %s for its attempt", r.record.Target, waited)
		}
	}
}
