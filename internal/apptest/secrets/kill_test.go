package secrets_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"rekey/internal/apptest"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/config"
	"rekey/internal/deliver"
	"rekey/internal/jobs"
	"rekey/internal/secret"
)

// TestKilledAtEveryRequest rotates an account for each moment of a rotation, all at once. When all of them are at their moments, the process
// of the worker, its NATS server included, is killed, and once more when they are there again; then at random moments. It takes up to 30 s: each
// time all rotations go on to their ends or to the next moment, and an old credential must be unused for 3 s before it is deleted.
func TestKilledAtEveryRequest(t *testing.T) {
	eachSubject(t, killedAtEveryRequest)
}

func killedAtEveryRequest(t *testing.T, what subject) {
	r, g := killRig(t, what)
	stop := g.consume()
	process, url := r.StartToKill(t)
	s := apptest.DialNATS(t, url)
	for _, a := range g.accounts {
		s.Publish("rotation", what.rotate(a.id))
	}
	for range 2 {
		apptest.Eventually(t, "rotations at their moments", func() bool { return len(g.waiting()) == 0 })
		process.Kill()
		g.killed()
		process, _ = r.StartToKill(t)
	}
	for range apptest.Sized(3, 30) {
		<-time.After(rand.N(500 * time.Millisecond))
		process.Kill()
		process, _ = r.StartToKill(t)
	}
	process.Kill()
	s.Nc.Close()
	w := r.Start(t)
	w.Results(len(g.accounts))
	for _, a := range g.accounts {
		g.rotated(w, a)
	}
	stop()
	g.nowhereElse(w)
	g.beside()
}

// killRig is a worker that rotates an account for each moment.
func killRig(t *testing.T, what subject) (*apptest.Rig, *gate) {
	t.Helper()
	dir := t.TempDir()
	seed := sandbox.DefaultSeed()
	g := &gate{t: t, what: what, values: map[string]string{}}
	for i, at := range both(what.points) {
		a := what.seed(&seed, i)
		a.id, a.at, a.counts = fmt.Sprintf("r%02d", i), at, map[request]int{}
		a.file = filepath.Join(dir, a.id)
		g.accounts = append(g.accounts, a)
	}
	many := sandbox.Bucket{Capacity: 100_000, Refill: 100_000, Every: time.Minute}
	var err error
	g.box, err = sandbox.New(sandbox.Config{Seed: seed, TokenLifetime: tokenLifetime, Buckets: map[string]sandbox.Bucket{
		sandbox.BucketToken: many, sandbox.BucketTokenRevoke: many, sandbox.BucketServiceAccountsOrg: many, sandbox.BucketServiceAccountsProject: many,
		sandbox.BucketAPIKeys: many, sandbox.BucketSystem: many,
	}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	r := apptest.SandboxRig(t, g.box, server.URL)
	token := filepath.Join(dir, "token")
	write(t, token, "pod")
	for i, a := range g.accounts {
		write(t, a.file, what.value(g.box, a, a.first)+"\n")
		r.Cfg.Rotations = append(r.Cfg.Rotations, rotationOf(what, a, server.URL, token, i))
	}
	r.LogFile = filepath.Join(t.TempDir(), "log")
	r.Cfg.Atlas.Timeout, r.Cfg.Worker.Concurrency = 20*time.Second, 128
	return r, g
}

// rotationOf rotates an account: some with the file before the other store and some after.
func rotationOf(what subject, a *account, server, token string, i int) config.Rotation {
	stores := []deliver.Config{
		{Type: deliver.TypeFile, Path: a.file},
		{Type: deliver.TypeKubernetes, Namespace: "ci", Secret: a.id, Key: "secret", Server: server, Token: secret.Ref{File: token}},
	}
	if i%4 > 1 {
		stores[0], stores[1] = stores[1], stores[0]
	}
	rotation := config.Rotation{
		Name: a.id, Account: apptest.Security, OrgID: sandbox.OrgID, QuietFor: 3 * time.Second,
		WhenFull: config.WhenFullWait, Overdue: config.OverdueAlert, Deliver: stores,
	}
	what.configure(&rotation, a, i)
	return rotation
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// consume uses what is in the file of each account, as its consumer does, until it is stopped.
func (g *gate) consume() (stop func()) {
	g.t.Helper()
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(300 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-over:
				return
			case <-ticker.C:
				for _, a := range g.accounts {
					if status := g.what.use(g.t, g.box, a); status != http.StatusOK {
						g.t.Errorf("the consumer of account %s, whose worker is killed at %s, is answered with %d", a.id, a.at, status)
					}
				}
			}
		}
	}()
	return func() { close(over); <-done }
}

// rotated holds that a rotation is over: the account has one credential, which both stores have.
func (g *gate) rotated(w *apptest.Worker, a *account) {
	g.t.Helper()
	got := w.ResultOf("rotation/" + a.id)
	left := g.left(a)
	if got.Outcome != jobs.OutcomeRotated || len(left) != 1 || left[0] == a.first || left[0] != got.Rotation.NewID || a.kills < 2 {
		g.t.Errorf("killed %d times at %s: the account has %v after %s", a.kills, a.at, left, apptest.Encoded(got))
		return
	}
	g.delivered(a, left[0])
}

// delivered holds that both stores have a credential.
func (g *gate) delivered(a *account, id string) {
	g.t.Helper()
	value := g.what.value(g.box, a, id)
	content, err := os.ReadFile(a.file)
	if err != nil || string(content) != value+"\n" || string(a.data["secret"]) != value {
		g.t.Errorf("killed at %s: a store has another %s than the account; error %v", a.at, g.what.name, err)
	}
}

// nowhereElse holds that no secret that was made is anywhere but in the stores.
func (g *gate) nowhereElse(w *apptest.Worker) {
	g.t.Helper()
	canaries := apptest.Canaries(g.values)
	canaries.SearchEverything(g.t, w)
	log, err := os.ReadFile(w.Rig.LogFile)
	if err != nil || len(log) == 0 {
		g.t.Errorf("there is no log of the killed workers: %v", err)
	}
	canaries.Search(g.t, "the log of a killed worker", string(log))
}

// beside holds that there is one file beside that of each account's secret: the one before.
func (g *gate) beside() {
	g.t.Helper()
	for _, a := range g.accounts {
		left, err := filepath.Glob(a.file + ".*")
		if err != nil || len(left) != 1 || left[0] != a.file+".previous" {
			g.t.Errorf("beside the file of the secret there is %v, error %v; want the one before alone", left, err)
		}
	}
}
