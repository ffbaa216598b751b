package durability_test

import (
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"rekey/internal/apptest"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/secret"
)

func TestExternalNATS(t *testing.T) {
	t.Parallel()
	for _, l := range []apptest.Login{
		loginWithPassword(t), loginWithToken(t), loginWithNKey(t), loginWithCredentials(t), apptest.LoginWithCertificate(t),
	} {
		t.Run(l.Name, func(t *testing.T) {
			t.Parallel()
			srv := apptest.StartNATS(t, l.Server)
			rig, _ := apptest.StandInRig(t)
			rig.Cfg.NATS.URL = srv.ClientURL()
			l.Worker(&rig.Cfg.NATS)
			w := rig.Launch(t)
			w.AwaitReady()
			w.Connected(t, l.Client...)
			w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String())
			if got := w.Results(1)[0].Record.Outcome; got != jobs.OutcomeRevoked {
				t.Errorf("the outcome is %s, want revoked", got)
			}
			if got := w.Records(apptest.HexID(1)); len(got) != 1 {
				t.Errorf("the commands see %d jobs, want 1", len(got))
			}
			before := rig.Logs.FilterMessage(notReady).Len()
			wrong := rig.Beside("worker-2")
			l.Wrongly(&wrong.Cfg.NATS)
			wrong.Cfg.HTTP.Listen = apptest.FreeAddress(t)
			stranger := wrong.Launch(t)
			stranger.HTTP = wrong.Cfg.HTTP.Listen
			apptest.Eventually(t, "the wrong credentials to be seen", func() bool {
				return rig.Logs.FilterMessage(notReady).Len() > before
			})
			if status, _, body := stranger.Get("/readyz", ""); status != 503 {
				t.Errorf("with wrong credentials /readyz is %d %s, want 503", status, body)
			}
		})
	}
}

func loginWithPassword(t *testing.T) apptest.Login {
	t.Helper()
	password := secret.Ref{File: apptest.InFile(t, "correct horse")}
	return apptest.Login{
		Name:    "user and password file",
		Server:  func(o *server.Options) { o.Username, o.Password = "rekey", "correct horse" },
		Worker:  func(n *config.NATS) { n.User, n.Password = "rekey", password },
		Client:  []nats.Option{nats.UserInfo("rekey", "correct horse")},
		Wrongly: func(n *config.NATS) { n.User = "wrong" },
	}
}

func loginWithToken(t *testing.T) apptest.Login {
	t.Helper()
	right, wrong := secret.Ref{File: apptest.InFile(t, "the-token")}, secret.Ref{File: apptest.InFile(t, "another-token")}
	return apptest.Login{
		Name:    "token file",
		Server:  func(o *server.Options) { o.Authorization = "the-token" },
		Worker:  func(n *config.NATS) { n.Token = right },
		Client:  []nats.Option{nats.Token("the-token")},
		Wrongly: func(n *config.NATS) { n.Token = wrong },
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

func loginWithNKey(t *testing.T) apptest.Login {
	t.Helper()
	pair, public, seed := newKey(t, nkeys.CreateUser)
	_, _, other := newKey(t, nkeys.CreateUser)
	right, wrong := apptest.InFile(t, seed), apptest.InFile(t, other)
	return apptest.Login{
		Name:    "nkey file",
		Server:  func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} },
		Worker:  func(n *config.NATS) { n.NKeyFile = right },
		Client:  []nats.Option{nats.Nkey(public, pair.Sign)},
		Wrongly: func(n *config.NATS) { n.NKeyFile = wrong },
	}
}

// loginWithCredentials is the decentralised way: an operator signs accounts, which sign users.
func loginWithCredentials(t *testing.T) apptest.Login {
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
	return apptest.Login{
		Name: "credentials file",
		Server: func(o *server.Options) {
			o.TrustedOperators, o.AccountResolver = []*jwt.OperatorClaims{jwt.NewOperatorClaims(operatorKey)}, resolver
			o.SystemAccount = systemKey
		},
		Worker:  func(n *config.NATS) { n.CredentialsFile = right },
		Client:  []nats.Option{nats.UserCredentials(right)},
		Wrongly: func(n *config.NATS) { n.CredentialsFile = wrong },
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
	return apptest.InFile(t, strings.TrimSpace(string(file)))
}
