package jobs_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"rekey/internal/apptest"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/schedule"
)

// TestEachTickIsOneJob has workers come and go while one stays, and the first jobs fail: every tick makes one job, and
// none is missed.
func TestEachTickIsOneJob(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Schedules = []config.Schedule{apptest.EverySecond("nightly", apptest.HexID(1))}
	refused := apptest.Problem(404, "GROUP_NOT_FOUND")
	atlas.Script(apptest.HexID(1)+"/userSecurity", refused, refused)
	w, second := apptest.TwoWorkers(t, rig)
	for n := 3; w.Count("REKEY_RESULTS") < 8; n++ {
		third := rig.Beside(fmt.Sprintf("worker-%d", n)).Launch(t)
		third.AwaitReady()
		second.Stop()
		second = third
	}
	second.Stop()
	if missed := w.Metrics()[`rekey_schedule_missed_total{schedule="nightly"}`]; missed != 0 {
		t.Errorf("%v ticks were missed", missed)
	}
	w.Stop()
	results := w.Results(8)
	w.EachSecond("nightly")
	if !slices.ContainsFunc(results, func(r apptest.Result) bool { return r.Record.Outcome == jobs.OutcomeRefused }) {
		t.Error("no job has failed")
	}
}

// TestTicksOfAnAbsence has no worker run for some ticks: with missed all, each of them makes its job.
func TestTicksOfAnAbsence(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	rig.Cfg.NATS.URL = apptest.StartNATS(t, nil).ClientURL()
	rig.Cfg.Schedules = []config.Schedule{apptest.EverySecond("nightly", apptest.HexID(1))}
	rig.Cfg.Schedules[0].Missed = schedule.MissedAll
	w := rig.Launch(t)
	w.AwaitReady()
	w.Connected(t)
	w.Results(1)
	w.Stop()
	<-time.After(3 * time.Second)
	again := rig.Beside("worker-2").Launch(t)
	again.AwaitReady()
	again.Connected(t)
	again.Results(6)
	again.EachSecond("nightly")
}
