package nats_test

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"rekey/checks/repo"
)

const folder = "deploy/nats"

// place is where the files of deploy/nats are put to run on this machine: with ports, folders, certificates and keys of
// its own in place of those of the example, and otherwise unchanged.
type place struct {
	dir     string
	seeds   map[string][]byte // By the name of the key in permissions.conf.
	clients [3]string         // host:port of the three servers for clients.
	leaf    string            // host:port of the leaf for clients.
}

func newPlace(t *testing.T) place {
	t.Helper()
	p := place{dir: t.TempDir(), seeds: map[string][]byte{}}
	certificates(t, p.dir)
	addresses := freeAddresses(t, 10)
	p.clients, p.leaf = [3]string(addresses[:3]), addresses[9]
	common := []string{
		"0.0.0.0:4222", "$CLIENTS", "0.0.0.0:6222", "$ROUTES", "0.0.0.0:7422", "$LEAVES", "http: 127.0.0.1:8222", "http: 127.0.0.1:-1",
		"/var/lib/nats", "$STORE", "/etc/nats/tls", p.dir, "127.0.0.1:4222", p.leaf, "max_file_store: 50GB", "max_file_store: 1GB",
		"nats-1.example.com:6222", addresses[3], "nats-2.example.com:6222", addresses[4], "nats-3.example.com:6222", addresses[5],
		"nats-1.example.com:7422", addresses[6], "nats-2.example.com:7422", addresses[7], "nats-3.example.com:7422", addresses[8],
	}
	common = append(common, p.keys(t)...)
	t.Setenv("REKEY_LEAF_SEED", string(p.seeds["REKEY_LEAF_NKEY"]))
	for i := range 3 {
		own := strings.NewReplacer("$CLIENTS", addresses[i], "$ROUTES", addresses[3+i], "$LEAVES", addresses[6+i],
			"$STORE", filepath.Join(p.dir, fmt.Sprintf("store-%d", i+1)), `"server.conf"`, fmt.Sprintf(`"server-%d.conf"`, i+1))
		change := func(text string) string { return own.Replace(strings.NewReplacer(common...).Replace(text)) }
		p.copy(t, "server.conf", fmt.Sprintf("server-%d.conf", i+1), change)
		p.copy(t, fmt.Sprintf("nats-%d.conf", i+1), fmt.Sprintf("nats-%d.conf", i+1), change)
	}
	p.copy(t, "permissions.conf", "permissions.conf", strings.NewReplacer(common...).Replace)
	p.copy(t, "leaf.conf", "leaf.conf", strings.NewReplacer(common...).Replace)
	return p
}

// copy writes a file changed, and makes sure that nothing of the example is left in it.
func (p place) copy(t *testing.T, from, to string, change func(string) string) {
	t.Helper()
	text := change(string(repo.Read(t, folder+"/"+from)))
	var code []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			code = append(code, line)
		}
	}
	for _, left := range []string{"example.com", "/etc/nats", "/var/lib/nats", "0.0.0.0"} {
		if strings.Contains(strings.Join(code, ""), left) {
			t.Fatalf("%s: %s is not known here\n%s", from, left, text)
		}
	}
	if err := os.WriteFile(filepath.Join(p.dir, to), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// keys makes a key for each role, keeps its seed and returns by what the example's keys are replaced.
func (p place) keys(t *testing.T) []string {
	t.Helper()
	var replaced []string
	for line := range strings.Lines(string(repo.Read(t, folder+"/permissions.conf"))) {
		name, old, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok || !strings.HasSuffix(name, "_NKEY") || !nkeys.IsValidPublicUserKey(old) {
			continue
		}
		pair, err := nkeys.CreateUser()
		if err != nil {
			t.Fatal(err)
		}
		seed, seedErr := pair.Seed()
		public, keyErr := pair.PublicKey()
		if seedErr != nil || keyErr != nil {
			t.Fatal(seedErr, keyErr)
		}
		if err := os.WriteFile(filepath.Join(p.dir, name+".nk"), seed, 0o600); err != nil {
			t.Fatal(err)
		}
		p.seeds[name] = seed
		replaced = append(replaced, old, public)
	}
	return replaced
}

// start runs a server of a file until the test ends.
func (p place) start(t *testing.T, file string) *server.Server {
	t.Helper()
	options, err := server.ProcessConfigFile(filepath.Join(p.dir, file))
	if err != nil {
		t.Fatal(err)
	}
	options.NoSigs, options.NoLog = true, true
	s, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatalf("the server of %s does not listen", file)
	}
	return s
}

// inboxes are the prefixes of those who share the workers' account, see docs/security.md.
var inboxes = map[string]string{"REKEY_READER_NKEY": "_INBOX_READER", "REKEY_OPERATOR_NKEY": "_INBOX_OPERATOR"}

// connect connects as a role to the servers, or to the leaf.
func (p place) connect(t *testing.T, key string, addresses ...string) *nats.Conn {
	t.Helper()
	option, err := nats.NkeyOptionFromSeed(filepath.Join(p.dir, key+".nk"))
	if err != nil {
		t.Fatal(err)
	}
	inbox := nats.CustomInboxPrefix(cmp.Or(inboxes[key], "_INBOX"))
	scheme, options := "tls://", []nats.Option{option, inbox, nats.MaxReconnects(-1), nats.RootCAs(filepath.Join(p.dir, "ca.crt"))}
	if addresses[0] == p.leaf { // On its own machine it speaks without TLS.
		scheme, options = "nats://", options[:3]
	}
	var conn *nats.Conn
	eventually(t, "a connection as "+key, func() bool {
		conn, err = nats.Connect(scheme+strings.Join(addresses, ","+scheme), options...)
		return err == nil
	})
	t.Cleanup(conn.Close)
	return conn
}

// eventually waits for something that comes by itself.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(90 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// freeAddresses returns addresses that are not in use, all different. They are below those that systems give to
// a program that asks for any: until a server listens there, another connection may get one of these.
func freeAddresses(t *testing.T, n int) []string {
	t.Helper()
	const lowest, highest = 12000, 32000
	var addresses []string
	for try := 0; len(addresses) < n; try++ {
		if try > 100*n {
			t.Fatalf("of %d addresses only %d are free", try, len(addresses))
		}
		port, err := rand.Int(rand.Reader, big.NewInt(highest-lowest))
		if err != nil {
			t.Fatal(err)
		}
		address := fmt.Sprintf("127.0.0.1:%d", lowest+port.Int64())
		if slices.Contains(addresses, address) {
			continue
		}
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
		if err != nil {
			continue // Another process has it.
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		addresses = append(addresses, address)
	}
	return addresses
}

// certificates writes an authority and a certificate of this machine for servers on both sides of a route.
func certificates(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "nats"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, template := range map[string]*x509.Certificate{"ca.crt": authority, "server.crt": leaf} {
		der, err := x509.CreateCertificate(rand.Reader, template, authority, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		writePEM(t, filepath.Join(dir, name), "CERTIFICATE", der)
	}
	writePEM(t, filepath.Join(dir, "server.key"), "PRIVATE KEY", private)
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	var buffer bytes.Buffer
	if err := pem.Encode(&buffer, &pem.Block{Type: kind, Bytes: der}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, buffer.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}
