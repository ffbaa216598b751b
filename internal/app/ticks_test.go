package app_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/schedule"
)

// eachSecond checks that a schedule that ticks every second has made an event for each tick and lost none, and that no
// two jobs are of the same one: several workers may fire a tick. The jobs of the latest ticks may be under way.
func (w *worker) eachSecond(name string) {
	w.t.Helper()
	var ticks []time.Time
	for _, msg := range w.messages("REKEY_EVENTS") {
		var event struct{ ID, Source string }
		if err := json.Unmarshal(msg.Data, &event); err != nil || event.Source != "rekey/schedule/"+name {
			w.t.Fatalf("an event is of %s, %v", event.Source, err)
		}
		at, err := time.Parse(time.RFC3339, event.ID)
		if err != nil || msg.Header.Get("Nats-Msg-Id") != "" {
			w.t.Fatalf("an event is called %s, and has the message id %q", event.ID, msg.Header.Get("Nats-Msg-Id"))
		}
		ticks = append(ticks, at)
	}
	slices.SortFunc(ticks, time.Time.Compare)
	ticks = slices.CompactFunc(ticks, time.Time.Equal)
	for i := 1; i < len(ticks); i++ {
		if got := ticks[i].Sub(ticks[i-1]); got != time.Second {
			w.t.Errorf("after the tick of %s comes that of %s", ticks[i-1], ticks[i])
		}
	}
	jobOf := map[string]string{}
	for _, r := range w.results(1) {
		for _, e := range r.record.Events {
			if other := jobOf[e.ID]; other != "" && other != r.record.JobID {
				w.t.Errorf("the tick of %s has the jobs %s and %s", e.ID, other, r.record.JobID)
			}
			jobOf[e.ID] = r.record.JobID
		}
	}
}

// TestEachTickIsOneJob has workers come and go while one stays, and the first jobs fail: every tick makes one job, and
// none is missed.
func TestEachTickIsOneJob(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Schedules = []config.Schedule{everySecond("nightly", hexID(1))}
	refused := problem(404, "GROUP_NOT_FOUND")
	atlas.script(hexID(1)+"/userSecurity", refused, refused)
	w, second := twoWorkers(t, rig)
	for n := 3; w.count("REKEY_RESULTS") < 8; n++ {
		third := rig.beside(fmt.Sprintf("worker-%d", n)).launch(t)
		third.awaitReady()
		second.stop()
		second = third
	}
	second.stop()
	if missed := w.metrics()[`rekey_schedule_missed_total{schedule="nightly"}`]; missed != 0 {
		t.Errorf("%v ticks were missed", missed)
	}
	w.stop()
	results := w.results(8)
	w.eachSecond("nightly")
	if !slices.ContainsFunc(results, func(r result) bool { return r.record.Outcome == jobs.OutcomeRefused }) {
		t.Error("no job has failed")
	}
}

// TestTicksOfAnAbsence has no worker run for some ticks: with missed all, each of them makes its job.
func TestTicksOfAnAbsence(t *testing.T) {
	t.Parallel()
	rig, _ := standInRig(t)
	rig.cfg.NATS.URL = startNATS(t, nil).ClientURL()
	rig.cfg.Schedules = []config.Schedule{everySecond("nightly", hexID(1))}
	rig.cfg.Schedules[0].Missed = schedule.MissedAll
	w := rig.launch(t)
	w.awaitReady()
	w.connected(t)
	w.results(1)
	w.stop()
	<-time.After(3 * time.Second)
	again := rig.beside("worker-2").launch(t)
	again.awaitReady()
	again.connected(t)
	again.results(6)
	again.eachSecond("nightly")
}
