package apptest

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"rekey/internal/config"
)

// Login is a way to authenticate at an external server: what the server asks for, what the
// worker gets, and how a stranger does it.
type Login struct {
	Name    string
	Server  func(*server.Options)
	Worker  func(*config.NATS)
	Client  []nats.Option
	Wrongly func(*config.NATS) // Credentials that the server does not take.
}

// InFile writes a secret into a file of its own.
func InFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// LoginWithCertificate is a login by a TLS client certificate.
func LoginWithCertificate(t *testing.T) Login {
	t.Helper()
	ours, theirs := NewAuthority(t), NewAuthority(t)
	serverCert, clientCert, foreign := ours.Issue(t, "server"), ours.Issue(t, "client"), theirs.Issue(t, "client")
	return Login{
		Name: "TLS client certificate",
		Server: func(o *server.Options) {
			o.TLS, o.TLSVerify, o.TLSTimeout = true, true, Patience.Seconds()
			o.TLSConfig = &tls.Config{
				MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{serverCert.Pair},
				ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ours.Pool,
			}
		},
		Worker: func(n *config.NATS) {
			n.TLS = config.ClientTLS{CAFile: ours.File, CertFile: clientCert.CertFile, KeyFile: clientCert.KeyFile}
		},
		Client: []nats.Option{nats.Secure(&tls.Config{
			MinVersion: tls.VersionTLS12, RootCAs: ours.Pool, Certificates: []tls.Certificate{clientCert.Pair},
		})},
		Wrongly: func(n *config.NATS) { n.TLS.CertFile, n.TLS.KeyFile = foreign.CertFile, foreign.KeyFile },
	}
}
