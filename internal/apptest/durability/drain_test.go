package durability_test

import (
	"sync"
	"testing"
	"time"

	"rekey/internal/apptest"
	"rekey/internal/jobs"
)

// TestStoppedAgainAndAgain stops a worker under load, again and again, while another one of its
// fleet goes on: no attempt counts as failed, no job waits for more than a call, and nothing
// runs twice.
func TestStoppedAgainAndAgain(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Worker.Concurrency, rig.Cfg.Worker.DrainTimeout = 4, apptest.Patience
	atlas.Script("/userSecurity", apptest.Reply{Delay: 50 * time.Millisecond}.Always())
	w, stopped := apptest.TwoWorkers(t, rig)
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
			results, err := w.Js.Stream(t.Context(), "REKEY_RESULTS")
			if err != nil {
				continue
			}
			if done, err := apptest.CountSubjects(t.Context(), results, "rekey.v1.result.>"); err != nil || n-done > 16 {
				continue
			}
			event := apptest.X509Disable(apptest.HexID(n)).CloudEvent("urn:siem", apptest.HexID(n))
			if _, err := w.Js.Publish(t.Context(), "rekey.v1.event.incident", []byte(event)); err == nil {
				n++
			}
		}
	})
	for round := range apptest.Sized(12, 50) {
		before := len(atlas.Requests("/userSecurity"))
		apptest.Eventually(t, "calls", func() bool { return len(atlas.Requests("/userSecurity")) > before+4 })
		stopped.Stop()
		stopped = rig.Beside("worker-2").Launch(t)
		if stopped.AwaitReady(); t.Failed() {
			t.Fatalf("round %d", round+1)
		}
	}
	close(over)
	publisher.Wait()
	w.Results(n)
	w.Settled()
	if repeated := w.Tally(t, atlas, n); repeated != 0 {
		t.Errorf("%d calls were made twice", repeated)
	}
	for _, r := range w.Results(n) {
		first := r.Record.Attempts[0]
		if r.Record.AttemptCount != 1 || first.Reason != jobs.ReasonNone {
			t.Errorf("%s has the attempts %s", r.Record.Target, apptest.Encoded(r.Record.Attempts))
		}
		// A message that was not given back is redelivered after 15 s.
		if waited := first.StartedAt.Sub(r.Record.AcceptedAt); waited > 10*time.Second {
			t.Errorf("%s waited %s for its attempt", r.Record.Target, waited)
		}
	}
}
