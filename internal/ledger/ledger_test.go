package ledger

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// patience is how long a test waits for something that must come.
const patience = 30 * time.Second

// moment is some time in the past.
var moment = time.Date(2026, 3, 1, 3, 4, 5, 678_000_000, time.UTC)

// newJetStream starts a server inside the process on a store.
func newJetStream(t *testing.T, dir string) (js jetstream.JetStream, stop func()) {
	t.Helper()
	srv, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	go srv.Start()
	if !srv.ReadyForConnections(patience) {
		t.Fatal("the server does not start")
	}
	nc, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		t.Fatal(err)
	}
	stop = func() { nc.Close(); srv.Shutdown(); srv.WaitForShutdown() }
	t.Cleanup(stop)
	if js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	return js, stop
}

func open(t *testing.T, js jetstream.JetStream) *Ledger {
	t.Helper()
	l := New(js, Config{Namespace: "rekey"})
	// Some of these tests read the streams behind the ledger's back.
	for _, stream := range (Config{Namespace: "rekey"}).Streams() {
		if _, err := js.CreateStream(t.Context(), stream); err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			t.Fatal(err)
		}
	}
	return l
}

func newLedger(t *testing.T) *Ledger {
	t.Helper()
	js, _ := newJetStream(t, t.TempDir())
	return open(t, js)
}

// record is a record with something in every field that matters here.
func record(id string) jobs.Record {
	return jobs.Record{PublicRecord: jobs.PublicRecord{
		JobID: id, Kind: kinds.X509Disable, Account: "security", Target: "project/" + id, Params: map[string]string{"project_id": id},
		Lane: jobs.LaneUrgent, Origin: jobs.OriginEvent, State: jobs.StateQueued, AcceptedAt: moment,
		Events: []jobs.RecordedEvent{{EventRef: jobs.EventRef{Source: "/s", ID: "e-" + id, Subject: "rekey.v1.event.incident", Seq: 7, At: moment}}}, EventCount: 1,
		Attempts: []jobs.Attempt{{Attempt: 1, Worker: "w", StartedAt: moment, DurationMS: 1.5}}, AttemptCount: 1,
		Claim: jobs.Claim{Worker: "w", Until: moment.Add(time.Minute)},
	}}
}

