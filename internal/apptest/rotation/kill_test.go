package rotation_test

import (
	"fmt"
	"math/rand/v2"
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
// of the worker, its NATS server included, is killed, and once more when they are there again; then at random moments.
func TestKilledAtEveryRequest(t *testing.T) {
	r, g := killRig(t)
	stop := g.consume()
	process, url := r.StartToKill(t)
	s := apptest.DialNATS(t, url)
	for _, a := range g.accounts {
		s.Publish("rotation", `{"kind":"service_account_secret.rotate","params":{"rotation":"`+a.id+`"}}`)
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
func killRig(t *testing.T) (*apptest.Rig, *gate) {
	t.Helper()
	dir := t.TempDir()
	seed := sandbox.DefaultSeed()
	g := &gate{t: t, values: map[string]string{}}
	for i, at := range killPoints() {
		a := &account{
			id: fmt.Sprintf("r%02d", i), clientID: fmt.Sprintf("mdb_sa_id_5ec0000000000000000a%04d", i), secretID: fmt.Sprintf("5ec0000000000000000b%04d", i),
			at: at, counts: map[request]int{},
		}
		a.file = filepath.Join(dir, a.id)
		g.accounts = append(g.accounts, a)
		seed.ServiceAccounts = append(seed.ServiceAccounts, sandbox.ServiceAccount{
			ClientID: a.clientID, Name: a.id, SecretIDs: []string{a.secretID},
			Roles: []sandbox.Role{{Name: sandbox.RoleOrgReadOnly, OrgID: sandbox.OrgID}, {Name: "GROUP_READ_ONLY", ProjectID: sandbox.ProjectID}},
		})
	}
	many := sandbox.Bucket{Capacity: 100_000, Refill: 100_000, Every: time.Minute}
	var err error
	g.box, err = sandbox.New(sandbox.Config{Seed: seed, TokenLifetime: tokenLifetime, Buckets: map[string]sandbox.Bucket{
		sandbox.BucketToken: many, sandbox.BucketTokenRevoke: many, sandbox.BucketServiceAccountsOrg: many, sandbox.BucketServiceAccountsProject: many,
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
		value, _ := g.box.Secret(a.secretID)
		write(t, a.file, value+"\n")
		r.Cfg.Rotations = append(r.Cfg.Rotations, rotationOf(a, server.URL, token, i))
	}
	r.LogFile = filepath.Join(t.TempDir(), "log")
	r.Cfg.Atlas.Timeout, r.Cfg.Worker.Concurrency = 20*time.Second, 128
	return r, g
}

// rotationOf rotates an account: some in the organization and some in the project, some with the file before the other store and some after.
func rotationOf(a *account, server, token string, i int) config.Rotation {
	stores := []deliver.Config{
		{Type: deliver.TypeFile, Path: a.file},
		{Type: deliver.TypeKubernetes, Namespace: "ci", Secret: a.id, Key: "secret", Server: server, Token: secret.Ref{File: token}},
	}
	rotation := config.Rotation{
		Name: a.id, Account: apptest.Security, OrgID: sandbox.OrgID, ClientID: a.clientID, Lifetime: 720 * time.Hour, QuietFor: 3 * time.Second,
		WhenFull: config.WhenFullWait, Overdue: config.OverdueAlert, Deliver: stores,
	}
	if i%4 > 1 {
		stores[0], stores[1] = stores[1], stores[0]
	}
	if i%3 == 0 {
		rotation.OrgID, rotation.ProjectID = "", sandbox.ProjectID
	}
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
					if status := mint(g.box, a.clientID, a.file); status != 200 {
						g.t.Errorf("the consumer of account %s, whose worker is killed at %s, is answered with %d", a.id, a.at, status)
					}
				}
			}
		}
	}()
	return func() { close(over); <-done }
}

// rotated holds that a rotation is over: the account has one secret, which both stores have.
func (g *gate) rotated(w *apptest.Worker, a *account) {
	g.t.Helper()
	got := w.ResultOf("rotation/" + a.id)
	left := secretsOf(g.box, a.clientID)
	if got.Outcome != jobs.OutcomeRotated || len(left) != 1 || left[0] == a.secretID || left[0] != got.Rotation.NewID || a.kills < 2 {
		g.t.Errorf("killed %d times at %s: the account has %v after %s", a.kills, a.at, left, apptest.Encoded(got))
		return
	}
	value, _ := g.box.Secret(left[0])
	content, err := os.ReadFile(a.file)
	if err != nil || string(content) != value+"\n" || string(a.data["secret"]) != value {
		g.t.Errorf("killed at %s: a store has another secret than the account; error %v", a.at, err)
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
