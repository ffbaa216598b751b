package nats_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/checks/repo"
)

// event asks for a job that ends soon: no API is where the worker looks for it, and it attempts only once.
const event = `{"kind":"x509.disable","account":"legacy","params":{"project_id":"0123456789abcdef01234567"}}`

// The whole of deploy/nats, for real: three servers, a worker on them, a leaf, and what each role may and may not do.
func TestCluster(t *testing.T) {
	p := newPlace(t)
	var servers []*server.Server
	for i := range 3 {
		servers = append(servers, p.start(t, fmt.Sprintf("nats-%d.conf", i+1)))
	}
	admin := p.connect(t, "REKEY_ADMIN_NKEY", p.clients[:]...)
	js, err := jetstream.New(admin)
	if err != nil {
		t.Fatal(err)
	}
	made := makeStreams(t, js)
	worker := p.startWorker(t, repo.Worker(t))
	eventually(t, "the worker to be ready", func() bool { return worker.wrote(`"msg":"ready"`) })
	t.Run("workers use the streams of NACK without a word", func(t *testing.T) {
		if worker.wrote("used as it is") {
			t.Errorf("log of the worker:\n%s", worker)
		}
	})
	t.Run("every write is synced", func(t *testing.T) {
		for _, s := range servers {
			if !s.JetStreamConfig().SyncAlways {
				t.Errorf("%s does not sync always", s.Name())
			}
		}
	})
	t.Run("a producer publishes, and sees nothing", func(t *testing.T) {
		publisher := p.connect(t, "REKEY_PRODUCER_NKEY", p.clients[:]...)
		publish(t, publisher)
		refuses(t, publisher, "rekey.v1.job.urgent.x509-disable")
		refuses(t, publisher, "$JS.API.STREAM.MSG.GET.REKEY_EVENTS")
		refuses(t, publisher, "$JS.API.DIRECT.GET.KV_REKEY_LEDGER")
		refuses(t, publisher, "rekey.v1.event.operator")
		deaf(t, publisher, "rekey.v1.result.>")
		silent(t, publisher, func() {
			if _, err := js.Stream(t.Context(), "REKEY_RESULTS"); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("a reader reads results, and nothing else", func(t *testing.T) {
		reader := p.connect(t, "REKEY_READER_NKEY", p.clients[:]...)
		results, err := reader.SubscribeSync("rekey.v1.result.>")
		if err != nil || reader.Flush() != nil {
			t.Fatal(err, reader.LastError())
		}
		publish(t, p.connect(t, "REKEY_PRODUCER_NKEY", p.clients[:]...))
		if got, err := results.NextMsg(60 * time.Second); err != nil || got.Subject != "rekey.v1.result.x509-disable.exhausted" {
			t.Errorf("the result is %+v, %v", got, err)
		}
		refuses(t, reader, "rekey.v1.event.incident")
		refuses(t, reader, "$JS.API.STREAM.MSG.GET.REKEY_EVENTS")
		refuses(t, reader, "$JS.API.CONSUMER.CREATE.REKEY_RESULTS")
		deaf(t, reader, "rekey.v1.event.>")
		deaf(t, reader, "_INBOX.>")
	})
	t.Run("the commands work as the roles that may", func(t *testing.T) {
		config := p.workerConfig(t, "REKEY_READER_NKEY", "_INBOX_READER")
		for _, command := range []string{"job ls", "audit verify", "schedule ls", "pace ls", "receiver ls"} {
			p.run(t, worker.binary, config, command)
		}
		if out := p.run(t, worker.binary, config, "audit export"); !strings.Contains(out, "x509") {
			t.Errorf("the results are %q", out)
		}
		config = p.workerConfig(t, "REKEY_OPERATOR_NKEY", "_INBOX_OPERATOR")
		for _, command := range []string{"job ls", "audit verify", "dlq ls", "dlq drop 1 --reason test", "dlq replay 2 --reason test"} {
			p.run(t, worker.binary, config, command)
		}
		if out := p.run(t, worker.binary, config, "job ls --outcome exhausted"); !strings.Contains(out, "exhausted") {
			t.Errorf("the jobs are %q", out)
		}
	})
	t.Run("answers go to who has asked", func(t *testing.T) {
		stream, err := js.Stream(t.Context(), "REKEY_RESULTS")
		if err != nil {
			t.Fatal(err)
		}
		reader := p.connect(t, "REKEY_READER_NKEY", p.clients[:]...)
		if err := reader.PublishRequest("$JS.API.DIRECT.GET.REKEY_RESULTS", "rekey.v1.result.token-revoke.revoked", []byte(`{"seq":1}`)); err != nil {
			t.Fatal(err)
		}
		if _, err := reader.Request("$JS.API.STREAM.INFO.REKEY_RESULTS", nil, 30*time.Second); err != nil { // After that one.
			t.Fatal(err)
		}
		info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter("rekey.v1.result.token-revoke.>"))
		if err != nil || len(info.State.Subjects) != 0 {
			t.Errorf("a reader has stored a result: %v, %v", info.State.Subjects, err)
		}
	})
	t.Run("a leaf hands events over, and nothing else", func(t *testing.T) {
		p.start(t, "leaf.conf")
		publisher := p.connect(t, "REKEY_PRODUCER_NKEY", p.leaf)
		publish(t, publisher)
		refuses(t, publisher, "rekey.v1.job.urgent.x509-disable")
		refuses(t, publisher, "rekey.v1.event.schedule")
	})
	t.Run("two servers of three go on", func(t *testing.T) {
		servers[2].Shutdown()
		publish(t, p.connect(t, "REKEY_PRODUCER_NKEY", p.clients[0], p.clients[1]))
	})
	t.Run("workers make the streams of NACK", func(t *testing.T) {
		worker.stop(t)
		for name := range made {
			eventually(t, name+" to be deleted", func() bool { return js.DeleteStream(t.Context(), name) == nil })
		}
		p.startWorker(t, worker.binary)
		var own map[string]jetstream.StreamConfig
		eventually(t, "the worker's streams", func() bool { own = configs(t.Context(), js, nackStreams(t)); return own != nil })
		if diff := cmp.Diff(made, own); diff != "" {
			t.Errorf("nack.yaml is not what the workers make (-nack +workers)\n%s", diff)
		}
	})
}

// makeStreams does what NACK would do, and returns what the servers made of it.
func makeStreams(t *testing.T, js jetstream.JetStream) map[string]jetstream.StreamConfig {
	t.Helper()
	want := nackStreams(t)
	for _, stream := range want {
		var err error
		eventually(t, "stream "+stream.Name, func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, err = js.CreateOrUpdateStream(ctx, stream)
			return err == nil
		})
	}
	return configs(t.Context(), js, want)
}

// publish publishes an event and waits until the stream has it.
func publish(t *testing.T, conn *nats.Conn) {
	t.Helper()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the event to be taken", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		ack, err := js.Publish(ctx, "rekey.v1.event.incident", []byte(event))
		if err == nil && ack.Stream != "REKEY_EVENTS" {
			t.Errorf("the event is in %s", ack.Stream)
		}
		return err == nil
	})
}