func create(t *testing.T, l *Ledger, r jobs.Record) jobs.Entry {
	t.Helper()
	entry, err := l.Create(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return entry
}

func TestLedgerNamesItsBuckets(t *testing.T) {
	t.Parallel()
	js, _ := newJetStream(t, t.TempDir())
	l := New(js, Config{Namespace: "rekey"})
	if err := l.Look(t.Context()); err != nil {
		t.Errorf("a ledger that was not made yet: %v", err)
	}
	for stream := range js.StreamNames(t.Context()).Name() {
		t.Errorf("reading has made %s", stream)
	}
	create(t, l, record("a"))
	if err := l.Note(t.Context(), "1", jobs.Operation{}); err != nil {
		t.Fatal(err)
	}
	for _, bucket := range []string{"REKEY_LEDGER", "REKEY_TARGETS"} {
		kv, err := js.KeyValue(t.Context(), bucket)
		if err != nil {
			t.Fatal(err)
		}
		status, err := kv.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if status.TTL() != 400*24*time.Hour || status.History() != 1 {
			t.Errorf("%s keeps %s, %d revisions", bucket, status.TTL(), status.History())
		}
	}
	if err := New(js, Config{Namespace: "a b"}).Look(t.Context()); err == nil {
		t.Error("a bad namespace was opened")
	}
	if _, err := New(js, Config{Namespace: "other", Replicas: 3}).Create(t.Context(), record("a")); err == nil {
		t.Error("one server holds three copies")
	}
}

func TestRecords(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	if _, err := l.Load(t.Context(), "a"); !errors.Is(err, jobs.ErrNotFound) {
		t.Errorf("loading from an empty ledger: %v", err)
	}
	created := create(t, l, record("a"))
	loaded, err := l.Load(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(created, loaded); diff != "" {
		t.Errorf("what was created is not what is loaded: %s", diff)
	}
	if diff := cmp.Diff(record("a"), loaded.Record); diff != "" {
		t.Error(diff)
	}
	if _, err := l.Create(t.Context(), record("a")); !errors.Is(err, jobs.ErrConflict) {
		t.Errorf("creating it twice: %v", err)
	}

	change := loaded
	change.Record.State, change.Record.Outcome = jobs.StateDone, jobs.OutcomeRevoked
	updated, err := l.Update(t.Context(), change)
	if err != nil || updated.Revision <= loaded.Revision || updated.Record.Outcome != jobs.OutcomeRevoked {
		t.Errorf("updated to %+v, error %v", updated, err)
	}
	if entry, err := l.Update(t.Context(), change); !errors.Is(err, jobs.ErrConflict) || entry.Revision != 0 {
		t.Errorf("updating an older revision: %+v, error %v", entry, err)
	}
	if _, err := l.Update(t.Context(), updated); err != nil {
		t.Errorf("going on from an update: %v", err)
	}
	if _, err := l.Update(t.Context(), jobs.Entry{Record: record("b"), Revision: 99}); !errors.Is(err, jobs.ErrConflict) {
		t.Errorf("updating what does not exist: %v", err)
	}
}

func TestFindFollowsJoins(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	create(t, l, record("a"))
	targets := l.Targets()
	for from, into := range map[string]string{"joined": "a", "lost": "nowhere"} {
		if err := targets.Join(t.Context(), from, into); err != nil {
			t.Fatal(err)
		}
	}
	for id, want := range map[string]string{"a": "a", "joined": "a", "lost": "", "unknown": ""} {
		found, err := l.Find(t.Context(), id)
		if found.JobID != want || (want == "") != errors.Is(err, jobs.ErrNotFound) {
			t.Errorf("%s: found %q, error %v", id, found.JobID, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Find(ended, "joined"); err == nil || errors.Is(err, jobs.ErrNotFound) {
		t.Errorf("a search that was not made says: %v", err)
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	targets := l.Targets()
	if holder, err := targets.Load(t.Context(), "key"); !errors.Is(err, jobs.ErrNotFound) || holder.Revision != 0 {
		t.Errorf("a free target has %+v, error %v", holder, err)
	}
	if _, err := targets.Joined(t.Context(), "key"); !errors.Is(err, jobs.ErrNotFound) {
		t.Errorf("a job that joined nothing: %v", err)
	}
	want := jobs.Holder{JobID: "a", At: moment, Revoked: "b", Others: []string{"c", "d"}}
	if err := targets.Save(t.Context(), "key", want); err != nil {
		t.Fatal(err)
	}
	if err := targets.Save(t.Context(), "key", want); !errors.Is(err, jobs.ErrConflict) {
		t.Errorf("taking a target that is taken: %v", err)
	}
	holder, err := targets.Load(t.Context(), "key")
	if err != nil || holder.Revision == 0 {
		t.Fatalf("%+v, error %v", holder, err)
	}
	want.Revision = holder.Revision
	if diff := cmp.Diff(want, holder); diff != "" {
		t.Error(diff)
	}
	taken := holder
	taken.JobID = "d"
	if err := targets.Save(t.Context(), "key", taken); err != nil {
		t.Fatal(err)
	}
	if err := targets.Save(t.Context(), "key", holder); !errors.Is(err, jobs.ErrConflict) {
		t.Errorf("taking a target over an older revision: %v", err)
	}

	for _, into := range []string{"a", "b"} { // A job of the same name has no part in it.
		if err := targets.Join(t.Context(), "key", into); err != nil {
			t.Fatal(err)
		}
		if got, err := targets.Joined(t.Context(), "key"); err != nil || got != into {
			t.Errorf("joined %q, error %v", got, err)
		}
	}
	if holder, err := targets.Load(t.Context(), "key"); err != nil || holder.JobID != "d" {
		t.Errorf("the target is held by %+v, error %v", holder, err)
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	create(t, l, record("other"))
	seen := make(chan jobs.State, 10)
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	watch := func() { ended <- l.Watch(ctx, "a", func(r jobs.PublicRecord) { seen <- r.State }) }
	expect := func(want jobs.State) {
		t.Helper()
		select {
		case got := <-seen:
			if got != want {
				t.Errorf("saw %q, want %q", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("waited in vain for %q", want)
		}
	}
	entry := create(t, l, record("a"))
	go watch()
	expect(jobs.StateQueued) // Unchanged.
	create(t, l, record("b"))
	for _, state := range []jobs.State{jobs.StateRunning, jobs.StateDone} {
		entry.Record.State = state
		var err error
		if entry, err = l.Update(t.Context(), entry); err != nil {
			t.Fatal(err)
		}
		expect(state)
	}
	cause := errors.New("enough")
	cancel(cause)
	select {
	case err := <-ended:
		if !errors.Is(err, cause) {
			t.Errorf("the watch ended with: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the watch does not end")
	}
}

func TestLedgerSurvivesARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	js, stop := newJetStream(t, dir)
	l := open(t, js)
	entry := create(t, l, record("a"))
	if err := l.Targets().Join(t.Context(), "b", "a"); err != nil {
		t.Fatal(err)
	}
	stop()
	js, _ = newJetStream(t, dir)
	l = open(t, js)
	if got, err := l.Find(t.Context(), "b"); err != nil || got.JobID != "a" {
		t.Errorf("found %q, error %v", got.JobID, err)
	}
	if _, err := l.Update(t.Context(), entry); err != nil {
		t.Errorf("the revision from before does not count: %v", err)
	}
}
