package app_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/schedule"
)

// eachSecond checks that the results are those of a schedule that ticks every second: one job for each tick, none lost.
func eachSecond(t *testing.T, results []result) {
	t.Helper()
	var ticks []time.Time
	for _, r := range results {
		for _, e := range r.record.Events {
			at, err := time.Parse(time.RFC3339, e.ID)
			if err != nil || e.Source != "rekey/schedule/nightly" {
				t.Fatalf("an event is called %s of %s", e.ID, e.Source)
			}
			ticks = append(ticks, at)
		}
	}
	slices.SortFunc(ticks, time.Time.Compare)
	for i := 1; i < len(ticks); i++ {
		if got := ticks[i].Sub(ticks[i-1]); got != time.Second {
			t.Errorf("after the tick of %s comes that of %s", ticks[i-1], ticks[i])
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
	eachSecond(t, results)
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
	eachSecond(t, again.results(6))
}
