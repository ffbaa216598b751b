package app_test

import (
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"rekey/internal/jobs"
)

// forgetful makes streams remember the ids of their messages as shortly as the server allows.
func (s *stranger) forgetful(streams ...string) {
	s.t.Helper()
	for _, stream := range streams {
		st, err := s.js.Stream(s.t.Context(), stream)
		if err != nil {
			s.t.Fatal(err)
		}
		cfg := st.CachedInfo().Config
		cfg.Duplicates = 100 * time.Millisecond
		if _, err := s.js.UpdateStream(s.t.Context(), cfg); err != nil {
			s.t.Fatal(err)
		}
	}
}

// copies publishes n copies of an event in parallel and returns how many of them the stream
// took as new.
func (s *stranger) copies(n int, payload, id string) (stored int) {
	s.t.Helper()
	var publishers sync.WaitGroup
	var mu sync.Mutex
	for range n {
		publishers.Go(func() {
			msg := &nats.Msg{Subject: "rekey.v1.event.incident", Data: []byte(payload), Header: nats.Header{}}
			if id != "" {
				msg.Header.Set(nats.MsgIdHdr, id)
			}
			ack, err := s.js.PublishMsg(s.t.Context(), msg)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				s.t.Error(err) // Not Fatal: this is another goroutine.
			} else if !ack.Duplicate {
				stored++
			}
		})
	}
	publishers.Wait()
	return stored
}

// didOnce checks that there is one job, of which one call and one result came.
func (w *worker) didOnce(t *testing.T, atlas *standIn, part string) {
	t.Helper()
	if got := len(w.results(1)); got != 1 {
		t.Errorf("got %d results, want 1", got)
	}
	if got := len(atlas.requests(part)); got != 1 {
		t.Errorf("got %d calls, want 1", got)
	}
	if got := len(w.records("")); got != 1 {
		t.Errorf("the ledger has %d jobs, want 1", got)
	}
}

// TestAThousandCopiesOverTwoWorkers publishes one event a thousand times, in parallel, over two
// workers: within the window in which NATS drops copies itself, after it, and past it. It is one
// job with one call.
func TestAThousandCopiesOverTwoWorkers(t *testing.T) {
	t.Parallel()
	const half = 500
	for _, tt := range []struct {
		name, id string
		want     int // How many copies NATS takes as new, of each half.
	}{
		{"NATS does not know that they are copies", "", half},
		{"NATS drops copies within its window", "alert-1", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rig, atlas := standInRig(t)
			w, _ := twoWorkers(t, rig)
			w.forgetful("REKEY_EVENTS", "REKEY_JOBS", "REKEY_RESULTS", "REKEY_DLQ")
			payload := jwksRevoke(hexID(1)).cloudEvent("urn:siem", "alert-1")
			if got := w.copies(half, payload, tt.id); got < tt.want {
				t.Errorf("NATS took %d copies", got)
			}
			<-time.After(200 * time.Millisecond) // The streams forget.
			if got := w.copies(half, payload, tt.id); got < tt.want {
				t.Errorf("after the window NATS took %d copies", got)
			}
			w.settled()
			w.didOnce(t, atlas, "/jwks")
		})
	}
}

// TestEveryJoinedSenderFindsTheResult lets a hundred different events ask for the same target at
// once, over two workers. Whoever sent one finds the result under the id of its own job.
func TestEveryJoinedSenderFindsTheResult(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	project := hexID(1)
	release := make(chan struct{})
	atlas.script(project, holding(release))
	w, _ := twoWorkers(t, rig)
	client := w.operator()
	defer client.Close()
	const senders = 100
	ids := make(chan string, senders)
	var all sync.WaitGroup
	for n := range senders {
		all.Go(func() {
			lane := jobs.Names(jobs.Lanes())[n%3]
			done, err := client.Submit(t.Context(), "urn:siem", hexID(n), x509Disable(project).with("lane", lane))
			if err != nil {
				t.Error(err) // Not Fatal: this is another goroutine.
			}
			ids <- done.JobID
		})
	}
	all.Wait()
	close(ids)
	eventually(t, "the events to be taken in", w.taken)
	close(release)
	w.settled()
	results := w.results(1)
	if len(results) != 1 || results[0].record.EventCount != senders || results[0].record.Lane != jobs.LaneUrgent {
		t.Fatalf("%d results, the first is %s", len(results), encoded(results[0].record))
	}
	if got := len(atlas.requests(project)); got != 1 {
		t.Errorf("got %d calls, want 1", got)
	}
	for id := range ids {
		if found, err := client.Ledger.Find(t.Context(), id); err != nil || found.JobID != results[0].record.JobID || !found.Outcome.Success() {
			t.Errorf("the sender of %s finds %s (%v)", id, encoded(found), err)
		}
	}
}
