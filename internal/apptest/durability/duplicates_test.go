package durability_test

import (
	"fmt"
	"testing"

	"rekey/internal/apptest"
	"rekey/internal/jobs"
)

func TestTheSameCloudEvent200TimesIsOneJobAndOneCall(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	w := rig.Start(t)
	const copies = 200
	if got := w.Copies(copies, apptest.JwksRevoke(apptest.HexID(1)).CloudEvent("urn:siem", "alert-1"), ""); got != copies {
		t.Fatalf("NATS took %d copies, want %d", got, copies)
	}
	w.Settled()
	w.DidOnce(t, atlas, "/jwks")
	w.AwaitMetrics(map[string]float64{
		`rekey_events_received_total{result="accepted"}`:                             1,
		`rekey_events_received_total{result="duplicate"}`:                            copies - 1,
		`rekey_jobs_enqueued_total{kind="jwks.revoke",lane="urgent",origin="event"}`: 1,
		`rekey_jobs_finished_total{kind="jwks.revoke",outcome="revoked"}`:            1,
		`rekey_job_attempts_total{kind="jwks.revoke",reason="none"}`:                 1,
		`rekey_atlas_requests_total{code="204",operation="jwks.revoke"}`:             1,
		`rekey_job_duration_seconds_count{kind="jwks.revoke",outcome="revoked"}`:     1,
		`rekey_job_first_attempt_delay_seconds_count{lane="urgent"}`:                 1,
		`rekey_events_received_total{result="malformed"}`:                            0,
	})
}

func TestTheSameCloudEventAfterTheJobIsDoneIsADuplicate(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	w := rig.Start(t)
	payload := apptest.X509Disable(apptest.HexID(1)).CloudEvent("urn:siem", "alert-1")
	w.Publish("incident", payload)
	w.Results(1)
	w.Publish("incident", payload)
	w.Publish("rotation", payload) // Another class, but the same event.
	w.Settled()
	if calls, results := len(atlas.Requests(apptest.HexID(1))), len(w.Results(1)); calls != 1 || results != 1 {
		t.Errorf("got %d calls and %d results, want one of each", calls, results)
	}
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).CloudEvent("urn:siem", "alert-2"))
	if got := len(w.Results(2)); got != 2 {
		t.Errorf("another event for the same target makes %d results, want 2", got)
	}
}

func TestTheSameMessageIDIsOneJob(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	w := rig.Start(t)
	payload := apptest.X509Disable(apptest.HexID(1)).String()
	if first := w.Publish("incident", payload, "Nats-Msg-Id", "alert-1"); first.Duplicate {
		t.Error("the first is a duplicate")
	}
	w.Publish("incident", payload, "Nats-Msg-Id", "alert-1")
	w.Publish("rotation", payload, "Nats-Msg-Id", "alert-1")
	w.Settled()
	results := len(w.Results(1)) // Awaited, and the call was before it.
	if calls := len(atlas.Requests(apptest.HexID(1))); calls != 1 || results != 1 {
		t.Errorf("got %d calls and %d results, want one of each", calls, results)
	}
}

func TestOtherEventsForTheTargetOfAWaitingJobJoinIt(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	project := apptest.HexID(1)
	atlas.Script(project, apptest.RetryAfter(429, "3600").Always())
	w := rig.Start(t)
	client := w.Operator()
	defer client.Close()
	w.Publish("rotation", apptest.X509Disable(project).CloudEvent("urn:siem", "alert-1"))
	first := w.RecordOf(project, func(r jobs.PublicRecord) bool { return r.State == jobs.StateWaiting })
	later, err := client.Submit(t.Context(), "urn:operator", "ticket-1", apptest.X509Disable(project))
	if err != nil {
		t.Fatal(err)
	}
	w.Publish("incident", apptest.X509Disable(project).CloudEvent("urn:siem", "alert-2"))
	joined := w.RecordOf(project, func(r jobs.PublicRecord) bool { return r.EventCount == 3 })
	if joined.JobID != first.JobID || len(joined.Events) != 3 || joined.Lane != jobs.LaneUrgent {
		t.Errorf("the record is %s, want three events, in the lane of the most urgent one", apptest.Encoded(joined))
	}
	if found, err := client.Job(t.Context(), later.JobID); err != nil || found.JobID != first.JobID {
		t.Errorf("the sender of a joined event finds job %q (%v), want %s", found.JobID, err, first.JobID)
	}
	apptest.Eventually(t, "the events to be counted", func() bool { return w.Metrics()[`rekey_events_received_total{result="duplicate"}`] == 2 })
	if got := len(atlas.Requests(project)); got != 1 {
		t.Errorf("got %d calls, want 1: the job still waits", got)
	}
}

// runningJob is a job on a project whose call is not answered until release is closed.
func runningJob(t *testing.T) (w *apptest.Worker, atlas *apptest.StandIn, project string, release chan struct{}) {
	t.Helper()
	rig, atlas := apptest.StandInRig(t)
	project, release = apptest.HexID(1), make(chan struct{})
	atlas.Script(project, apptest.Holding(release))
	w = rig.Start(t)
	w.Publish("rotation", apptest.X509Disable(project).String())
	atlas.Await(t, project, 1)
	return w, atlas, project, release
}

func TestOtherEventsForTheTargetOfARunningJobJoinIt(t *testing.T) {
	t.Parallel()
	w, atlas, project, release := runningJob(t)
	const others = 20
	for n := range others {
		w.Publish("rotation", apptest.X509Disable(project).CloudEvent("urn:siem", fmt.Sprint("alert-", n)))
	}
	w.RecordOf(project, func(r jobs.PublicRecord) bool { return r.EventCount == others+1 })
	close(release)
	w.Settled()
	results := w.Results(1)
	if len(results) != 1 || results[0].Record.EventCount != others+1 || results[0].Record.AttemptCount != 1 {
		t.Errorf("got %d results, the first with %d events and %d attempts, want 1 with %d and 1",
			len(results), results[0].Record.EventCount, results[0].Record.AttemptCount, others+1)
	}
	if got := len(atlas.Requests(project)); got != 1 {
		t.Errorf("got %d calls, want 1", got)
	}
}

func TestCoalesceFalseIsAJobOfItsOwn(t *testing.T) {
	t.Parallel()
	w, atlas, project, release := runningJob(t)
	w.Publish("rotation", apptest.X509Disable(project).With("coalesce", false).String())
	own := w.Results(1)[0].Record
	if own.Outcome != jobs.OutcomeRevoked || own.EventCount != 1 {
		t.Errorf("the job of its own is %s with %d events", own.Outcome, own.EventCount)
	}
	close(release)
	if got := len(w.Results(2)); got != 2 {
		t.Errorf("got %d results, want 2", got)
	}
	if got := len(atlas.Requests(project)); got != 2 {
		t.Errorf("got %d calls, want 2", got)
	}
}
