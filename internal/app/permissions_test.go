package app_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/ledger"
)

// guarded is a server that runs with deploy/nats/permissions.conf.
type guarded struct {
	url   string
	seeds map[string]string // By the role.
}

// startGuarded starts a server with the file as it is shipped and keys of its own.
func startGuarded(t *testing.T) guarded {
	t.Helper()
	rules, err := os.ReadFile("../../deploy/nats/permissions.conf")
	if err != nil {
		t.Fatal(err)
	}
	g := guarded{seeds: map[string]string{}}
	dir := t.TempDir()
	conf := fmt.Sprintf("listen: 127.0.0.1:-1\njetstream {store_dir: %q}\n", filepath.Join(dir, "store"))
	for _, role := range []string{"admin", "worker", "operator", "reader", "producer", "leaf", "system"} {
		pair, err := nkeys.CreateUser()
		if err != nil {
			t.Fatal(err)
		}
		public, publicErr := pair.PublicKey()
		seed, seedErr := pair.Seed()
		if err := errors.Join(publicErr, seedErr); err != nil {
			t.Fatal(err)
		}
		g.seeds[role] = string(seed)
		line := regexp.MustCompile(`(?m)^REKEY_` + strings.ToUpper(role) + `_NKEY: U[A-Z2-7]{55}$`)
		if !line.Match(rules) {
			t.Errorf("the file has no line for the key of a %s", role)
		}
		rules = line.ReplaceAll(rules, []byte("REKEY_"+strings.ToUpper(role)+"_NKEY: "+public))
	}
	conf += "include \"permissions.conf\"\n"
	for name, text := range map[string]string{"server.conf": conf, "permissions.conf": string(rules)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	opts, err := server.ProcessConfigFile(filepath.Join(dir, "server.conf"))
	if err != nil {
		t.Fatalf("the server does not understand the file: %v", err)
	}
	opts.NoSigs, opts.NoLog = true, true
	srv, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	go srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(patience) {
		t.Fatal("the server does not start")
	}
	g.url = srv.ClientURL()
	return g
}

// dial connects as a role. What the server forbids arrives at the returned channel.
func (g guarded) dial(t *testing.T, role string, opts ...nats.Option) (*stranger, <-chan error) {
	t.Helper()
	pair, err := nkeys.FromSeed([]byte(g.seeds[role]))
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	forbidden := make(chan error, 100)
	opts = append(opts, nats.Nkey(public, pair.Sign), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { forbidden <- err }))
	return dialNATS(t, g.url, opts...), forbidden
}

