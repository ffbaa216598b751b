package bus

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	"go.uber.org/zap/zapcore"

	"rekey/internal/secret"
)

// always is a secret that is never rotated.
func always(value secret.Value) Secret { return func() (secret.Value, error) { return value, nil } }

// vessel is a place in which a secret can be changed.
type vessel struct{ text atomic.Pointer[string] }

func newVessel(text string) *vessel {
	v := &vessel{}
	v.text.Store(&text)
	return v
}

// read implements Secret. Nothing is in an empty vessel.
func (v *vessel) read() (secret.Value, error) {
	if text := *v.text.Load(); text != "" {
		return secret.New(text), nil
	}
	return secret.Value{}, errors.New("reading a secret from file /x: no such file or directory")
}

// TestRotatedLogin changes what a server takes, and then what the client has, while the client runs.
func TestRotatedLogin(t *testing.T) {
	t.Parallel()
	_, oldPublic, oldSeed := keyPair(t, nkeys.CreateUser)
	_, newPublic, newSeed := keyPair(t, nkeys.CreateUser)
	for _, tt := range []struct {
		name, setting string
		before, after string // The client's secrets.
		client        func(*ConnectConfig, Secret)
		old, new      func(*server.Options) // What the server takes.
	}{
		{
			name: "password", setting: "nats.password", before: "before-" + canary, after: "after-" + canary,
			client: func(c *ConnectConfig, s Secret) { c.User, c.Password = "rekey", s },
			old:    func(o *server.Options) { o.Username, o.Password = "rekey", "before-"+canary },
			new:    func(o *server.Options) { o.Username, o.Password = "rekey", "after-"+canary },
		},
		{
			name: "token", setting: "nats.token", before: "before-" + canary, after: "after-" + canary,
			client: func(c *ConnectConfig, s Secret) { c.Token = s },
			old:    func(o *server.Options) { o.Authorization = "before-" + canary },
			new:    func(o *server.Options) { o.Authorization = "after-" + canary },
		},
		{
			name: "nkey", setting: "nats.nkey_file", before: string(oldSeed), after: string(newSeed),
			client: func(c *ConnectConfig, s Secret) { c.NKeySeed = s },
			old:    func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: oldPublic}} },
			new:    func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: newPublic}} },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			address, secretNow := freePort(t), newVessel(tt.before)
			log, logged := newLogs()
			cfg := ConnectConfig{URL: "nats://" + address, Logger: log, Wait: true}
			tt.client(&cfg, secretNow.read)
			first := serveAt(t, address, tt.old)
			conn := dial(t, cfg)
			eventually(t, "it is connected", func() bool { return conn.Ready() == nil })
			stop(first)
			notReady(t, conn, "not connected")
			serveAt(t, address, tt.new)
			notReady(t, conn, "Authorization Violation")
			secretNow.text.Store(new(string)) // Between two versions of a file there may be none.
			notReady(t, conn, tt.setting+": reading a secret from file /x: no such file")
			secretNow.text.Store(&tt.after)
			eventually(t, "it is connected again", func() bool { return conn.Ready() == nil })
			works(t, conn)
			if text := logged.text(); strings.Contains(text, tt.before) || strings.Contains(text, tt.after) {
				t.Errorf("a secret is in the log:\n%s", text)
			}
		})
	}
}

// serveAt starts a server of an operator at an address.
func serveAt(t *testing.T, address string, change func(*server.Options)) *server.Server {
	t.Helper()
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return external(t, func(o *server.Options) {
		o.Port = port
		change(o)
	})
}

func stop(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

// TestRefusedLoginIsNotRepeatedInTheLog: a server that refuses the login is asked several times a second, and says the same
// each time.
func TestRefusedLoginIsNotRepeatedInTheLog(t *testing.T) {
	t.Parallel()
	address := freePort(t)
	right := func(o *server.Options) { o.Username, o.Password = "rekey", "right" }
	for name, begin := range map[string]func() *server.Server{
		"from the start": func() *server.Server { return nil },
		"later": func() *server.Server {
			return serveAt(t, address, func(o *server.Options) { o.Username, o.Password = "rekey", "wrong" })
		},
	} {
		t.Run(name, func(t *testing.T) {
			first := begin()
			if first == nil {
				first = serveAt(t, address, right)
			}
			var dialled atomic.Int64
			password := func() (secret.Value, error) { dialled.Add(1); return secret.New("wrong"), nil }
			log, logged := newLogs()
			dial(t, ConnectConfig{URL: "nats://" + address, Logger: log, Wait: true, User: "rekey", Password: password})
			if name == "later" {
				stop(first)
				first = serveAt(t, address, right)
			}
			eventually(t, "many attempts", func() bool { return dialled.Load() > 4 })
			stop(first)
			lines := logged.FilterLevelExact(zapcore.WarnLevel).FilterLoggerName("nats").Len()
			if lines == 0 || lines > 6 { // Each of what it says, once: lost, refused by the server, cannot connect for several reasons.
				t.Errorf("%d lines:\n%s", lines, logged.text())
			}
		})
	}
}
