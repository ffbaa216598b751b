package bus

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"go.uber.org/zap"

	"rekey/internal/layout"
	"rekey/internal/names"
	"rekey/internal/natsserver"
	"rekey/internal/secret"
)

// external starts a NATS server with JetStream as an operator would run it, and returns
// its URL.
func external(t *testing.T, change func(*server.Options)) *server.Server {
	t.Helper()
	opts := &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	}
	if change != nil {
		change(opts)
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	go srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(patience) {
		t.Fatal("the server does not start")
	}
	return srv
}

// keyPair makes an nkey of a kind and returns its public part and its seed.
func keyPair(t *testing.T, create func() (nkeys.KeyPair, error)) (pair nkeys.KeyPair, public string, seed []byte) {
	t.Helper()
	pair, err := create()
	if err != nil {
		t.Fatal(err)
	}
	if public, err = pair.PublicKey(); err != nil {
		t.Fatal(err)
	}
	if seed, err = pair.Seed(); err != nil {
		t.Fatal(err)
	}
	return pair, public, seed
}

// works uses JetStream over the connection.
func works(t *testing.T, conn *Conn) {
	t.Helper()
	if err := conn.Ready(); err != nil {
		t.Fatal(err)
	}
	names := names.New("rekey")
	if err := conn.Ensure(t.Context(), layout.Layout{Names: names}); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.PublishRaw(t.Context(), "incident", []byte(plain), ""); err != nil {
		t.Fatal(err)
	}
}

// refusalOf connects and expects an error that holds none of the secrets.
func refusalOf(t *testing.T, cfg ConnectConfig, secrets ...string) {
	t.Helper()
	log, seen := newLogs()
	cfg.Logger = log
	conn, err := Connect(cfg)
	if err == nil {
		conn.Close()
		t.Fatal("it was let in")
	}
	text := err.Error() + fmt.Sprintf("%+v", err) + seen.text()
	for _, s := range secrets {
		if strings.Contains(text, s) {
			t.Errorf("a secret is in error or log: %s", text)
		}
	}
}

func TestConnectWithToken(t *testing.T) {
	t.Parallel()
	srv := external(t, func(o *server.Options) { o.Authorization = canary })
	works(t, dial(t, ConnectConfig{URL: srv.ClientURL(), Token: always(secret.New(canary))}))
	refusalOf(t, ConnectConfig{URL: srv.ClientURL(), Token: always(secret.New("no" + canary))}, canary)
	refusalOf(t, ConnectConfig{URL: srv.ClientURL()})
}

func TestConnectWithPassword(t *testing.T) {
	t.Parallel()
	srv := external(t, func(o *server.Options) { o.Username, o.Password = "rekey", canary })
	works(t, dial(t, ConnectConfig{URL: srv.ClientURL(), User: "rekey", Password: always(secret.New(canary))}))
	refusalOf(t, ConnectConfig{URL: srv.ClientURL(), User: "rekey", Password: always(secret.New("no" + canary))}, canary)
}

func TestConnectWithNKey(t *testing.T) {
	t.Parallel()
	_, public, seed := keyPair(t, nkeys.CreateUser)
	_, _, other := keyPair(t, nkeys.CreateUser)
	srv := external(t, func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} })
	works(t, dial(t, ConnectConfig{URL: srv.ClientURL(), NKeySeed: always(secret.New(string(seed)))}))
	refusalOf(t, ConnectConfig{URL: srv.ClientURL(), NKeySeed: always(secret.New(string(other)))}, string(other))
	refusalOf(t, ConnectConfig{URL: srv.ClientURL(), NKeySeed: always(secret.New(canary))}, canary)
	refusalOf(t, ConnectConfig{URL: srv.ClientURL(), NKeySeed: always(secret.New(public))})
}

