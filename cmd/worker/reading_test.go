package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// TestReadingCommandsMakeNothing: a command that only looks makes no stream and no bucket, on a server where no worker has run.
func TestReadingCommandsMakeNothing(t *testing.T) {
	t.Parallel()
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	go srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(patience) {
		t.Fatal("the NATS server does not start")
	}
	nc, err := nats.Connect(srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "worker.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(readingConfig, "NATS", srv.ClientURL())), 0o600); err != nil {
		t.Fatal(err)
	}
	// Each with what it ends with where no worker has run.
	for _, tt := range []struct {
		line string
		exit int
	}{
		{"job ls", exitDone},
		{"job show j", exitNotFound},
		{"job wait j --timeout 1s", exitNotFound},
		{"dlq ls", exitFailed},
		{"dlq show 1", exitFailed},
		{"schedule ls", exitDone},
		{"schedule next weekly", exitDone},
		{"pace ls", exitDone},
		{"receiver ls", exitDone},
		{"audit export", exitNotFound},
		{"audit verify", exitNotFound},
		{"policy backtest --since 1h", exitNotFound},
		{"doctor", exitFailed},
	} {
		var out bytes.Buffer
		c := &cli{stdin: strings.NewReader(""), stdout: &out, stderr: &out, lookupEnv: func(string) (string, bool) { return "s3cret", true }}
		if exit := c.execute(t.Context(), append(strings.Fields(tt.line), "-c", file)); exit != tt.exit {
			t.Errorf("%s: exit %d, want %d: %s", tt.line, exit, tt.exit, &out)
		}
		for stream := range js.StreamNames(t.Context()).Name() {
			t.Errorf("%s has made %s", tt.line, stream)
		}
	}
}

// readingConfig has something for each command to look for.
const readingConfig = `
nats: {url: "NATS"}
atlas:
  base_url: http://127.0.0.1:1
  accounts: [{name: a, client_id: mdb_sa_id_5ec0000000000000000000a1, client_secret_env: SECRET}]
schedules: [{name: weekly, cron: "0 3 * * 1", job: {kind: x509.disable, params: {project_id: 0123456789abcdef01234567}}}]
receivers: [{name: hook, type: webhook, url_env: HOOK}]
`
