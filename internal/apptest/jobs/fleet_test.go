package jobs_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"rekey/internal/apptest"
	"rekey/internal/config"
	"rekey/internal/jobs"
)

func TestScheduleFiresOnTheSamePath(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Schedules = []config.Schedule{apptest.EverySecond("nightly", apptest.HexID(1))}
	started := time.Now()
	w := rig.Start(t)
	for _, r := range w.Results(2) {
		got := r.Record
		if got.Outcome != jobs.OutcomeRevoked || got.Origin != jobs.OriginSchedule || got.Lane != jobs.LaneNormal ||
			got.Reason != "rotation" || got.RequestedBy != "schedule nightly" {
			t.Errorf("the record is %s", apptest.Encoded(got))
		}
		if event := got.Events[0]; event.Subject != "rekey.v1.event.schedule" || event.Source != "rekey/schedule/nightly" {
			t.Errorf("the event is %s", apptest.Encoded(event))
		}
	}
	if got := len(atlas.Requests(apptest.HexID(1))); got < 2 {
		t.Errorf("got %d calls, want one for each tick", got)
	}
	samples := w.Metrics()
	last := samples[`rekey_schedule_last_fire_timestamp_seconds{schedule="nightly"}`]
	next := samples[`rekey_schedule_next_fire_timestamp_seconds{schedule="nightly"}`]
	if last < float64(started.Unix()) || next < last {
		t.Errorf("the last fire is %v and the next %v, want both since the start at %d", last, next, started.Unix())
	}
	if got := samples[`rekey_jobs_enqueued_total{kind="x509.disable",lane="normal",origin="schedule"}`]; got < 2 {
		t.Errorf("%v jobs are counted with the origin schedule, want at least 2", got)
	}
	client := w.Operator()
	defer client.Close()
	state, err := client.ScheduleState(t.Context(), "nightly")
	if err != nil || state.LastFire.Before(started.Add(-time.Second)) {
		t.Errorf("the schedule's state is %s (%v)", apptest.Encoded(state), err)
	}
}

func TestScheduleOfAServerInsideTheProcess(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.NATS.Embedded.Listen, rig.Cfg.HTTP.Listen = "", ""
	rig.Cfg.Schedules = []config.Schedule{apptest.EverySecond("nightly", apptest.HexID(1))}
	w := rig.Launch(t)
	w.AwaitReady()
	atlas.Await(t, apptest.HexID(1), 1)
	if w.NATS != "" || w.HTTP != "" {
		t.Errorf("the worker can be reached at %+v", w.Addresses)
	}
}

func TestTwoWorkersFireOneJobPerTick(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Schedules = []config.Schedule{apptest.EverySecond("nightly", apptest.HexID(1))}
	w, second := apptest.TwoWorkers(t, rig)
	w.Results(3)
	second.Stop()
	w.Stop() // No tick is under way any more.
	ticks := map[string]bool{}
	for _, msg := range w.Messages("REKEY_EVENTS") { // A busy worker may fire one that the other fires, too.
		var event struct{ ID string }
		if err := json.Unmarshal(msg.Data, &event); err != nil {
			t.Fatal(err)
		}
		ticks[event.ID] = true
	}
	done := map[string]string{}
	for _, r := range w.Results(3) {
		for _, e := range r.Record.Events {
			if other := done[e.ID]; other != "" && other != r.Record.JobID {
				t.Errorf("tick %s has more than one job", e.ID)
			}
			done[e.ID] = r.Record.JobID
		}
	}
	if results, calls := len(w.Results(3)), len(atlas.Requests(apptest.HexID(1))); calls != results || results > len(ticks) {
		t.Errorf("%d ticks make %d results and %d calls", len(ticks), results, calls)
	}
}

func TestTwoWorkersShareTheWork(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Worker.Concurrency = 4
	const all = 200
	for n := range all {
		atlas.Script(apptest.HexID(n)+"/userSecurity", apptest.Reply{Delay: 5 * time.Millisecond})
	}
	w, _ := apptest.TwoWorkers(t, rig)
	for n := range all {
		w.Publish([]string{"incident", "rotation"}[n%2], apptest.X509Disable(apptest.HexID(n)).String())
	}
	w.Results(all)
	w.Settled()
	shares := map[string]int{}
	for _, r := range w.Results(all) {
		if r.Record.Outcome != jobs.OutcomeRevoked || r.Record.AttemptCount != 1 {
			t.Errorf("%s is %s after %d attempts", r.Record.Target, r.Record.Outcome, r.Record.AttemptCount)
		}
		shares[r.Record.Attempts[0].Worker]++
	}
	if shares["worker-1"] == 0 || shares["worker-2"] == 0 || shares["worker-1"]+shares["worker-2"] != all {
		t.Errorf("the shares are %v, want something for both and %d in all", shares, all)
	}
	calls := map[string]int{}
	for _, c := range atlas.Requests(apptest.AdminPath) {
		calls[c.URI]++
	}
	for uri, n := range calls {
		if n != 1 {
			t.Errorf("%s was called %d times, want once", uri, n)
		}
	}
	if len(calls) != all {
		t.Errorf("%d projects were called, want %d", len(calls), all)
	}
}

func TestNamespacesAreApart(t *testing.T) {
	t.Parallel()
	server := apptest.StartNATS(t, nil)
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.NATS.URL = server.ClientURL()
	other := rig.Beside("worker-2")
	other.Cfg.NATS.Namespace = "staging"
	w, staging := rig.Launch(t), other.Launch(t)
	w.AwaitReady()
	staging.AwaitReady()
	w.Connected(t)
	if _, err := w.Js.Publish(t.Context(), "staging.v1.event.incident", []byte(apptest.X509Disable(apptest.HexID(1)).String())); err != nil {
		t.Fatal(err)
	}
	apptest.Eventually(t, "the result in the other namespace", func() bool { return w.Count("STAGING_RESULTS") == 1 })
	if got := w.Count("REKEY_EVENTS") + w.Count("REKEY_RESULTS"); got != 0 {
		t.Errorf("there are %d messages in the namespace rekey, want none", got)
	}
	msg := w.Messages("STAGING_RESULTS")[0]
	if !strings.HasPrefix(msg.Subject, "staging.v1.result.x509-disable.") {
		t.Errorf("the result is on %s", msg.Subject)
	}
	if got := len(atlas.Requests(apptest.HexID(1))); got != 1 {
		t.Errorf("got %d calls, want 1", got)
	}
}
