package apptest

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
	"rekey/internal/bus"
	"rekey/internal/config"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/schedule"
	"rekey/internal/secret"
	"rekey/internal/wire"
)

// The accounts of every rig.
const (
	Security  = "security" // A service account.
	Legacy    = "legacy"   // An API key.
	ClientID  = "mdb_sa_id_5ec0000000000000000000a1"
	PublicKey = "standink"
)

// Patience bounds every wait for what must happen. Only a broken worker needs it all.
const Patience = 30 * time.Second

// ErrTestOver ends the workers of a test.
var ErrTestOver = errors.New("the test is over")

// Rig is what a worker is made of, and what it leaves behind.
type Rig struct {
	Cfg          *config.Config
	Name         string // Of the worker.
	Env          map[string]string
	ClientSecret string
	PrivateKey   string
	Logs         *observer.ObservedLogs
	log          *zap.Logger
	LogFile      string // Of a worker in a process of its own.
	Reload       app.Reload
}

// NewRig is a worker with an embedded server and both accounts, against the API at url.
func NewRig(t *testing.T, url string) *Rig {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	r := &Rig{
		Name: "worker-1", Logs: logs, log: zap.New(core),
		ClientSecret: "mdb_sa_sk_" + rand.Text(), PrivateKey: "pk-" + strings.ToLower(rand.Text()),
	}
	r.configure(t.TempDir(), url)
	t.Cleanup(func() { r.dump(t) })
	return r
}

// configure is for an embedded server with its files in dir, against the API at url.
func (r *Rig) configure(dir, url string) {
	c := config.Default()
	c.NATS.Embedded.Listen, c.NATS.Embedded.StoreDir = "127.0.0.1:0", dir
	c.HTTP.Listen = "127.0.0.1:0"
	c.Worker.DrainTimeout = 5 * time.Second // A failed test may leave a call that is never answered.
	c.Retry.Base, c.Retry.Cap = 20*time.Millisecond, 200*time.Millisecond
	c.Atlas.BaseURL = url
	c.Proof.Within = 0 // Most tests count calls. Those of proofs turn them on.
	c.Expiry.Every = 0
	c.Atlas.Accounts = []config.Account{
		{Name: Security, ClientID: ClientID, ClientSecret: secret.Ref{Env: "SECURITY_SECRET"}},
		{Name: Legacy, PublicKey: PublicKey, PrivateKey: secret.Ref{Env: "LEGACY_KEY"}},
	}
	r.Cfg = c
	r.Env = map[string]string{"SECURITY_SECRET": r.ClientSecret, "LEGACY_KEY": r.PrivateKey}
}

// options are those of a worker that tells where it can be reached.
func (r *Rig) options(ready func(app.Addresses)) app.Options {
	return app.Options{
		Config: r.Cfg, Name: r.Name, Version: "1.2.3", Revision: "abcdef", LookupEnv: r.LookupEnv, Logger: r.log, OnReady: ready,
		Reload: r.Reload,
	}
}

// StandInRig is a rig against a stand-in of its own.
func StandInRig(t *testing.T) (*Rig, *StandIn) {
	t.Helper()
	s := NewStandIn(t)
	r := NewRig(t, s.URL)
	s.Allow(PublicKey, r.PrivateKey)
	return r, s
}

// Beside is a rig for another worker of the same fleet.
func (r *Rig) Beside(name string) *Rig {
	other := *r
	cfg := *r.Cfg
	other.Cfg, other.Name = &cfg, name
	return &other
}

// LookupEnv looks a variable up in the environment of the rig.
func (r *Rig) LookupEnv(name string) (string, bool) {
	value, ok := r.Env[name]
	return value, ok
}

// dump shows what a failed test's worker had to complain of.
func (r *Rig) dump(t *testing.T) {
	if !t.Failed() {
		return
	}
	for _, entry := range r.Logs.All() {
		if entry.Level >= zapcore.InfoLevel {
			t.Logf("%s %s %s: %s %v", entry.Time.Format("05.000"), entry.Level, entry.LoggerName, entry.Message, entry.ContextMap())
		}
	}
}

// Worker is a worker that runs.
type Worker struct {
	*Stranger
	app.Addresses
	Rig    *Rig
	Cancel context.CancelCauseFunc
	Ready  chan app.Addresses
	Ended  chan error
}

// Launch starts a worker and does not wait until it is ready.
func (r *Rig) Launch(t *testing.T) *Worker {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	w := &Worker{Stranger: &Stranger{T: t}, Rig: r, Cancel: cancel, Ready: make(chan app.Addresses, 1), Ended: make(chan error, 1)}
	go func() {
		w.Ended <- app.Run(ctx, r.options(func(a app.Addresses) { w.Ready <- a }))
	}()
	t.Cleanup(w.Stop)
	return w
}

