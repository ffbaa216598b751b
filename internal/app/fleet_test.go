package app_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/schedule"
)

// everySecond is a schedule that disables X.509 of a project.
func everySecond(name, project string) config.Schedule {
	return config.Schedule{
		Name: name, Cron: "@every 1s", TimeZone: "UTC", Missed: schedule.MissedSkip, MaxLate: time.Minute,
		Job: config.Job{
			Kind: jobs.X509Disable, Account: security, Reason: "rotation", Params: map[string]string{jobs.ParamProjectID: project},
		},
	}
}

func TestScheduleFiresOnTheSamePath(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Schedules = []config.Schedule{everySecond("nightly", hexID(1))}
	started := time.Now()
	w := rig.start(t)
	for _, r := range w.results(2) {
		got := r.record
		if got.Outcome != jobs.OutcomeRevoked || got.Origin != jobs.OriginSchedule || got.Lane != jobs.LaneNormal ||
			got.Reason != "rotation" || got.RequestedBy != "schedule nightly" {
			t.Errorf("the record is %s", encoded(got))
		}
		if event := got.Events[0]; event.Subject != "rekey.v1.event.schedule" || event.Source != "rekey/schedule/nightly" {
			t.Errorf("the event is %s", encoded(event))
		}
	}
	if got := len(atlas.requests(hexID(1))); got < 2 {
		t.Errorf("got %d calls, want one for each tick", got)
	}
	samples := w.metrics()
	last := samples[`rekey_schedule_last_fire_timestamp_seconds{schedule="nightly"}`]
	next := samples[`rekey_schedule_next_fire_timestamp_seconds{schedule="nightly"}`]
	if last < float64(started.Unix()) || next < last {
		t.Errorf("the last fire is %v and the next %v, want both since the start at %d", last, next, started.Unix())
	}
	if got := samples[`rekey_jobs_enqueued_total{kind="x509.disable",lane="normal",origin="schedule"}`]; got < 2 {
		t.Errorf("%v jobs are counted with the origin schedule, want at least 2", got)
	}
	client := w.operator()
	defer client.Close()
	state, err := client.ScheduleState(t.Context(), "nightly")
	if err != nil || state.LastFire.Before(started.Add(-time.Second)) {
		t.Errorf("the schedule's state is %s (%v)", encoded(state), err)
	}
}

func TestScheduleOfAServerInsideTheProcess(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.NATS.Embedded.Listen, rig.cfg.HTTP.Listen = "", ""
	rig.cfg.Schedules = []config.Schedule{everySecond("nightly", hexID(1))}
	w := rig.launch(t)
	w.awaitReady()
	atlas.await(t, hexID(1), 1)
	if w.NATS != "" || w.HTTP != "" {
		t.Errorf("the worker can be reached at %+v", w.Addresses)
	}
}

// twoWorkers starts two workers of one fleet on an external server.
func twoWorkers(t *testing.T, rig *rig) (first, second *worker) {
	t.Helper()
	rig.cfg.NATS.URL = startNATS(t, nil).ClientURL()
	first, second = rig.launch(t), rig.beside("worker-2").launch(t)
	first.awaitReady()
	second.awaitReady()
	return first.connected(t), second
}

func TestTwoWorkersFireOneJobPerTick(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Schedules = []config.Schedule{everySecond("nightly", hexID(1))}
	w, second := twoWorkers(t, rig)
	w.results(3)
	second.stop()
	w.stop() // No tick is under way any more.
	ticks := map[string]bool{}
	for _, msg := range w.messages("REKEY_EVENTS") { // A busy worker may fire one that the other fires, too.
		var event struct{ ID string }
		if err := json.Unmarshal(msg.Data, &event); err != nil {
			t.Fatal(err)
		}
		ticks[event.ID] = true
	}
	done := map[string]string{}
	for _, r := range w.results(3) {
		for _, e := range r.record.Events {
			if other := done[e.ID]; other != "" && other != r.record.JobID {
				t.Errorf("tick %s has more than one job", e.ID)
			}
			done[e.ID] = r.record.JobID
		}
	}
	if results, calls := len(w.results(3)), len(atlas.requests(hexID(1))); calls != results || results > len(ticks) {
		t.Errorf("%d ticks make %d results and %d calls", len(ticks), results, calls)
	}
}

func TestTwoWorkersShareTheWork(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Worker.Concurrency = 4
	const all = 200
	for n := range all {
		atlas.script(hexID(n)+"/userSecurity", reply{delay: 5 * time.Millisecond})
	}
	w, _ := twoWorkers(t, rig)
	for n := range all {
		w.publish([]string{"incident", "rotation"}[n%2], x509Disable(hexID(n)).String())
	}
	w.results(all)
	w.settled()
	shares := map[string]int{}
	for _, r := range w.results(all) {
		if r.record.Outcome != jobs.OutcomeRevoked || r.record.AttemptCount != 1 {
			t.Errorf("%s is %s after %d attempts", r.record.Target, r.record.Outcome, r.record.AttemptCount)
		}
		shares[r.record.Attempts[0].Worker]++
	}
	if shares["worker-1"] == 0 || shares["worker-2"] == 0 || shares["worker-1"]+shares["worker-2"] != all {
		t.Errorf("the shares are %v, want something for both and %d in all", shares, all)
	}
	calls := map[string]int{}
	for _, c := range atlas.requests(adminPath) {
		calls[c.uri]++
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
	server := startNATS(t, nil)
	rig, atlas := standInRig(t)
	rig.cfg.NATS.URL = server.ClientURL()
	other := rig.beside("worker-2")
	other.cfg.NATS.Namespace = "staging"
	w, staging := rig.launch(t), other.launch(t)
	w.awaitReady()
	staging.awaitReady()
	w.connected(t)
	if _, err := w.js.Publish(t.Context(), "staging.v1.event.incident", []byte(x509Disable(hexID(1)).String())); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the result in the other namespace", func() bool { return w.count("STAGING_RESULTS") == 1 })
	if got := w.count("REKEY_EVENTS") + w.count("REKEY_RESULTS"); got != 0 {
		t.Errorf("there are %d messages in the namespace rekey, want none", got)
	}
	msg := w.messages("STAGING_RESULTS")[0]
	if !strings.HasPrefix(msg.Subject, "staging.v1.result.x509-disable.") {
		t.Errorf("the result is on %s", msg.Subject)
	}
	if got := len(atlas.requests(hexID(1))); got != 1 {
		t.Errorf("got %d calls, want 1", got)
	}
}
