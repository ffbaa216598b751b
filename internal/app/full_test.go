package app_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// bound lets a stream hold so many bytes more; 0 takes the limit away.
func (s *stranger) bound(stream string, more int64) {
	s.t.Helper()
	st, err := s.js.Stream(s.t.Context(), stream)
	if err != nil {
		s.t.Fatal(err)
	}
	cfg := st.CachedInfo().Config
	cfg.MaxBytes = -1
	if more > 0 {
		cfg.MaxBytes = int64(st.CachedInfo().State.Bytes) + more
	}
	if _, err := s.js.UpdateStream(s.t.Context(), cfg); err != nil {
		s.t.Fatal(err)
	}
}

// TestPublishersAreRefusedByAFullStream: nothing that was taken is dropped for it.
func TestPublishersAreRefusedByAFullStream(t *testing.T) {
	t.Parallel()
	rig, _ := standInRig(t)
	w := rig.start(t)
	w.bound("REKEY_EVENTS", 4<<10)
	taken := 0
	for ; taken < 1000; taken++ {
		_, err := w.js.Publish(t.Context(), "rekey.v1.event.incident", []byte(x509Disable(hexID(taken)).String()))
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
	if got := len(w.results(taken)); got != taken {
		t.Errorf("%d events have %d results", taken, got)
	}
	if got := w.count("REKEY_EVENTS"); got != taken {
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
			rig, atlas := standInRig(t)
			w := rig.start(t)
			w.bound(stream, 1) // No message is that small.
			const events = 5
			for n := range events {
				w.publish("incident", x509Disable(hexID(n)).String())
			}
			name := strings.TrimPrefix(stream, "KV_")
			eventually(t, "the refusals to be counted", func() bool {
				return w.metrics()[`rekey_nats_publish_refused_total{stream="`+name+`"}`] > 0
			})
			status, _, body := w.get("/readyz", "")
			if status != 503 || !strings.Contains(body, name+" refuses messages: ") {
				t.Errorf("/readyz is %d %s, want 503 and %s", status, body, name)
			}
			if status, _, _ := w.get("/healthz", ""); status != 200 {
				t.Errorf("/healthz is %d, want 200: a restart would mend nothing", status)
			}
			w.bound(stream, 0)
			w.results(events)
			w.settled()
			if got := len(w.results(events)); got != events {
				t.Errorf("%d events have %d results", events, got)
			}
			if got := len(atlas.requests(adminPath)); got != events {
				t.Errorf("%d events made %d calls", events, got)
			}
		})
	}
}