// Start starts a worker with an embedded server and connects to it as a stranger would.
func (r *Rig) Start(t *testing.T) *Worker {
	t.Helper()
	w := r.Launch(t)
	w.AwaitReady()
	w.Stranger = DialNATS(t, w.NATS)
	return w
}

// AwaitReady waits until the worker takes events.
func (w *Worker) AwaitReady() {
	w.T.Helper()
	select {
	case w.Addresses = <-w.Ready:
	case err := <-w.Ended:
		w.Ended <- err
		w.T.Fatalf("the worker ended before it was ready: %v", err)
	case <-time.After(Patience):
		w.T.Fatal("the worker does not get ready")
	}
}

// Stop ends the worker in good order. It may be called again.
func (w *Worker) Stop() {
	w.T.Helper()
	w.Cancel(ErrTestOver)
	select {
	case err := <-w.Ended:
		w.Ended <- nil
		if err != nil {
			w.T.Errorf("the worker ended with: %v", err)
		}
	case <-time.After(Patience):
		w.T.Fatal("the worker does not end")
	}
}

// Operator asks as the commands do. The caller closes it.
func (w *Worker) Operator() *fleet.Client {
	w.T.Helper()
	client, err := fleet.Dial(w.T.Context(), w.Rig.Cfg, w.NATS, w.Rig.LookupEnv)
	if err != nil {
		w.T.Fatal(err)
	}
	return client
}

// Bus is a connection with the login of the commands, for what no command asks. It is closed at the end of the test.
func (w *Worker) Bus() *bus.Conn {
	w.T.Helper()
	server, err := fleet.Reachable(w.Rig.Cfg.NATS, w.NATS)
	if err != nil {
		w.T.Fatal(err)
	}
	cfg, err := wire.ConnectConfig(server, w.Rig.LookupEnv)
	if err != nil {
		w.T.Fatal(err)
	}
	cfg.Name, cfg.Logger = "test", zap.NewNop()
	conn, err := bus.Connect(cfg)
	if err != nil {
		w.T.Fatal(err)
	}
	w.T.Cleanup(conn.Close)
	return conn
}

// Records are what the ledger has about targets that contain part.
func (w *Worker) Records(part string) []jobs.PublicRecord {
	w.T.Helper()
	client := w.Operator()
	defer client.Close()
	return w.list(client, part)
}

// list asks again where the search, on a machine that is busy with other tests, had no time to read all that the ledger has.
func (w *Worker) list(client *fleet.Client, part string) []jobs.PublicRecord {
	w.T.Helper()
	var page fleet.Page
	err := fleet.ErrTooSlow
	for asks := 0; asks < 100 && (errors.Is(err, fleet.ErrTooSlow) || page.Lag > 0); asks++ {
		page, err = client.Jobs(w.T.Context(), fleet.Query{Target: part})
	}
	if err != nil {
		w.T.Fatal(err)
	}
	return page.Records
}

// RecordOf waits until there is one record for the target of which ok is true.
func (w *Worker) RecordOf(part string, ok func(jobs.PublicRecord) bool) jobs.PublicRecord {
	w.T.Helper()
	client := w.Operator()
	defer client.Close()
	var found []jobs.PublicRecord
	Eventually(w.T, "the record of "+part, func() bool {
		found = slices.DeleteFunc(w.list(client, part), func(r jobs.PublicRecord) bool { return !ok(r) })
		return len(found) == 1
	})
	return found[0]
}

// Eventually waits until ok is true.
func Eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(Patience)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("still waiting for %s after %s", what, Patience)
		case <-ticker.C:
		}
	}
}

// FreeAddress is an address of this machine that is free.
func FreeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// HasFailed reports whether an attempt of the job has ended without success.
func HasFailed(r jobs.PublicRecord) bool {
	return len(r.Attempts) > 0 && !r.Attempts[0].FinishedAt.IsZero()
}

// EverySecond is a schedule that disables X.509 of a project.
func EverySecond(name, project string) config.Schedule {
	return config.Schedule{
		Name: name, Cron: "@every 1s", TimeZone: "UTC", Missed: schedule.MissedSkip, MaxLate: time.Minute,
		Job: config.Job{
			Kind: kinds.X509Disable, Account: Security, Reason: "rotation", Params: map[string]string{"project_id": project},
		},
	}
}

// TwoWorkers starts two workers of one fleet on an external server.
func TwoWorkers(t *testing.T, rig *Rig) (first, second *Worker) {
	t.Helper()
	rig.Cfg.NATS.URL = StartNATS(t, nil).ClientURL()
	first, second = rig.Launch(t), rig.Beside("worker-2").Launch(t)
	first.AwaitReady()
	second.AwaitReady()
	return first.Connected(t), second
}
