package natsserver

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"rekey/internal/secret"
)

func TestServerRefuses(t *testing.T) {
	t.Parallel()
	token := secret.New(canary)
	anyClient := &tls.Config{MinVersion: tls.VersionTLS12}
	tests := []struct {
		name   string
		listen string
		token  secret.Value
		tls    *tls.Config
		want   string
	}{
		{name: "all interfaces", listen: "0.0.0.0:4222", want: "beyond loopback, needs token_file or tls.client_ca_file"},
		{name: "no host", listen: ":4222", want: "beyond loopback"},
		{name: "no host, any port", listen: ":0", want: "beyond loopback"},
		{name: "all interfaces, IPv6", listen: "[::]:4222", want: "beyond loopback"},
		{name: "an address", listen: "192.0.2.1:4222", want: "beyond loopback"},
		{name: "a name", listen: "nats.example.com:4222", want: "beyond loopback"},
		{name: "TLS without client certificates", listen: "0.0.0.0:4222", tls: anyClient, want: "beyond loopback"},
		{name: "TLS that takes any certificate", listen: "0.0.0.0:4222", tls: &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAnyClientCert}, want: "beyond loopback"},
		{name: "no port", listen: "127.0.0.1", want: "must be host:port"},
		{name: "port is a name", listen: "127.0.0.1:nats", want: "has no usable port"},
		{name: "port too large", listen: "127.0.0.1:65536", token: token, want: "has no usable port"},
		{name: "negative port", listen: "127.0.0.1:-1", want: "has no usable port"},
		{name: "no store", want: "store_dir is required"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := Config{Listen: tt.listen, Token: tt.token, TLS: tt.tls, StoreDir: t.TempDir(), Logger: zap.NewNop()}
			if tt.name == "no store" {
				cfg.StoreDir = ""
			}
			server, err := Start(cfg)
			if err == nil {
				server.Stop()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v, want %q", err, tt.want)
			}
		})
	}
}

func TestServerMayListen(t *testing.T) {
	t.Parallel()
	token := secret.New(canary)
	verify := &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert}
	tests := []struct {
		name   string
		listen string
		token  secret.Value
		tls    *tls.Config
	}{
		{name: "loopback", listen: "127.0.0.1:4222"},
		{name: "another address of loopback", listen: "127.1.2.3:4222"},
		{name: "IPv6 loopback", listen: "[::1]:4222"},
		{name: "localhost", listen: "localhost:0"},
		{name: "not at all", listen: ""},
		{name: "beyond, with a token", listen: "0.0.0.0:4222", token: token},
		{name: "beyond, with client certificates", listen: ":4222", tls: verify},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			opts, err := Config{Listen: tt.listen, Token: tt.token, TLS: tt.tls, StoreDir: "x"}.options()
			if err != nil {
				t.Fatal(err)
			}
			if !opts.SyncAlways || !opts.JetStream || !opts.NoSigs || opts.Host == "" || opts.DontListen != (tt.listen == "") || opts.MaxPayload != 8<<20 {
				t.Errorf("the options are %+v", opts)
			}
		})
	}
}

func TestServerURL(t *testing.T) {
	t.Parallel()
	if got := startServer(t, Config{StoreDir: t.TempDir()}).URL(); got != "" {
		t.Errorf("a server that does not listen is at %q", got)
	}
	listening := startServer(t, Config{StoreDir: t.TempDir(), Listen: "127.0.0.1:0"})
	nc, err := nats.Connect(listening.URL())
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
}

