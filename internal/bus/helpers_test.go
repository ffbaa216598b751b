package bus

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"rekey/internal/event"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/layout"
	"rekey/internal/names"
	"rekey/internal/natsserver"
	"rekey/internal/secret"
)

// patience is how long a test waits for something that must come. A busy machine may need
// seconds for what takes milliseconds.
const patience = 30 * time.Second

// Ids as Atlas writes them.
const (
	hexA = "0123456789abcdef01234567"
	hexB = "89abcdef0123456789abcdef"
)

// logs records what is logged.
type logs struct{ *observer.ObservedLogs }

func newLogs() (*zap.Logger, logs) {
	core, seen := observer.New(zapcore.DebugLevel)
	return zap.New(core), logs{seen}
}

// text is everything that was logged, messages and fields.
func (l logs) text() string {
	var b strings.Builder
	for _, entry := range l.All() {
		fmt.Fprintf(&b, "%s %s %v\n", entry.Level, entry.Message, entry.ContextMap())
	}
	return b.String()
}

// rig is a server with its streams and a connection to it.
type rig struct {
	server *natsserver.Server
	conn   *Conn
	names  names.Names
	log    *zap.Logger
	logs   logs
}

// newRig starts a server inside the process with an empty store.
func newRig(t *testing.T) *rig {
	t.Helper()
	log, seen := newLogs()
	r := &rig{names: names.New("rekey"), log: log, logs: seen}
	r.server = startServer(t, natsserver.Config{StoreDir: t.TempDir(), Logger: log})
	r.conn = dial(t, ConnectConfig{Embedded: r.server, Logger: log})
	if err := r.conn.Ensure(t.Context(), layout.Layout{Names: r.names}); err != nil {
		t.Fatal(err)
	}
	return r
}

func startServer(t *testing.T, cfg natsserver.Config) *natsserver.Server {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	server, err := natsserver.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return server
}

func dial(t *testing.T, cfg ConnectConfig) *Conn {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	conn, err := Connect(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("waited %s in vain until %s", patience, what)
		case <-ticker.C:
		}
	}
}

// receive waits for a value.
func receive[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("waited %s in vain for %s", patience, what)
		panic("unreachable")
	}
}

// background runs a part and returns how to stop it and wait for its end.
func background(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := receive(t, "the end of a part", ended); err != nil {
				t.Errorf("the part ended with: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// stored is how many messages a stream holds.
func (r *rig) stored(t *testing.T, stream string) int {
	t.Helper()
	s, err := r.conn.js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return int(s.CachedInfo().State.Msgs)
}

// unsettled is how many messages of a consumer are delivered and not settled.
func (r *rig) unsettled(t *testing.T, stream, consumer string) int {
	t.Helper()
	c, err := r.conn.js.Consumer(t.Context(), stream, consumer)
	if err != nil {
		t.Fatal(err)
	}
	return c.CachedInfo().NumAckPending
}

// deadLetters returns all dead letters with headers and payloads, the oldest first.
func (r *rig) deadLetters(t *testing.T) []DeadLetter {
	t.Helper()
	dead, err := OpenDeadLetters(t.Context(), r.conn)
	if err != nil {
		t.Fatal(err)
	}
	list, err := dead.List(t.Context(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	var whole []DeadLetter
	for _, listed := range slices.Backward(list) {
		letter, err := dead.Show(t.Context(), listed.Number)
		if err != nil {
			t.Fatal(err)
		}
		whole = append(whole, letter)
	}
	return whole
}

// publish stores an event with headers.
func (r *rig) publish(t *testing.T, class, data string, header nats.Header) uint64 {
	t.Helper()
	ack, err := r.conn.js.PublishMsg(t.Context(), &nats.Msg{Subject: r.names.Event(class), Data: []byte(data), Header: header})
	if err != nil {
		t.Fatal(err)
	}
	return ack.Sequence
}

// newJob is a job that acts on a project of its own.
func newJob(t *testing.T, id string, lane jobs.Lane) jobs.Job {
	t.Helper()
	params, err := jobs.NewParams(kinds.X509Disable, map[string]any{"project_id": hexA})
	if err != nil {
		t.Fatal(err)
	}
	return jobs.Job{
		ID: id, Kind: kinds.X509Disable, Account: "security", Params: params, Lane: lane, Origin: jobs.OriginEvent,
		Event:      jobs.EventRef{Source: "nats:REKEY_EVENTS", ID: "seq:7:1", Subject: "rekey.v1.event.incident", Seq: 7, At: moment},
		AcceptedAt: moment,
	}
}

// newTokenJob is a job that carries a secret.
func newTokenJob(t *testing.T, id, token string) jobs.Job {
	t.Helper()
	params, err := jobs.NewParams(kinds.TokenRevoke, map[string]any{"token": token})
	if err != nil {
		t.Fatal(err)
	}
	j := newJob(t, id, jobs.LaneUrgent)
	j.Kind, j.Params = kinds.TokenRevoke, params
	return j
}

func (r *rig) enqueue(t *testing.T, list ...jobs.Job) {
	t.Helper()
	queue := NewQueue(r.conn)
	for _, j := range list {
		if err := queue.Enqueue(t.Context(), j); err != nil {
			t.Fatal(err)
		}
	}
}

// moment is some time in the past.
var moment = time.Date(2026, 3, 1, 3, 4, 5, 678_000_000, time.UTC)

// canary is a secret that must turn up nowhere.
const canary = "s3cr3t-CANARY-0f1e2d3c4b5a"

func fingerprint(text string) string { return secret.New(text).Fingerprint() }

// webToken is a JSON Web Token by its look.
const webToken = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl"

// plain is a valid request.
const plain = `{"kind":"x509.disable","params":{"project_id":"` + hexA + `"}}`

// structured is a CloudEvent in structured mode with these members.
func structured(members ...string) string { return "{" + strings.Join(members, ",") + "}" }

// envelope are the members that every CloudEvent needs.
func envelope(id, source string) []string {
	return []string{`"specversion":"1.0"`, `"type":"` + event.TypeRequested + `"`, `"id":"` + id + `"`, `"source":"` + source + `"`}
}

// binary are the headers of a CloudEvent in binary mode.
func binary(id, source string) nats.Header {
	return nats.Header{"ce-specversion": {"1.0"}, "ce-type": {event.TypeRequested}, "ce-id": {id}, "ce-source": {source}}
}

// with adds a header.
func with(h nats.Header, key, value string) nats.Header {
	h[key] = []string{value}
	return h
}

// decodeEvent reads a direct request. What is none is an error.
func decodeEvent(n names.Names, m event.Message) (jobs.Event, error) {
	e, err := event.ReadReceived(n, m)
	if err == nil && !e.Direct {
		err = e.NotDirect
	}
	return e, err
}
