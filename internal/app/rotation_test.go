package app_test

import (
	"crypto/tls"
	"os"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/secret"
)

// TestLoginIsRotated: a server that takes another login from one moment on, a worker that is given it in its files, and no
// restart of the worker.
func TestLoginIsRotated(t *testing.T) {
	t.Parallel()
	password := inFile(t, "before")
	first, second := newAuthority(t), newAuthority(t)
	serverCert, certBefore, certAfter := first.issue(t, "server"), first.issue(t, "client"), second.issue(t, "client")
	asks := func(clients *authority) func(*server.Options) {
		return func(o *server.Options) {
			o.TLS, o.TLSVerify, o.TLSTimeout = true, true, patience.Seconds()
			o.TLSConfig = &tls.Config{
				MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{serverCert.pair},
				ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients.pool,
			}
		}
	}
	for _, tt := range []struct {
		name          string
		before, after func(*server.Options)
		worker        func(*config.NATS)
		rotate        map[string]string // File by file what is in it from then on.
		client        nats.Option       // How a stranger logs in afterwards.
	}{
		{
			name:   "password file",
			before: func(o *server.Options) { o.Username, o.Password = "rekey", "before" },
			after:  func(o *server.Options) { o.Username, o.Password = "rekey", "after" },
			worker: func(n *config.NATS) { n.User, n.Password = "rekey", secret.Ref{File: password} },
			rotate: map[string]string{password: "after"},
			client: nats.UserInfo("rekey", "after"),
		},
		{
			name: "TLS client certificate", before: asks(first), after: asks(second),
			worker: func(n *config.NATS) {
				n.TLS = config.ClientTLS{CAFile: first.file, CertFile: certBefore.certFile, KeyFile: certBefore.keyFile}
			},
			rotate: map[string]string{certBefore.certFile: textOf(t, certAfter.certFile), certBefore.keyFile: textOf(t, certAfter.keyFile)},
			client: nats.Secure(&tls.Config{
				MinVersion: tls.VersionTLS12, RootCAs: first.pool, Certificates: []tls.Certificate{certAfter.pair},
			}),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			place := at(t, freeAddress(t), t.TempDir())
			srv := startNATS(t, func(o *server.Options) { place(o); tt.before(o) })
			rig, _ := standInRig(t)
			rig.cfg.NATS.URL = srv.ClientURL()
			tt.worker(&rig.cfg.NATS)
			w := rig.launch(t)
			w.awaitReady()
			stopNATS(srv)
			startNATS(t, func(o *server.Options) { place(o); tt.after(o) })
			eventually(t, "the old login to be refused", func() bool { return rig.logs.FilterMessage("asynchronous error").Len() > 0 })
			for path, text := range tt.rotate {
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			w.connected(t, tt.client)
			w.publish("incident", x509Disable(hexID(1)).String())
			if got := w.resultOf(hexID(1)).Outcome; got != jobs.OutcomeRevoked {
				t.Errorf("the outcome is %s, want revoked", got)
			}
		})
	}
}

func textOf(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
