package app_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"rekey/internal/app"
	"rekey/internal/config"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/ledger"
	"rekey/internal/secret"
)

// The accounts of every rig.
const (
	security  = "security" // A service account.
	legacy    = "legacy"   // An API key.
	clientID  = "mdb_sa_id_5ec0000000000000000000a1"
	publicKey = "standink"
)

// patience bounds every wait for what must happen. Only a broken worker needs it all.
const patience = 30 * time.Second

// errTestOver ends the workers of a test.
var errTestOver = errors.New("the test is over")

// rig is what a worker is made of, and what it leaves behind.
type rig struct {
	cfg          *config.Config
	name         string // Of the worker.
	env          map[string]string
	clientSecret string
	privateKey   string
	logs         *observer.ObservedLogs
	log          *zap.Logger
	reload       app.Reload
}

// newRig is a worker with an embedded server and both accounts, against the API at url.
func newRig(t *testing.T, url string) *rig {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	r := &rig{
		name: "worker-1", logs: logs, log: zap.New(core),
		clientSecret: "mdb_sa_sk_" + rand.Text(), privateKey: "pk-" + strings.ToLower(rand.Text()),
	}
	r.configure(t.TempDir(), url)
	t.Cleanup(func() { r.dump(t) })
	return r
}

// configure is for an embedded server with its files in dir, against the API at url.
func (r *rig) configure(dir, url string) {
	c := config.Default()
	c.NATS.Embedded.Listen, c.NATS.Embedded.StoreDir = "127.0.0.1:0", dir
	c.HTTP.Listen = "127.0.0.1:0"
	c.Worker.DrainTimeout = 5 * time.Second // A failed test may leave a call that is never answered.
	c.Retry.Base, c.Retry.Cap = 20*time.Millisecond, 200*time.Millisecond
	c.Atlas.BaseURL = url
	c.Atlas.Accounts = []config.Account{
		{Name: security, ClientID: clientID, ClientSecret: secret.Ref{Env: "SECURITY_SECRET"}},
		{Name: legacy, PublicKey: publicKey, PrivateKey: secret.Ref{Env: "LEGACY_KEY"}},
	}
	r.cfg = c
	r.env = map[string]string{"SECURITY_SECRET": r.clientSecret, "LEGACY_KEY": r.privateKey}
}

// options are those of a worker that tells where it can be reached.
func (r *rig) options(ready func(app.Addresses)) app.Options {
	return app.Options{
		Config: r.cfg, Name: r.name, Version: "1.2.3", Revision: "abcdef", LookupEnv: r.lookupEnv, Logger: r.log, OnReady: ready,
		Reload: r.reload,
	}
}

// standInRig is a rig against a stand-in of its own.
func standInRig(t *testing.T) (*rig, *standIn) {
	t.Helper()
	s := newStandIn(t)
	r := newRig(t, s.url)
	s.allow(publicKey, r.privateKey)
	return r, s
}

// beside is a rig for another worker of the same fleet.
func (r *rig) beside(name string) *rig {
	other := *r
	cfg := *r.cfg
	other.cfg, other.name = &cfg, name
	return &other
}

func (r *rig) lookupEnv(name string) (string, bool) {
	value, ok := r.env[name]
	return value, ok
}

// dump shows what a failed test's worker had to complain of.
func (r *rig) dump(t *testing.T) {
	if !t.Failed() {
		return
	}
	for _, entry := range r.logs.All() {
		if entry.Level >= zapcore.InfoLevel {
			t.Logf("%s %s %s: %s %v", entry.Time.Format("05.000"), entry.Level, entry.LoggerName, entry.Message, entry.ContextMap())
		}
	}
}

// worker is a worker that runs.
type worker struct {
	*stranger
	app.Addresses
	rig    *rig
	cancel context.CancelCauseFunc
	ready  chan app.Addresses
	ended  chan error
}

// launch starts a worker and does not wait until it is ready.
func (r *rig) launch(t *testing.T) *worker {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	w := &worker{stranger: &stranger{t: t}, rig: r, cancel: cancel, ready: make(chan app.Addresses, 1), ended: make(chan error, 1)}
	go func() {
		w.ended <- app.Run(ctx, r.options(func(a app.Addresses) { w.ready <- a }))
	}()
	t.Cleanup(w.stop)
	return w
}

// start starts a worker with an embedded server and connects to it as a stranger would.
func (r *rig) start(t *testing.T) *worker {
	t.Helper()
	w := r.launch(t)
	w.awaitReady()
	w.stranger = dialNATS(t, w.NATS)
	return w
}

// awaitReady waits until the worker takes events.
func (w *worker) awaitReady() {
	w.t.Helper()
	select {
	case w.Addresses = <-w.ready:
	case err := <-w.ended:
		w.ended <- err
		w.t.Fatalf("the worker ended before it was ready: %v", err)
	case <-time.After(patience):
		w.t.Fatal("the worker does not get ready")
	}
}

// stop ends the worker in good order. It may be called again.
func (w *worker) stop() {
	w.t.Helper()
	w.cancel(errTestOver)
	select {
	case err := <-w.ended:
		w.ended <- nil
		if err != nil {
			w.t.Errorf("the worker ended with: %v", err)
		}
	case <-time.After(patience):
		w.t.Fatal("the worker does not end")
	}
}

// operator is a connection as the commands have it. The caller closes it.
func (w *worker) operator() *fleet.Client {
	w.t.Helper()
	client, err := fleet.Dial(w.t.Context(), w.rig.cfg, w.NATS, w.rig.lookupEnv)
	if err != nil {
		w.t.Fatal(err)
	}
	return client
}

// records are what the ledger has about targets that contain part.
func (w *worker) records(part string) []jobs.Record {
	w.t.Helper()
	client := w.operator()
	defer client.Close()
	return w.list(client, part)
}

func (w *worker) list(client *fleet.Client, part string) []jobs.Record {
	w.t.Helper()
	page, err := client.Ledger.List(w.t.Context(), ledger.Filter{Target: part})
	if err != nil {
		w.t.Fatal(err)
	}
	return page.Records
}

// recordOf waits until there is one record for the target of which ok is true.
func (w *worker) recordOf(part string, ok func(jobs.Record) bool) jobs.Record {
	w.t.Helper()
	client := w.operator()
	defer client.Close()
	var found []jobs.Record
	eventually(w.t, "the record of "+part, func() bool {
		found = slices.DeleteFunc(w.list(client, part), func(r jobs.Record) bool { return !ok(r) })
		return len(found) == 1
	})
	return found[0]
}

// eventually waits until ok is true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("still waiting for %s after %s", what, patience)
		case <-ticker.C:
		}
	}
}

// freeAddress is an address of this machine that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// hasFailed reports whether an attempt of the job has ended without success.
func hasFailed(r jobs.Record) bool { return len(r.Attempts) > 0 && !r.Attempts[0].FinishedAt.IsZero() }
