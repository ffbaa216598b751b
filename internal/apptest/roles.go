package apptest

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

	"rekey/internal/doctor"
	"rekey/internal/fleet"
)

// Needed are the permissions that the doctor asks for, as a server's.
func Needed() *server.Permissions {
	p := &server.Permissions{Publish: &server.SubjectPermission{}, Subscribe: &server.SubjectPermission{}}
	for _, need := range doctor.NATSNeeds("rekey") {
		list := &p.Publish.Allow
		if need.Subscribe {
			list = &p.Subscribe.Allow
		}
		*list = append(*list, need.Grant)
	}
	p.Publish.Allow = append(p.Publish.Allow, "$SYS.REQ.USER.INFO")
	p.Response = &server.ResponsePermission{MaxMsgs: 1, Expires: time.Minute} // As in deploy/nats/permissions.conf.
	return p
}

// StartAllowing runs a server with a user "worker" who may do what is given, and "all" who may do everything.
func StartAllowing(t *testing.T, p *server.Permissions) *server.Server {
	t.Helper()
	return StartNATS(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "worker", Password: "secret-of-worker", Permissions: p}, {Username: "all", Password: "secret-of-all"}}
	})
}

// Guarded is a server that runs with deploy/nats/permissions.conf.
type Guarded struct {
	URL   string
	Seeds map[string]string // By the role.
}

// StartGuarded starts a server with the file as it is shipped and keys of its own.
func StartGuarded(t *testing.T) Guarded {
	t.Helper()
	rules, err := os.ReadFile(File(t, "deploy", "nats", "permissions.conf"))
	if err != nil {
		t.Fatal(err)
	}
	g := Guarded{Seeds: map[string]string{}}
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
		g.Seeds[role] = string(seed)
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
	g.URL = serveFile(t, filepath.Join(dir, "server.conf"))
	return g
}

// serveFile starts a server with a file of settings, and returns its URL.
func serveFile(t *testing.T, file string) string {
	t.Helper()
	opts, err := server.ProcessConfigFile(file)
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
	if !srv.ReadyForConnections(Patience) {
		t.Fatal("the server does not start")
	}
	return srv.ClientURL()
}

// Dial connects as a role. What the server forbids arrives at the returned channel.
func (g Guarded) Dial(t *testing.T, role string, opts ...nats.Option) (*Stranger, <-chan error) {
	t.Helper()
	pair, err := nkeys.FromSeed([]byte(g.Seeds[role]))
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	forbidden := make(chan error, 100)
	opts = append(opts, nats.Nkey(public, pair.Sign), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { forbidden <- err }))
	return DialNATS(t, g.URL, opts...), forbidden
}

// As connects with what the commands use, as a role that has inboxes of its own.
func (g Guarded) As(t *testing.T, rig *Rig, role, inbox string) *fleet.Client {
	t.Helper()
	own := rig.Beside(role)
	own.Cfg.NATS.NKeyFile, own.Cfg.NATS.InboxPrefix = InFile(t, g.Seeds[role]), inbox
	client, err := fleet.Dial(t.Context(), own.Cfg, "", rig.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}
