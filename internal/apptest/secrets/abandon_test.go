package secrets_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"rekey/internal/apptest"
	"rekey/internal/jobs"
)

// TestKilledWhileTakenBack takes back a rotation for each moment, all at once, and kills the worker's process at them, twice: the old credential
// is left, works, and is in every store; who asked, and why, is on the record. Where the old one is gone, the rotation goes on.
func TestKilledWhileTakenBack(t *testing.T) {
	eachSubject(t, killedWhileTakenBack)
}

func killedWhileTakenBack(t *testing.T, what subject) {
	r, g := killRig(t, what)
	points := both(what.abandon)
	g.accounts = g.accounts[:len(points)+1]
	gone := g.accounts[len(points)]
	r.Cfg.Rotations = r.Cfg.Rotations[:len(g.accounts)]
	for i := range r.Cfg.Rotations {
		r.Cfg.Rotations[i].QuietFor = 10 * time.Hour // None is adopted before it is taken back.
	}
	g.open = true
	process, url := r.StartToKill(t)
	s := apptest.DialNATS(t, url)
	for _, a := range g.accounts {
		s.Publish("rotation", what.rotate(a.id))
	}
	w := &apptest.Worker{Stranger: s, Rig: r}
	w.NATS = url
	for _, a := range g.accounts {
		w.RecordOf("rotation/"+a.id, func(rec jobs.PublicRecord) bool { return rec.Rotation != nil && rec.Rotation.Step == jobs.StepAdopt })
	}
	g.takeBack(points)
	w.Publish("incident", apptest.Encoded(what.remove(gone)))
	w.RecordOf(gone.first, func(rec jobs.PublicRecord) bool { return rec.Outcome == jobs.OutcomeRevoked })
	client := w.Operator()
	for _, a := range g.accounts {
		rec, err := client.Rotation(t.Context(), a.id)
		if err != nil {
			t.Fatal(err)
		}
		op := jobs.Operation{At: time.Now(), Action: jobs.ActionCancel, By: "kim", Reason: "it is in a log"}
		if _, err := client.Cancel(t.Context(), rec.JobID, op); err != nil {
			t.Fatal(err)
		}
	}
	client.Close()
	for range 2 {
		apptest.Eventually(t, "rotations at their moments", func() bool { return len(g.waiting()) <= 1 })
		process.Kill()
		g.killed()
		process, _ = r.StartToKill(t)
	}
	process.Kill()
	s.Nc.Close()
	last := r.Start(t)
	for _, a := range g.accounts[:len(points)] {
		g.takenBack(last, a)
	}
	rec := last.RecordOf("rotation/"+gone.id, func(rec jobs.PublicRecord) bool { return !rec.CancelAsked })
	if says := apptest.Encoded(rec); rec.Outcome == jobs.OutcomeCancelled || !strings.Contains(says, "not taken back: the old "+what.name+" is gone or has expired, and the new one is the only one that works") {
		t.Errorf("without the old secret, the record is %s", says)
	}
	if left := g.left(gone); len(left) != 1 || left[0] == gone.first {
		t.Errorf("the account whose old secret is gone has %v", left)
	}
	g.nowhereElse(last)
}

// takeBack makes points the moments at which the accounts' workers are killed, counted from now on.
func (g *gate) takeBack(points []point) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, a := range g.accounts {
		a.counts, a.at = map[request]int{}, point{}
		if i < len(points) {
			a.at = points[i]
		}
	}
	g.open = false
}

// takenBack holds that a rotation was taken back: the account has the old credential alone, which both stores have.
func (g *gate) takenBack(w *apptest.Worker, a *account) {
	g.t.Helper()
	got := w.RecordOf("rotation/"+a.id, func(rec jobs.PublicRecord) bool { return rec.Done() })
	left := g.left(a)
	if got.Outcome != jobs.OutcomeCancelled || !slices.Equal(left, []string{a.first}) || a.kills < 2 {
		g.t.Errorf("killed %d times at %s: the account has %v after %s", a.kills, a.at, left, apptest.Encoded(got))
		return
	}
	if len(got.Operations) != 1 || got.Operations[0].By != "kim" || got.Operations[0].Reason != "it is in a log" || !strings.Contains(got.Detail, "kim: it is in a log") {
		g.t.Errorf("killed at %s: who asked, and why, is not on the record: %s", a.at, apptest.Encoded(got))
	}
	g.delivered(a, a.first)
}
