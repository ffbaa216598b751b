package app_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/secret"
)

// login is a way to authenticate at an external server: what the server asks for, what the
// worker is told, and how a stranger does it.
type login struct {
	name    string
	server  func(*server.Options)
	worker  func(*config.NATS)
	client  []nats.Option
	wrongly func(*config.NATS) // Credentials that the server does not take.
}

func TestExternalNATS(t *testing.T) {
	t.Parallel()
	for _, l := range []login{
		loginWithPassword(t), loginWithToken(t), loginWithNKey(t), loginWithCredentials(t), loginWithCertificate(t),
	} {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			srv := startNATS(t, l.server)
			rig, _ := standInRig(t)
			rig.cfg.NATS.URL = srv.ClientURL()
			l.worker(&rig.cfg.NATS)
			w := rig.launch(t)
			w.awaitReady()
			w.connected(t, l.client...)
			w.publish("incident", x509Disable(hexID(1)).String())
			if got := w.results(1)[0].record.Outcome; got != jobs.OutcomeRevoked {
				t.Errorf("the outcome is %s, want revoked", got)
			}
			if got := w.records(hexID(1)); len(got) != 1 {
				t.Errorf("the commands see %d jobs, want 1", len(got))
			}
			before := rig.logs.FilterMessage(notReady).Len()
			wrong := rig.beside("worker-2")
			l.wrongly(&wrong.cfg.NATS)
			wrong.cfg.HTTP.Listen = freeAddress(t)
			stranger := wrong.launch(t)
			stranger.HTTP = wrong.cfg.HTTP.Listen
			eventually(t, "the wrong credentials to be seen", func() bool {
				return rig.logs.FilterMessage(notReady).Len() > before
			})
			if status, _, body := stranger.get("/readyz", ""); status != 503 {
				t.Errorf("with wrong credentials /readyz is %d %s, want 503", status, body)
			}
		})
	}
}

// inFile writes a secret into a file of its own.
func inFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func loginWithPassword(t *testing.T) login {
	t.Helper()
	password := secret.Ref{File: inFile(t, "correct horse")}
	return login{
		name:    "user and password file",
		server:  func(o *server.Options) { o.Username, o.Password = "rekey", "correct horse" },
		worker:  func(n *config.NATS) { n.User, n.Password = "rekey", password },
		client:  []nats.Option{nats.UserInfo("rekey", "correct horse")},
		wrongly: func(n *config.NATS) { n.User = "somebody" },
	}
}

func loginWithToken(t *testing.T) login {
	t.Helper()
	right, wrong := secret.Ref{File: inFile(t, "the-token")}, secret.Ref{File: inFile(t, "another-token")}
	return login{
		name:    "token file",
		server:  func(o *server.Options) { o.Authorization = "the-token" },
		worker:  func(n *config.NATS) { n.Token = right },
		client:  []nats.Option{nats.Token("the-token")},
		wrongly: func(n *config.NATS) { n.Token = wrong },
	}
}

// newKey makes an nkey and returns it with its public half and its seed.
func newKey(t *testing.T, create func() (nkeys.KeyPair, error)) (pair nkeys.KeyPair, public, seed string) {
	t.Helper()
	pair, err := create()
	if err != nil {
		t.Fatal(err)
	}
	public, err = pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	text, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return pair, public, string(text)
}

func loginWithNKey(t *testing.T) login {
	t.Helper()
	pair, public, seed := newKey(t, nkeys.CreateUser)
	_, _, other := newKey(t, nkeys.CreateUser)
	right, wrong := inFile(t, seed), inFile(t, other)
	return login{
		name:    "nkey file",
		server:  func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} },
		worker:  func(n *config.NATS) { n.NKeyFile = right },
		client:  []nats.Option{nats.Nkey(public, pair.Sign)},
		wrongly: func(n *config.NATS) { n.NKeyFile = wrong },
	}
}

// loginWithCredentials is the decentralised way: an operator signs accounts, which sign users.
func loginWithCredentials(t *testing.T) login {
	t.Helper()
	operator, operatorKey, _ := newKey(t, nkeys.CreateOperator)
	account, accountKey, _ := newKey(t, nkeys.CreateAccount)
	_, systemKey, _ := newKey(t, nkeys.CreateAccount)
	stranger, _, _ := newKey(t, nkeys.CreateAccount)
	resolver := &server.MemAccResolver{}
	for _, key := range []string{accountKey, systemKey} {
		claims := jwt.NewAccountClaims(key)
		if key == accountKey {
			claims.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: -1, MemoryStorage: -1, Streams: -1, Consumer: -1}
		}
		signed, err := claims.Encode(operator)
		if err != nil {
			t.Fatal(err)
		}
		if err := resolver.Store(key, signed); err != nil {
			t.Fatal(err)
		}
	}
	right, wrong := userCredentials(t, account), userCredentials(t, stranger)
	return login{
		name: "credentials file",
		server: func(o *server.Options) {
			o.TrustedOperators, o.AccountResolver = []*jwt.OperatorClaims{jwt.NewOperatorClaims(operatorKey)}, resolver
			o.SystemAccount = systemKey
		},
		worker:  func(n *config.NATS) { n.CredentialsFile = right },
		client:  []nats.Option{nats.UserCredentials(right)},
		wrongly: func(n *config.NATS) { n.CredentialsFile = wrong },
	}
}

// userCredentials is the file of a new user of the account.
func userCredentials(t *testing.T, account nkeys.KeyPair) string {
	t.Helper()
	_, public, seed := newKey(t, nkeys.CreateUser)
	token, err := jwt.NewUserClaims(public).Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	file, err := jwt.FormatUserConfig(token, []byte(seed))
	if err != nil {
		t.Fatal(err)
	}
	return inFile(t, strings.TrimSpace(string(file)))
}

func loginWithCertificate(t *testing.T) login {
	t.Helper()
	ours, theirs := newAuthority(t), newAuthority(t)
	serverCert, clientCert, foreign := ours.issue(t, "server"), ours.issue(t, "client"), theirs.issue(t, "client")
	return login{
		name: "TLS client certificate",
		server: func(o *server.Options) {
			o.TLS, o.TLSVerify, o.TLSTimeout = true, true, patience.Seconds()
			o.TLSConfig = &tls.Config{
				MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{serverCert.pair},
				ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ours.pool,
			}
		},
		worker: func(n *config.NATS) {
			n.TLS = config.ClientTLS{CAFile: ours.file, CertFile: clientCert.certFile, KeyFile: clientCert.keyFile}
		},
		client: []nats.Option{nats.Secure(&tls.Config{
			MinVersion: tls.VersionTLS12, RootCAs: ours.pool, Certificates: []tls.Certificate{clientCert.pair},
		})},
		wrongly: func(n *config.NATS) { n.TLS.CertFile, n.TLS.KeyFile = foreign.certFile, foreign.keyFile },
	}
}
