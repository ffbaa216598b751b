package durability_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"rekey/internal/apptest"
	"rekey/internal/jobs"
)

// notReady is what a worker logs that has no NATS yet.
const notReady = "JetStream is not ready"

// withoutNATS is a rig whose external server is not running: it starts with the returned options.
func withoutNATS(t *testing.T) (*apptest.Rig, *apptest.StandIn, func(*server.Options)) {
	t.Helper()
	address := apptest.FreeAddress(t)
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.NATS.URL, rig.Cfg.HTTP.Listen = "nats://"+address, apptest.FreeAddress(t)
	return rig, atlas, apptest.At(t, address, t.TempDir())
}

func TestWorkerStartsBeforeNATS(t *testing.T) {
	t.Parallel()
	rig, _, options := withoutNATS(t)
	w := rig.Launch(t)
	w.HTTP = rig.Cfg.HTTP.Listen
	apptest.Eventually(t, "the worker to miss NATS", func() bool { return rig.Logs.FilterMessage(notReady).Len() > 0 })
	if status, _, body := w.Get("/readyz", ""); status != 503 {
		t.Errorf("/readyz is %d %s, want 503", status, body)
	}
	if status, _, _ := w.Get("/healthz", ""); status != 200 {
		t.Errorf("/healthz is %d, want 200", status)
	}
	if got := w.Metrics()["rekey_nats_connected"]; got != 0 {
		t.Errorf("rekey_nats_connected is %v, want 0", got)
	}
	apptest.StartNATS(t, options)
	w.AwaitReady()
	w.Connected(t)
	if status, _, body := w.Get("/readyz", ""); status != 200 {
		t.Errorf("/readyz is %d %s, want 200", status, body)
	}
	if got := w.Metrics()["rekey_nats_connected"]; got != 1 {
		t.Errorf("rekey_nats_connected is %v, want 1", got)
	}
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String())
	if got := w.Results(1)[0].Record.Outcome; got != jobs.OutcomeRevoked {
		t.Errorf("the outcome is %s, want revoked", got)
	}
	w.Stop() // Before NATS, which started later, is stopped.
}

func TestWorkerStopsWhileNATSIsAway(t *testing.T) {
	t.Parallel()
	rig, _, _ := withoutNATS(t)
	w := rig.Launch(t)
	apptest.Eventually(t, "the worker to miss NATS", func() bool { return rig.Logs.FilterMessage(notReady).Len() > 0 })
	w.Stop()
}

func TestNATSRestartsInTheMiddle(t *testing.T) {
	t.Parallel()
	rig, atlas, options := withoutNATS(t)
	rig.Cfg.Worker.Concurrency = 1
	nats := apptest.StartNATS(t, options)
	release := make(chan struct{})
	atlas.Script(apptest.HexID(0), apptest.Holding(release))
	w := rig.Launch(t)
	w.AwaitReady()
	w.Connected(t)
	const each = 20
	w.Publish("incident", apptest.X509Disable(apptest.HexID(0)).String())
	atlas.Await(t, apptest.HexID(0), 1)
	for n := range each - 1 { // They wait in the queue, or in the worker's hand.
		w.Publish("incident", apptest.X509Disable(apptest.HexID(1+n)).String())
	}
	apptest.Eventually(t, "the events to be taken in", w.Taken)
	apptest.StopNATS(nats)
	apptest.Eventually(t, "the worker to see that NATS is away", func() bool {
		status, _, body := w.Get("/readyz", "")
		return status == 503 && strings.Contains(body, "not connected to NATS at ") && w.Metrics()["rekey_nats_connected"] == 0
	})
	_, _, body := w.Get("/readyz", "")
	for _, check := range []string{"permissions", "streams", "storage", "clock"} {
		if strings.Contains(body, `"`+check+`","ok":true`) {
			t.Errorf("/readyz calls %s well, which cannot be known: %s", check, body)
		}
	}
	close(release) // The answer comes while nothing can be recorded.
	apptest.StartNATS(t, options)
	apptest.Eventually(t, "the worker to be back", func() bool {
		status, _, _ := w.Get("/readyz", "")
		return status == 200
	})
	apptest.Eventually(t, "the stranger to be back", w.Nc.IsConnected)
	if got := w.Metrics()["rekey_nats_reconnects_total"]; got != 1 {
		t.Errorf("%v reconnections are counted, want 1", got)
	}
	for n := range each {
		w.Publish("incident", apptest.X509Disable(apptest.HexID(each+n)).String())
	}
	done := map[string]int{}
	for _, r := range w.Results(2 * each) {
		done[r.Record.Target]++
		if !r.Record.Outcome.Success() {
			t.Errorf("%s is %s: %s", r.Record.Target, r.Record.Outcome, r.Record.Detail)
		}
	}
	for n := range 2 * each {
		if got := done["project/"+apptest.HexID(n)]; got != 1 {
			t.Errorf("project %d has %d results, want 1", n, got)
		}
	}
	if got := fmt.Sprint(w.ResultOf(apptest.HexID(0)).AttemptCount, len(atlas.Requests(apptest.HexID(0)))); got != "1 1" {
		t.Errorf("the call in flight has attempts and calls %s, want 1 1: its answer was there", got)
	}
	w.Stop() // Before NATS, which started later, is stopped.
}