// mustForbid checks that the server refuses what a connection does.
func mustForbid(t *testing.T, what string, s *stranger, forbidden <-chan error, do func(*nats.Conn) error) {
	t.Helper()
	if err := errors.Join(do(s.nc), s.nc.Flush()); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	select {
	case err := <-forbidden:
		if !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("%s: %v, want a permissions violation", what, err)
		}
	case <-time.After(patience):
		t.Errorf("%s is not forbidden", what)
	}
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	rig, _ := standInRig(t)
	rig.cfg.NATS.URL, rig.cfg.NATS.NKeyFile = g.url, inFile(t, g.seeds["worker"])
	w := rig.launch(t)
	w.awaitReady()
	producer, noProducer := g.dial(t, "producer")
	reader, noReader := g.dial(t, "reader", nats.CustomInboxPrefix("_INBOX_READER"))
	auditor := rig.beside("reader")
	auditor.cfg.NATS.NKeyFile, auditor.cfg.NATS.InboxPrefix = inFile(t, g.seeds["reader"]), "_INBOX_READER"
	// End to end: a producer's event, acknowledged, and its result at a reader.
	follow, err := reader.nc.SubscribeSync("rekey.v1.result.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if ack := producer.publish("incident", tokenRevoke(canary()).String()); ack.Stream != "REKEY_EVENTS" {
		t.Errorf("the event is acknowledged by %s", ack.Stream)
	}
	result, err := follow.NextMsg(patience)
	if err != nil || result.Subject != "rekey.v1.result.token-revoke.revoked" {
		t.Fatalf("the reader got %v, %v, want the result", result, err)
	}
	if got := reader.results(1); len(got) != 1 {
		t.Errorf("the reader finds %d stored results, want 1", len(got))
	}
	client, err := fleet.Dial(t.Context(), auditor.cfg, "", rig.lookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if page, err := client.Ledger.List(t.Context(), ledger.Filter{}); err != nil || len(page.Records) != 1 {
		t.Errorf("the reader lists %d jobs with %v, want 1", len(page.Records), err)
	}
	for _, subject := range []string{"rekey.v1.job.urgent.x509-disable", "rekey.v1.event.operator", "rekey.v1.event.schedule", "rekey.v1.result.x.y", "$KV.REKEY_LEDGER.x", "$JS.API.STREAM.INFO.REKEY_RESULTS"} {
		mustForbid(t, "a producer's publication on "+subject, producer, noProducer, func(nc *nats.Conn) error { return nc.Publish(subject, []byte("{}")) })
	}
	for _, subject := range []string{"rekey.v1.event.incident", "rekey.v1.job.urgent.x", "$JS.API.STREAM.MSG.GET.REKEY_EVENTS", "$JS.API.DIRECT.GET.REKEY_EVENTS", "$JS.API.CONSUMER.CREATE.REKEY_DLQ.x", "$JS.API.STREAM.DELETE.REKEY_RESULTS", "$JS.API.CONSUMER.PAUSE.REKEY_RESULTS.notify-x"} {
		mustForbid(t, "a reader's publication on "+subject, reader, noReader, func(nc *nats.Conn) error { return nc.Publish(subject, []byte("{}")) })
	}
	for who, c := range map[string]struct {
		s         *stranger
		forbidden <-chan error
	}{"producer": {producer, noProducer}, "reader": {reader, noReader}} {
		for _, subject := range []string{"rekey.v1.job.>", "rekey.v1.event.>", "$KV.>", ">"} {
			mustForbid(t, "a "+who+"'s subscription to "+subject, c.s, c.forbidden, func(nc *nats.Conn) error { _, err := nc.SubscribeSync(subject); return err })
		}
	}
	mustForbid(t, "a reader's subscription to everybody's inboxes", reader, noReader, func(nc *nats.Conn) error { _, err := nc.SubscribeSync("_INBOX.>"); return err })
}

// TestProducersSeeNobody: an account of its own has inboxes of its own.
func TestProducersSeeNobody(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	rig, _ := standInRig(t)
	rig.cfg.NATS.URL, rig.cfg.NATS.NKeyFile = g.url, inFile(t, g.seeds["worker"])
	producer, _ := g.dial(t, "producer")
	spy, err := producer.nc.SubscribeSync("_INBOX.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := producer.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	w := rig.launch(t)
	w.awaitReady()
	other, _ := g.dial(t, "producer")
	other.publish("incident", x509Disable(hexID(1)).String())
	client := g.as(t, rig, "operator", "_INBOX_OPERATOR")
	made, err := client.Submit(t.Context(), "test", "1", x509Disable(hexID(2)))
	if err != nil {
		t.Fatal(err)
	}
	if record, err := client.Await(t.Context(), fleet.Wait{JobID: made.JobID}); err != nil || record.Outcome != jobs.OutcomeRevoked {
		t.Errorf("the operator's job ended as %s, %v", record.Outcome, err)
	}
	for {
		msg, err := spy.NextMsg(100 * time.Millisecond)
		if errors.Is(err, nats.ErrTimeout) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		// The other producer's acknowledgement is all that there is in their account.
		if !strings.HasPrefix(string(msg.Data), `{"stream":"REKEY_EVENTS"`) {
			t.Errorf("a producer sees %s: %s", msg.Subject, msg.Data)
		}
	}
}
