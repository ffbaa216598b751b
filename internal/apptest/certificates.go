package apptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"rekey/internal/config"
)

// Authority signs certificates.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	Pool *x509.CertPool // With the authority alone.
	File string         // The same in PEM.
}

// Certificate is a certificate for 127.0.0.1 with its key.
type Certificate struct {
	Pair              tls.Certificate
	CertFile, KeyFile string
}

// NewAuthority makes a certificate authority.
func NewAuthority(t *testing.T) *Authority {
	t.Helper()
	key := newPrivateKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &Authority{cert: cert, key: key, Pool: x509.NewCertPool(), File: inPEM(t, "CERTIFICATE", der)}
	a.Pool.AddCert(cert)
	return a
}

// Issue makes a certificate for servers and clients.
func (a *Authority) Issue(t *testing.T, name string) Certificate {
	t.Helper()
	key := newPrivateKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c := Certificate{CertFile: inPEM(t, "CERTIFICATE", der), KeyFile: inPEM(t, "PRIVATE KEY", pkcs8)}
	if c.Pair, err = tls.LoadX509KeyPair(c.CertFile, c.KeyFile); err != nil {
		t.Fatal(err)
	}
	return c
}

func newPrivateKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// inPEM writes a block into a file of its own.
func inPEM(t *testing.T, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

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