// refuses makes sure that the server does not take a message.
func refuses(t *testing.T, conn *nats.Conn, subject string) {
	t.Helper()
	denied := violations(conn)
	if answer, err := conn.Request(subject, []byte(event), 500*time.Millisecond); err == nil {
		t.Errorf("%s was answered: %s", subject, answer.Data)
	}
	wantViolation(t, denied, subject)
}

// deaf makes sure that the server refuses a subscription.
func deaf(t *testing.T, conn *nats.Conn, subject string) {
	t.Helper()
	denied := violations(conn)
	if _, err := conn.SubscribeSync(subject); err != nil {
		t.Fatal(err)
	}
	wantViolation(t, denied, subject)
}

// silent makes sure that a client that is subscribed to every inbox gets no answer of what others ask.
func silent(t *testing.T, conn *nats.Conn, others func()) {
	t.Helper()
	inboxes, err := conn.SubscribeSync("_INBOX.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	others()
	if msg, err := inboxes.NextMsg(500 * time.Millisecond); err == nil {
		t.Errorf("an answer to another client: %s", msg.Data)
	}
	if err := inboxes.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
}

// violations are what the server says of a connection from now on.
func violations(conn *nats.Conn) <-chan error {
	denied := make(chan error, 1)
	conn.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		select {
		case denied <- err:
		default:
		}
	})
	return denied
}

func wantViolation(t *testing.T, denied <-chan error, subject string) {
	t.Helper()
	select {
	case err := <-denied:
		if text := strings.ToLower(err.Error()); !strings.Contains(text, "permissions violation") || !strings.Contains(text, strings.ToLower(subject)) {
			t.Errorf("%s: %v", subject, err)
		}
	case <-time.After(30 * time.Second):
		t.Errorf("%s was not refused", subject)
	}
}

// process is a worker that runs, and its log.
type process struct {
	binary string
	cmd    *exec.Cmd
	mu     sync.Mutex // Guards log.
	log    bytes.Buffer
}

// workerConfig writes the configuration of who shows a key.
func (p place) workerConfig(t *testing.T, key, inbox string) string {
	t.Helper()
	config := filepath.Join(t.TempDir(), "worker.yaml")
	text := fmt.Sprintf("nats:\n  url: tls://%s\n  replicas: 3\n  nkey_file: %s\n  inbox_prefix: %s\n  tls: {ca_file: %s}\nhttp: {listen: \"\"}\n"+
		"atlas: {base_url: http://127.0.0.1:9, accounts: [{name: legacy, public_key: abcdefgh, private_key_env: REKEY_KEY}]}\nretry: {max_attempts: 1}\n"+
		"worker: {name: w1}\n",
		strings.Join(p.clients[:], ",tls://"), filepath.Join(p.dir, key+".nk"), inbox, filepath.Join(p.dir, "ca.crt"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config
}

// run runs a command, which must work, and returns what it prints.
func (p place) run(t *testing.T, binary, config, command string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, append(strings.Fields(command), "-c", config)...)
	cmd.Env = append(os.Environ(), "REKEY_KEY=0a1b2c")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

func (p place) startWorker(t *testing.T, binary string) *process {
	t.Helper()
	config := p.workerConfig(t, "REKEY_WORKER_NKEY", "_INBOX")
	w := &process{binary: binary, cmd: exec.CommandContext(context.WithoutCancel(t.Context()), binary, "run", "-c", config)}
	w.cmd.Stderr, w.cmd.Env = w, append(os.Environ(), "REKEY_KEY=0a1b2c")
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.stop(t)
		if t.Failed() {
			t.Logf("log of the worker:\n%s", w)
		}
	})
	return w
}

// stop ends the worker as an operator would; a second time it does nothing.
func (w *process) stop(t *testing.T) {
	t.Helper()
	if w.cmd.ProcessState != nil {
		return
	}
	if err := w.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Wait(); err != nil {
		t.Errorf("the worker: %v", err)
	}
}

// Write takes what the worker writes.
func (w *process) Write(text []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(text)
}

// String is the log so far.
func (w *process) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

func (w *process) wrote(text string) bool { return strings.Contains(w.String(), text) }
