package rotation_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"rekey/internal/apptest"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/jobs"
)

// abandonPoints are all moments at which a worker is killed while it takes a new secret back.
func abandonPoints() []point {
	var points []point
	for _, p := range []point{
		{request: readAccount, nth: 1},
		{request: readStore, nth: 1},                    // What it holds.
		{request: mintToken, nth: 1},                    // The old secret works.
		{request: revokeToken, nth: 1},                  // It is shown.
		{request: readStore, nth: 2},                    // Whether it has the new one.
		{request: writeStore, nth: 1, again: readStore}, // It gets the old one.
		{request: endSecret, nth: 1, again: readAccount},
	} {
		points = append(points, p)
		p.after = true
		points = append(points, p)
	}
	return points
}

// TestKilledWhileTakenBack takes back a rotation for each moment, all at once, and kills the worker's process at them, twice: the old secret is
// left, works, and is in every store; who asked, and why, is on the record. Where the old one is gone, the rotation goes on.
func TestKilledWhileTakenBack(t *testing.T) {
	r, g := killRig(t)
	points := abandonPoints()
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
		s.Publish("rotation", `{"kind":"service_account_secret.rotate","params":{"rotation":"`+a.id+`"}}`)
	}
	w := &apptest.Worker{Stranger: s, Rig: r}
	w.NATS = url
	for _, a := range g.accounts {
		w.RecordOf("rotation/"+a.id, func(rec jobs.PublicRecord) bool { return rec.Rotation != nil && rec.Rotation.Step == jobs.StepAdopt })
	}
	g.takeBack(points)
	remove(w, gone)
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
	if says := apptest.Encoded(rec); rec.Outcome == jobs.OutcomeCancelled || !strings.Contains(says, "not taken back: the old secret is gone or has expired, and the new one is the only one that works") {
		t.Errorf("without the old secret, the record is %s", says)
	}
	if left := secretsOf(g.box, gone.clientID); len(left) != 1 || left[0] == gone.secretID {
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

// remove deletes the old secret of an account, as an operator may.
func remove(w *apptest.Worker, a *account) {
	w.T.Helper()
	w.Publish("incident", apptest.Encoded(map[string]any{
		"kind": "service_account_secret.delete", "account": apptest.Security,
		"params": map[string]any{"org_id": sandbox.OrgID, "client_id": a.clientID, "secret_id": a.secretID},
	}))
	w.RecordOf(a.secretID, func(rec jobs.PublicRecord) bool { return rec.Outcome == jobs.OutcomeRevoked })
}

// takenBack holds that a rotation was taken back: the account has the old secret alone, which both stores have.
func (g *gate) takenBack(w *apptest.Worker, a *account) {
	g.t.Helper()
	got := w.RecordOf("rotation/"+a.id, func(rec jobs.PublicRecord) bool { return rec.Done() })
	left := secretsOf(g.box, a.clientID)
	if got.Outcome != jobs.OutcomeCancelled || !slices.Equal(left, []string{a.secretID}) || a.kills < 2 {
		g.t.Errorf("killed %d times at %s: the account has %v after %s", a.kills, a.at, left, apptest.Encoded(got))
		return
	}
	if len(got.Operations) != 1 || got.Operations[0].By != "kim" || got.Operations[0].Reason != "it is in a log" || !strings.Contains(got.Detail, "kim: it is in a log") {
		g.t.Errorf("killed at %s: who asked, and why, is not on the record: %s", a.at, apptest.Encoded(got))
	}
	value, _ := g.box.Secret(a.secretID)
	content, err := os.ReadFile(a.file)
	if err != nil || string(content) != value+"\n" || string(a.data["secret"]) != value {
		g.t.Errorf("killed at %s: a store has another secret than the account; error %v", a.at, err)
	}
}
