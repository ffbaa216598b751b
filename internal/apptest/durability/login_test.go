package durability_test

import (
	"crypto/tls"
	"os"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"rekey/internal/apptest"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/secret"
)

// TestLoginIsRotated: a server that takes another login from one moment on, a worker that is given it in its files, and no
// restart of the worker.
func TestLoginIsRotated(t *testing.T) {
	t.Parallel()
	password := apptest.InFile(t, "before")
	first, second := apptest.NewAuthority(t), apptest.NewAuthority(t)
	serverCert, certBefore, certAfter := first.Issue(t, "server"), first.Issue(t, "client"), second.Issue(t, "client")
	asks := func(clients *apptest.Authority) func(*server.Options) {
		return func(o *server.Options) {
			o.TLS, o.TLSVerify, o.TLSTimeout = true, true, apptest.Patience.Seconds()
			o.TLSConfig = &tls.Config{
				MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{serverCert.Pair},
				ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients.Pool,
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
				n.TLS = config.ClientTLS{CAFile: first.File, CertFile: certBefore.CertFile, KeyFile: certBefore.KeyFile}
			},
			rotate: map[string]string{certBefore.CertFile: textOf(t, certAfter.CertFile), certBefore.KeyFile: textOf(t, certAfter.KeyFile)},
			client: nats.Secure(&tls.Config{
				MinVersion: tls.VersionTLS12, RootCAs: first.Pool, Certificates: []tls.Certificate{certAfter.Pair},
			}),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			place := apptest.At(t, apptest.FreeAddress(t), t.TempDir())
			srv := apptest.StartNATS(t, func(o *server.Options) { place(o); tt.before(o) })
			rig, _ := apptest.StandInRig(t)
			rig.Cfg.NATS.URL = srv.ClientURL()
			tt.worker(&rig.Cfg.NATS)
			w := rig.Launch(t)
			w.AwaitReady()
			apptest.StopNATS(srv)
			apptest.StartNATS(t, func(o *server.Options) { place(o); tt.after(o) })
			apptest.Eventually(t, "the old login to be refused", func() bool { return rig.Logs.FilterMessage("asynchronous error").Len() > 0 })
			for path, text := range tt.rotate {
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			w.Connected(t, tt.client)
			w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String())
			if got := w.ResultOf(apptest.HexID(1)).Outcome; got != jobs.OutcomeRevoked {
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