func TestServerTellsAtOnceWhyItDoesNotStart(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := taken.Close(); err != nil {
			t.Error(err)
		}
	})
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		cfg  Config
		want string
	}{
		{"the port is taken", Config{StoreDir: t.TempDir(), Listen: taken.Addr().String()}, "address already in use"},
		{"the store is a file", Config{StoreDir: file}, file},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.cfg.Logger = zap.NewNop()
			start := time.Now()
			server, err := Start(tt.cfg)
			if err == nil {
				server.Stop()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v, want %q", err, tt.want)
			}
			if took := time.Since(start); took > startTimeout/2 {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// The server's log is ours: nothing secret in it, and its small talk at debug level.
func TestServerLogs(t *testing.T) {
	t.Parallel()
	log, seen := newLogs()
	server := startServer(t, Config{StoreDir: t.TempDir(), Listen: "127.0.0.1:0", Token: secret.New(canary), Logger: log})
	for _, token := range []string{canary, "wrong" + canary} {
		nc, err := nats.Connect(server.URL(), nats.Token(token))
		if err == nil {
			nc.Close()
		}
		if (err == nil) != (token == canary) {
			t.Errorf("connecting: %v", err)
		}
	}
	server.Stop()
	text := seen.text()
	if strings.Contains(text, canary) {
		t.Errorf("the log has the token:\n%s", text)
	}
	if !strings.Contains(text, "authentication error") || !strings.Contains(text, "debug Server is ready") {
		t.Errorf("the log is incomplete:\n%s", text)
	}
}

// Two servers on the same files would destroy them. A server that listens nowhere is in
// the way of others only there.
func TestServerHasItsStoreForItself(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := startServer(t, Config{StoreDir: dir})
	second, err := Start(Config{StoreDir: dir, Logger: zap.NewNop()})
	if err == nil {
		second.Stop()
	}
	if err == nil || !strings.Contains(err.Error(), "store_dir "+dir+" is in use by another worker") {
		t.Errorf("a second server on the same files: %v", err)
	}
	first.Stop()
	startServer(t, Config{StoreDir: dir})
}

// TestClientsDoNotStopTheServer: the server's log lines hold what clients call themselves, and who
// may not even log in must not be able to make one look like a store that cannot be written to.
func TestClientsDoNotStopTheServer(t *testing.T) {
	t.Parallel()
	log, seen := newLogs()
	server := startServer(t, Config{Listen: "127.0.0.1:0", Token: secret.New(canary), StoreDir: t.TempDir(), Logger: log})
	for _, name := range []string{
		"JetStream out of space, will be DISABLED", "Critical write error: no space left on device", "disabling JetStream",
	} {
		_, err := nats.Connect(server.URL(), nats.UserInfo(name, "wrong"), nats.NoReconnect())
		if !errors.Is(err, nats.ErrAuthorization) {
			t.Fatalf("the error is %v, want that the login is refused", err)
		}
		eventually(t, "the server's log names the client", func() bool { return strings.Contains(seen.text(), name) })
		if err := server.Ready(); err != nil {
			t.Errorf("a client called %q stops the server: %v", name, err)
		}
	}
}

// TestWriteErrors has the server's own lines (nats-server 2.15).
func TestWriteErrors(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{
		"Filestore [REKEY_JOBS] Critical write error: write /data/1.blk: no space left on device":                                                true,
		"Filestore [KV_REKEY_LEDGER] File system permission denied when flushing stream state, disabling JetStream: open /data/index.db: denied": true,
		"Filestore [REKEY_JOBS] checkMsgs: write /data/1.blk: no space left on device":                                                           true,
		"Stream create failed for '$G > REKEY_JOBS': write /data/meta.inf.tmp: no space left on device (10077)":                                  true,
		"JetStream out of space, will be DISABLED":                                                                                               true,
		"JetStream out of File resources, will be DISABLED":                                                                                      true,
		"JetStream stream '$G > REKEY_JOBS' critical write error: write /data/1.blk: no space left on device":                                    true,
		"JetStream consumer '$G > REKEY_JOBS > jobs-bulk' critical write error: sync":                                                            true,
		"JetStream failed to store a msg on stream '$G > REKEY_JOBS': write /data/1.blk: no space left on device":                                true,
		"Consumer '$G > REKEY_JOBS > jobs-bulk' error on write store state from check pending: write /data/o.dat: no space left on device":       true,
		"File system permission denied while writing, disabling JetStream":                                                                       true,
		"Filesystem permission denied while writing msg, disabling JetStream: open /data/1.blk: permission denied":                               true,
		"Filestore [DISABLED] checkMsgs: bad checksum":                                                                                           false,
		"JetStream consumer '$G > REKEY_JOBS > DISABLED' bad NAK delay value: \"will be DISABLED: no space left on device\"":                     false,
		"JetStream failed to store a msg on stream '$G > REKEY_JOBS': maximum bytes exceeded":                                                    false,
		"127.0.0.1:4 - cid:5 - \"v1:go:JetStream out of space, will be DISABLED\" - maximum payload exceeded: no space left on device":           false,
		"Invalid JetStream request '$G > $JS.API.STREAM.INFO.DISABLED': json: unknown field \"Filestore [x] Critical write error: \"":            false,
	} {
		if got := isWriteError(line); got != want {
			t.Errorf("a write error: %t, want %t: %s", got, want, line)
		}
	}
}