func TestConnectWithCredentialsFile(t *testing.T) {
	t.Parallel()
	operator, operatorKey, _ := keyPair(t, nkeys.CreateOperator)
	account, accountKey, _ := keyPair(t, nkeys.CreateAccount)
	_, userKey, userSeed := keyPair(t, nkeys.CreateUser)
	encode := func(claims jwt.Claims, signer nkeys.KeyPair) string {
		t.Helper()
		token, err := claims.Encode(signer)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	operatorClaims := jwt.NewOperatorClaims(operatorKey)
	accountClaims := jwt.NewAccountClaims(accountKey)
	accountClaims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	_, systemKey, _ := keyPair(t, nkeys.CreateAccount)
	operatorClaims.SystemAccount = systemKey
	trusted, err := jwt.DecodeOperatorClaims(encode(operatorClaims, operator))
	if err != nil {
		t.Fatal(err)
	}
	resolver := &server.MemAccResolver{}
	for key, token := range map[string]string{
		accountKey: encode(accountClaims, operator),
		systemKey:  encode(jwt.NewAccountClaims(systemKey), operator),
	} {
		if err := resolver.Store(key, token); err != nil {
			t.Fatal(err)
		}
	}
	srv := external(t, func(o *server.Options) {
		o.TrustedOperators, o.AccountResolver, o.SystemAccount = []*jwt.OperatorClaims{trusted}, resolver, systemKey
	})
	creds, err := jwt.FormatUserConfig(encode(jwt.NewUserClaims(userKey), account), userSeed)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	works(t, dial(t, ConnectConfig{URL: srv.ClientURL(), CredentialsFile: file("good.creds", creds)}))
	stranger, _, _ := keyPair(t, nkeys.CreateAccount)
	forged, err := jwt.FormatUserConfig(encode(jwt.NewUserClaims(userKey), stranger), userSeed)
	if err != nil {
		t.Fatal(err)
	}
	refusalOf(t, ConnectConfig{URL: srv.ClientURL(), CredentialsFile: file("forged.creds", forged)}, string(userSeed))
	refusalOf(t, ConnectConfig{URL: srv.ClientURL(), CredentialsFile: file("odd.creds", []byte(canary))}, canary)
	refusalOf(t, ConnectConfig{URL: srv.ClientURL(), CredentialsFile: filepath.Join(dir, "none.creds")})
}

func TestConnectWithClientCertificate(t *testing.T) {
	t.Parallel()
	ca, stranger := newAuthority(t), newAuthority(t)
	srv := external(t, func(o *server.Options) { o.TLS, o.TLSVerify, o.TLSConfig = true, true, ca.server(t) })
	works(t, dial(t, ConnectConfig{URL: srv.ClientURL(), TLS: ca.client(t, ca)}))
	works(t, dial(t, ConnectConfig{URL: strings.Replace(srv.ClientURL(), "nats://", "tls://", 1), TLS: ca.client(t, ca)}))
	refusalOf(t, ConnectConfig{URL: srv.ClientURL(), TLS: ca.client(t, nil)})
	refusalOf(t, ConnectConfig{URL: srv.ClientURL(), TLS: ca.client(t, stranger)})
	refusalOf(t, ConnectConfig{URL: srv.ClientURL(), TLS: stranger.client(t, ca)}) // It does not trust the server.
	refusalOf(t, ConnectConfig{URL: srv.ClientURL()})
	refusalOf(t, ConnectConfig{URL: external(t, nil).ClientURL(), TLS: ca.client(t, ca)}) // No TLS where it is asked for.
}

func TestConnectToEmbedded(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	token := secret.New(canary)
	withToken := func(cfg ConnectConfig) ConnectConfig { cfg.Token = always(token); return cfg }
	tests := []struct {
		name   string
		cfg    natsserver.Config
		client ConnectConfig // One from outside that is let in.
		wrong  []ConnectConfig
	}{
		{name: "open", cfg: natsserver.Config{}},
		{name: "token", cfg: natsserver.Config{Token: token}, client: withToken(ConnectConfig{}), wrong: []ConnectConfig{{}}},
		{
			name: "TLS and client certificates", cfg: natsserver.Config{TLS: ca.server(t)},
			client: ConnectConfig{TLS: ca.client(t, ca)}, wrong: []ConnectConfig{{}, {TLS: ca.client(t, nil)}},
		},
		{
			name: "TLS, client certificates and token", cfg: natsserver.Config{TLS: ca.server(t), Token: token},
			client: withToken(ConnectConfig{TLS: ca.client(t, ca)}),
			wrong:  []ConnectConfig{withToken(ConnectConfig{}), {TLS: ca.client(t, ca)}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.cfg.StoreDir, tt.cfg.Listen = t.TempDir(), "127.0.0.1:0"
			srv := startServer(t, tt.cfg)
			works(t, dial(t, ConnectConfig{Embedded: srv})) // Our own, inside the process.
			tt.client.URL = srv.URL()
			if err := dial(t, tt.client).Ready(); err != nil {
				t.Error(err)
			}
			for _, cfg := range tt.wrong {
				cfg.URL = srv.URL()
				refusalOf(t, cfg, canary)
			}
		})
	}
	t.Run("token without listening", func(t *testing.T) {
		t.Parallel()
		srv := startServer(t, natsserver.Config{StoreDir: t.TempDir(), Token: token})
		works(t, dial(t, ConnectConfig{Embedded: srv}))
	})
}

func TestConnectErrorsHideCredentials(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, url, want string }{
		{"no server", "nats://rekey:" + canary + "@127.0.0.1:1", "nats://127.0.0.1:1"},
		{"token in the URL", "nats://" + canary + "@127.0.0.1:1,nats://" + canary + "@127.0.0.1:2", "nats://127.0.0.1:1,nats://127.0.0.1:2"},
		{"at signs", "nats://rekey:" + canary + "@" + canary + "@127.0.0.1:1", "nats://127.0.0.1:1"},
		{"no URL", "nats://rekey:" + canary + "%zz@127.0.0.1:1", "the URL cannot be read"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := Connect(ConnectConfig{URL: tt.url, Logger: zap.NewNop()})
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), canary) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func TestReconnectDelay(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		attempts int
		want     time.Duration // The longest; the shortest is half of it.
	}{
		{0, 250 * time.Millisecond},
		{1, 500 * time.Millisecond},
		{2, time.Second},
		{5, 8 * time.Second},
		{6, 15 * time.Second},
		{1000, 15 * time.Second},
	} {
		for range 100 {
			if got := reconnectDelay(tt.attempts); got < tt.want/2 || got > tt.want {
				t.Errorf("after %d attempts: %s", tt.attempts, got)
			}
		}
	}
}

func TestJetStreamOfTheConnection(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if _, err := r.conn.JetStream().CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b"}); err != nil {
		t.Error(err)
	}
}
