package app_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"rekey/internal/jobs"
)

// notReady is what a worker logs that has no NATS yet.
const notReady = "JetStream is not ready"

// withoutNATS is a rig whose external server is not running: it starts with the returned options.
func withoutNATS(t *testing.T) (*rig, *standIn, func(*server.Options)) {
	t.Helper()
	address := freeAddress(t)
	rig, atlas := standInRig(t)
	rig.cfg.NATS.URL, rig.cfg.HTTP.Listen = "nats://"+address, freeAddress(t)
	return rig, atlas, at(t, address, t.TempDir())
}

func TestWorkerStartsBeforeNATS(t *testing.T) {
	t.Parallel()
	rig, _, options := withoutNATS(t)
	w := rig.launch(t)
	w.HTTP = rig.cfg.HTTP.Listen
	eventually(t, "the worker to miss NATS", func() bool { return rig.logs.FilterMessage(notReady).Len() > 0 })
	if status, _, body := w.get("/readyz", ""); status != 503 {
		t.Errorf("/readyz is %d %s, want 503", status, body)
	}
	if status, _, _ := w.get("/healthz", ""); status != 200 {
		t.Errorf("/healthz is %d, want 200", status)
	}
	if got := w.metrics()["rekey_nats_connected"]; got != 0 {
		t.Errorf("rekey_nats_connected is %v, want 0", got)
	}
	startNATS(t, options)
	w.awaitReady()
	w.connected(t)
	if status, _, body := w.get("/readyz", ""); status != 200 {
		t.Errorf("/readyz is %d %s, want 200", status, body)
	}
	if got := w.metrics()["rekey_nats_connected"]; got != 1 {
		t.Errorf("rekey_nats_connected is %v, want 1", got)
	}
	w.publish("incident", x509Disable(hexID(1)).String())
	if got := w.results(1)[0].record.Outcome; got != jobs.OutcomeRevoked {
		t.Errorf("the outcome is %s, want revoked", got)
	}
	w.stop() // Before NATS, which started later, is stopped.
}

func TestWorkerStopsWhileNATSIsAway(t *testing.T) {
	t.Parallel()
	rig, _, _ := withoutNATS(t)
	w := rig.launch(t)
	eventually(t, "the worker to miss NATS", func() bool { return rig.logs.FilterMessage(notReady).Len() > 0 })
	w.stop()
}

func TestNATSRestartsInTheMiddle(t *testing.T) {
	t.Parallel()
	rig, atlas, options := withoutNATS(t)
	rig.cfg.Worker.Concurrency = 1
	nats := startNATS(t, options)
	release := make(chan struct{})
	atlas.script(hexID(0), holding(release))
	w := rig.launch(t)
	w.awaitReady()
	w.connected(t)
	const each = 20
	w.publish("incident", x509Disable(hexID(0)).String())
	atlas.await(t, hexID(0), 1)
	for n := range each - 1 { // They wait in the queue, or in the worker's hand.
		w.publish("incident", x509Disable(hexID(1+n)).String())
	}
	eventually(t, "the events to be taken in", w.taken)
	stopNATS(nats)
	eventually(t, "the worker to see that NATS is away", func() bool {
		status, _, body := w.get("/readyz", "")
		return status == 503 && strings.Contains(body, "not connected to NATS at ") && w.metrics()["rekey_nats_connected"] == 0
	})
	close(release) // The answer comes while nothing can be recorded.
	startNATS(t, options)
	eventually(t, "the worker to be back", func() bool {
		status, _, _ := w.get("/readyz", "")
		return status == 200
	})
	eventually(t, "the stranger to be back", w.nc.IsConnected)
	if got := w.metrics()["rekey_nats_reconnects_total"]; got != 1 {
		t.Errorf("%v reconnections are counted, want 1", got)
	}
	for n := range each {
		w.publish("incident", x509Disable(hexID(each+n)).String())
	}
	done := map[string]int{}
	for _, r := range w.results(2 * each) {
		done[r.record.Target]++
		if !r.record.Outcome.Success() {
			t.Errorf("%s is %s: %s", r.record.Target, r.record.Outcome, r.record.Detail)
		}
	}
	for n := range 2 * each {
		if got := done["project/"+hexID(n)]; got != 1 {
			t.Errorf("project %d has %d results, want 1", n, got)
		}
	}
	if got := fmt.Sprint(w.resultOf(hexID(0)).AttemptCount, len(atlas.requests(hexID(0)))); got != "1 1" {
		t.Errorf("the call in flight has attempts and calls %s, want 1 1: its answer was there", got)
	}
	w.stop() // Before NATS, which started later, is stopped.
}
