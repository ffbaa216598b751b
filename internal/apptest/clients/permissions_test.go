package clients_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"rekey/internal/apptest"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
)

// mustForbid checks that the server refuses what a connection does.
func mustForbid(t *testing.T, what string, s *apptest.Stranger, forbidden <-chan error, do func(*nats.Conn) error) {
	t.Helper()
	if err := errors.Join(do(s.Nc), s.Nc.Flush()); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	select {
	case err := <-forbidden:
		if !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("%s: %v, want a permissions violation", what, err)
		}
	case <-time.After(apptest.Patience):
		t.Errorf("%s is not forbidden", what)
	}
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	g := apptest.StartGuarded(t)
	rig, _ := apptest.StandInRig(t)
	rig.Cfg.NATS.URL, rig.Cfg.NATS.NKeyFile = g.URL, apptest.InFile(t, g.Seeds["worker"])
	w := rig.Launch(t)
	w.AwaitReady()
	producer, noProducer := g.Dial(t, "producer")
	reader, noReader := g.Dial(t, "reader", nats.CustomInboxPrefix("_INBOX_READER"))
	auditor := rig.Beside("reader")
	auditor.Cfg.NATS.NKeyFile, auditor.Cfg.NATS.InboxPrefix = apptest.InFile(t, g.Seeds["reader"]), "_INBOX_READER"
	// End to end: a producer's event, acknowledged, and its result at a reader.
	follow, err := reader.Nc.SubscribeSync("rekey.v1.result.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.Nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if ack := producer.Publish("incident", apptest.TokenRevoke(apptest.Canary()).String()); ack.Stream != "REKEY_EVENTS" {
		t.Errorf("the event is acknowledged by %s", ack.Stream)
	}
	result, err := follow.NextMsg(apptest.Patience)
	if err != nil || result.Subject != "rekey.v1.result.token-revoke.revoked" {
		t.Fatalf("the reader got %v, %v, want the result", result, err)
	}
	if got := reader.Results(1); len(got) != 1 {
		t.Errorf("the reader finds %d stored results, want 1", len(got))
	}
	client, err := fleet.Dial(t.Context(), auditor.Cfg, "", rig.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if page, err := client.Jobs(t.Context(), fleet.Query{}); err != nil || len(page.Records) != 1 {
		t.Errorf("the reader lists %d jobs with %v, want 1", len(page.Records), err)
	}
	for _, subject := range []string{"rekey.v1.job.urgent.x509-disable", "rekey.v1.event.operator", "rekey.v1.event.schedule", "rekey.v1.result.x.y", "$KV.REKEY_LEDGER.x", "$JS.API.STREAM.INFO.REKEY_RESULTS"} {
		mustForbid(t, "a producer's publication on "+subject, producer, noProducer, func(nc *nats.Conn) error { return nc.Publish(subject, []byte("{}")) })
	}
	for _, subject := range []string{"rekey.v1.event.incident", "rekey.v1.job.urgent.x", "$JS.API.STREAM.MSG.GET.REKEY_EVENTS", "$JS.API.DIRECT.GET.REKEY_EVENTS", "$JS.API.CONSUMER.CREATE.REKEY_DLQ.x", "$JS.API.STREAM.DELETE.REKEY_RESULTS", "$JS.API.CONSUMER.PAUSE.REKEY_RESULTS.notify-x"} {
		mustForbid(t, "a reader's publication on "+subject, reader, noReader, func(nc *nats.Conn) error { return nc.Publish(subject, []byte("{}")) })
	}
	for who, c := range map[string]struct {
		s         *apptest.Stranger
		forbidden <-chan error
	}{"producer": {producer, noProducer}, "reader": {reader, noReader}} {
		for _, subject := range []string{"rekey.v1.job.>", "rekey.v1.event.>", "$KV.>", ">"} {
			mustForbid(t, "a "+who+"'s subscription to "+subject, c.s, c.forbidden, func(nc *nats.Conn) error { _, err := nc.SubscribeSync(subject); return err })
		}
	}
	mustForbid(t, "a reader's subscription to all inboxes", reader, noReader, func(nc *nats.Conn) error { _, err := nc.SubscribeSync("_INBOX.>"); return err })
}

// TestProducersSeeNoOther: an account of its own has inboxes of its own.
func TestProducersSeeNoOther(t *testing.T) {
	t.Parallel()
	g := apptest.StartGuarded(t)
	rig, _ := apptest.StandInRig(t)
	rig.Cfg.NATS.URL, rig.Cfg.NATS.NKeyFile = g.URL, apptest.InFile(t, g.Seeds["worker"])
	producer, _ := g.Dial(t, "producer")
	spy, err := producer.Nc.SubscribeSync("_INBOX.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := producer.Nc.Flush(); err != nil {
		t.Fatal(err)
	}
	w := rig.Launch(t)
	w.AwaitReady()
	other, _ := g.Dial(t, "producer")
	other.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String())
	client := g.As(t, rig, "operator", "_INBOX_OPERATOR")
	made, err := client.Submit(t.Context(), "test", "1", apptest.X509Disable(apptest.HexID(2)))
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
