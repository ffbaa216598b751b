package durability_test

import (
	"sync"
	"testing"
	"time"

	"rekey/internal/apptest"
	"rekey/internal/jobs"
)

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
			rig, atlas := apptest.StandInRig(t)
			w, _ := apptest.TwoWorkers(t, rig)
			w.Forgetful("REKEY_EVENTS", "REKEY_JOBS", "REKEY_RESULTS", "REKEY_DLQ")
			payload := apptest.JwksRevoke(apptest.HexID(1)).CloudEvent("urn:siem", "alert-1")
			if got := w.Copies(half, payload, tt.id); got < tt.want {
				t.Errorf("NATS took %d copies", got)
			}
			<-time.After(200 * time.Millisecond) // The streams forget.
			if got := w.Copies(half, payload, tt.id); got < tt.want {
				t.Errorf("after the window NATS took %d copies", got)
			}
			w.Settled()
			w.DidOnce(t, atlas, "/jwks")
		})
	}
}

// TestEveryJoinedSenderFindsTheResult lets a hundred different events ask for the same target at
// once, over two workers. The sender of each finds the result under the id of its own job.
func TestEveryJoinedSenderFindsTheResult(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	project := apptest.HexID(1)
	release := make(chan struct{})
	atlas.Script(project, apptest.Holding(release))
	w, _ := apptest.TwoWorkers(t, rig)
	client := w.Operator()
	defer client.Close()
	const senders = 100
	ids := make(chan string, senders)
	var all sync.WaitGroup
	for n := range senders {
		all.Go(func() {
			lane := jobs.Names(jobs.Lanes())[n%3]
			done, err := client.Submit(t.Context(), "urn:siem", apptest.HexID(n), apptest.X509Disable(project).With("lane", lane))
			if err != nil {
				t.Error(err) // Not Fatal: this is another goroutine.
			}
			ids <- done.JobID
		})
	}
	all.Wait()
	close(ids)
	apptest.Eventually(t, "the events to be taken in", w.Taken)
	close(release)
	w.Settled()
	results := w.Results(1)
	if len(results) != 1 || results[0].Record.EventCount != senders || results[0].Record.Lane != jobs.LaneUrgent {
		t.Fatalf("%d results, the first is %s", len(results), apptest.Encoded(results[0].Record))
	}
	if got := len(atlas.Requests(project)); got != 1 {
		t.Errorf("got %d calls, want 1", got)
	}
	for id := range ids {
		if found, err := client.Job(t.Context(), id); err != nil || found.JobID != results[0].Record.JobID || !found.Outcome.Success() {
			t.Errorf("the sender of %s finds %s (%v)", id, apptest.Encoded(found), err)
		}
	}
}
