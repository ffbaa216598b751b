package bus

import (
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"rekey/internal/jobs"
	"rekey/internal/names"
	"rekey/internal/natsserver"
	"rekey/internal/secret"
)

// states records what a ConnRecorder gets.
type states struct {
	mu      sync.Mutex // Guards all below.
	list    []bool
	again   int
	refused []string
}

func (s *states) SetNATSConnected(connected bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, connected)
}

func (s *states) NATSReconnected() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.again++
}

func (s *states) PublishRefused(stream string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = append(s.refused, stream)
}

func (s *states) reconnected() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.again
}

func (s *states) refusals() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.refused...)
}

func (s *states) get() []bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]bool(nil), s.list...)
}

// freePort is a free address.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return address
}

// notReady waits until the connection says that it is not there, and why.
func notReady(t *testing.T, conn *Conn, want ...string) {
	t.Helper()
	eventually(t, "it says why it is not ready: "+strings.Join(want, ", "), func() bool {
		err := conn.Ready()
		return err != nil && !slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(err.Error(), w) })
	})
}

func TestConnectBeforeTheServerIsUp(t *testing.T) {
	t.Parallel()
	address := freePort(t)
	if _, err := Connect(ConnectConfig{URL: "nats://" + address, Logger: zap.NewNop()}); err == nil {
		t.Fatal("without Wait there must be a server")
	}
	var seen states
	conn := dial(t, ConnectConfig{URL: "nats://" + address, Wait: true, Recorder: &seen})
	notReady(t, conn, "not connected to NATS at nats://"+address, "connection refused")
	startServer(t, natsserver.Config{StoreDir: t.TempDir(), Listen: address})
	eventually(t, "it is connected", func() bool { return conn.Ready() == nil })
	works(t, conn)
	eventually(t, "the change was recorded", func() bool {
		list := seen.get()
		return len(list) > 0 && list[len(list)-1]
	})
}

// A worker may be started with a credential that NATS learns of later.
func TestConnectWaitsForItsCredential(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := startServer(t, natsserver.Config{StoreDir: dir, Listen: "127.0.0.1:0", Token: secret.New("the old one")})
	address := strings.TrimPrefix(server.URL(), "nats://")
	log, logged := newLogs()
	conn := dial(t, ConnectConfig{URL: "nats://" + address, Wait: true, Token: always(secret.New(canary)), Logger: log})
	notReady(t, conn, "Authorization Violation")
	eventually(t, "the log says why", func() bool { return logged.FilterMessage("cannot connect").Len() > 0 })
	server.Stop()
	server = startServer(t, natsserver.Config{StoreDir: dir, Listen: address, Token: secret.New(canary)})
	eventually(t, "it is connected", func() bool { return conn.Ready() == nil })
	server.Stop()
	startServer(t, natsserver.Config{StoreDir: dir, Listen: address, Token: secret.New("a third one")})
	notReady(t, conn, "Authorization Violation")
	if strings.Contains(logged.text(), canary) {
		t.Errorf("the log has the token:\n%s", logged.text())
	}
}

func TestReconnectAfterARestart(t *testing.T) {
	t.Parallel()
	dir, token := t.TempDir(), secret.New(canary)
	server := startServer(t, natsserver.Config{StoreDir: dir, Listen: "127.0.0.1:0", Token: token})
	address := strings.TrimPrefix(server.URL(), "nats://")
	log, logged := newLogs()
	var seen states
	r := &rig{names: names.New("rekey"), log: log, logs: logged}
	r.conn = dial(t, ConnectConfig{URL: "nats://" + address, Token: always(token), Wait: true, Recorder: &seen, Logger: log})
	works(t, r.conn)
	var d desk
	var c counter
	run := &runner{}
	stopIntake := background(t, r.intake(&d, &c).Run)
	stopPulling, _, ended := start(t, r.workers(run, 2))
	r.fill(t, jobs.LaneNormal, 1) // A worker that has not opened its consumers yet would end with the server.
	eventually(t, "intake and workers run", func() bool { return c.get()["accepted"] == 1 && len(run.ids()) >= 1 })

	server.Stop()
	eventually(t, "the loss is noticed", func() bool { return r.conn.Ready() != nil })
	startServer(t, natsserver.Config{StoreDir: dir, Listen: address, Token: token})
	eventually(t, "it is connected again", func() bool { return r.conn.Ready() == nil })
	r.publish(t, jobs.ClassIncident, plain, nil)
	r.fill(t, jobs.LaneUrgent, 1)
	eventually(t, "intake and workers go on", func() bool { return c.get()["accepted"] >= 2 && slices.Contains(run.ids(), "urgent-0") })
	stopIntake()
	stopPulling()
	receive(t, "the end of the workers", ended)

	eventually(t, "all states were recorded", func() bool { return len(seen.get()) == 3 })
	if diff := cmp.Diff([]bool{true, false, true}, seen.get()); diff != "" {
		t.Error(diff)
	}
	if got := seen.reconnected(); got != 1 {
		t.Errorf("%d reconnections are counted, want 1", got)
	}
	if logged.FilterMessage("connected again").Len() != 1 || strings.Contains(logged.text(), canary) {
		t.Errorf("the log is:\n%s", logged.text())
	}
	r.conn.Close()
	eventually(t, "the end was recorded", func() bool { return len(seen.get()) == 4 && !seen.get()[3] })
	if r.conn.Ready() == nil {
		t.Error("a closed connection is ready")
	}
}
