package durability_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/apptest"
)

// TestPublishersAreRefusedByAFullStream: nothing that was taken is dropped for it.
func TestPublishersAreRefusedByAFullStream(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	w := rig.Start(t)
	w.Bound("REKEY_EVENTS", 4<<10)
	taken := 0
	for ; taken < 1000; taken++ {
		_, err := w.Js.Publish(t.Context(), "rekey.v1.event.incident", []byte(apptest.X509Disable(apptest.HexID(taken)).String()))
		if api, ok := errors.AsType[*jetstream.APIError](err); ok {
			if api.Description != "maximum bytes exceeded" {
				t.Errorf("the publisher is refused with: %v", err)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if taken == 0 || taken == 1000 {
		t.Fatalf("%d events were taken", taken)
	}
	if got := len(w.Results(taken)); got != taken {
		t.Errorf("%d events have %d results", taken, got)
	}
	if got := w.Count("REKEY_EVENTS"); got != taken {
		t.Errorf("the stream has %d events, want the %d that were taken", got, taken)
	}
}

// TestFullStreamsOfTheWorker: while a stream or bucket that the worker writes to is full, events
// and jobs wait, the worker says so, and afterwards each has its one end.
func TestFullStreamsOfTheWorker(t *testing.T) {
	t.Parallel()
	for _, stream := range []string{"REKEY_JOBS", "REKEY_RESULTS", "KV_REKEY_LEDGER", "KV_REKEY_TARGETS"} {
		t.Run(stream, func(t *testing.T) {
			t.Parallel()
			rig, atlas := apptest.StandInRig(t)
			w := rig.Start(t)
			w.Bound(stream, 1) // No message is that small.
			const events = 5
			calls := events
			if stream == "REKEY_JOBS" { // What a slot does at once is not queued before its second attempt.
				atlas.Script("customerX509", slices.Repeat([]apptest.Reply{apptest.Problem(http.StatusServiceUnavailable, "")}, events)...)
				calls += events
			}
			for n := range events {
				w.Publish("incident", apptest.X509Disable(apptest.HexID(n)).String())
			}
			name := strings.TrimPrefix(stream, "KV_")
			apptest.Eventually(t, "the refusals to be counted", func() bool {
				return w.Metrics()[`rekey_nats_publish_refused_total{stream="`+name+`"}`] > 0
			})
			status, _, body := w.Get("/readyz", "")
			if status != 503 || !strings.Contains(body, name+" refuses messages: ") {
				t.Errorf("/readyz is %d %s, want 503 and %s", status, body, name)
			}
			if status, _, _ := w.Get("/healthz", ""); status != 200 {
				t.Errorf("/healthz is %d, want 200: a restart would mend nothing", status)
			}
			w.Bound(stream, 0)
			w.Results(events)
			w.Settled()
			if got := len(w.Results(events)); got != events {
				t.Errorf("%d events have %d results", events, got)
			}
			if got := len(atlas.Requests(apptest.AdminPath)); got != calls {
				t.Errorf("%d events made %d calls, want %d", events, got, calls)
			}
		})
	}
}
