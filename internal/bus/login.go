package bus

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"rekey/internal/secret"
)

// maxCredentials bounds a .creds file, in bytes.
const maxCredentials = 64 << 10

// Secret reads a secret where it is kept. It is asked for each connection anew, so that one that was rotated is used from
// then on. Nil means that there is none.
type Secret func() (secret.Value, error)

// errKeyChanged ends an attempt to connect that began with an nkey which is not in the file any more.
var errKeyChanged = errors.New("nats.nkey_file: the key has changed")

// login answers what the server asks a connection for. It reads the secrets when it dials, because that may fail with a
// reason: the functions that nats.go asks for a password and a token cannot.
type login struct {
	password, token, seed Secret
	dialer                net.Dialer
	conn                  atomic.Pointer[nats.Conn] // Nil until there is one.

	mu   sync.Mutex // Guards read.
	read loginSecrets
}

// loginSecrets are what a connection is made with.
type loginSecrets struct {
	password, token secret.Value
	key             nkeys.KeyPair // Nil without an nkey.
	public          string        // Its public half.
}

// login reads the secrets of the configuration and returns what answers the server, with its options.
func (cfg ConnectConfig) login() (*login, []nats.Option, error) {
	l := &login{password: cfg.Password, token: cfg.Token, seed: cfg.NKeySeed, dialer: net.Dialer{Timeout: nats.DefaultTimeout}}
	read, err := l.readAll()
	if err != nil {
		return nil, nil, err
	}
	l.read = read
	opts := []nats.Option{nats.SetCustomDialer(l)}
	switch {
	case cfg.CredentialsFile != "":
		// The library does not say why it finds nothing in such a file.
		if _, err := secret.ReadFile(cfg.CredentialsFile, maxCredentials); err != nil {
			if _, content := errors.AsType[secret.ContentError](err); content {
				return nil, nil, fmt.Errorf("nats.credentials_file: %s: %w", cfg.CredentialsFile, err)
			}
		}
		return l, []nats.Option{nats.UserCredentials(cfg.CredentialsFile)}, nil // Which is read for each connection.
	case cfg.NKeySeed != nil:
		return l, append(opts, nats.Nkey(read.public, l.sign)), nil
	case cfg.User != "":
		return l, append(opts, nats.UserInfoHandler(func() (string, string) { return cfg.User, l.now().password.Reveal() })), nil
	case cfg.Token != nil:
		return l, append(opts, nats.TokenHandler(func() string { return l.now().token.Reveal() })), nil
	}
	return l, nil, nil
}

// Dial implements nats.CustomDialer. The connection holds its lock meanwhile, and makes one connection at a time.
func (l *login) Dial(network, address string) (net.Conn, error) {
	read, err := l.readAll()
	if err != nil {
		return nil, err
	}
	if read.public != l.now().public {
		conn := l.conn.Load()
		if conn == nil {
			return nil, errKeyChanged // It changed while the first connection is made: the next attempt knows it.
		}
		conn.Opts.Nkey = read.public // The server gets it before anything is signed.
	}
	l.mu.Lock()
	l.read = read
	l.mu.Unlock()
	return l.dialer.Dial(network, address)
}

// now is what was read last.
func (l *login) now() loginSecrets {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.read
}

// sign signs the server's nonce.
func (l *login) sign(nonce []byte) ([]byte, error) { return l.now().key.Sign(nonce) }

// readAll reads the secrets that there are. Errors name the setting.
func (l *login) readAll() (read loginSecrets, err error) {
	if read.password, err = l.password.get("nats.password"); err != nil {
		return read, err
	}
	if read.token, err = l.token.get("nats.token"); err != nil {
		return read, err
	}
	seed, err := l.seed.get("nats.nkey_file")
	if err != nil || seed.IsZero() {
		return read, err
	}
	if read.key, err = nkeys.FromSeed([]byte(seed.Reveal())); err != nil {
		return read, errors.New("nats.nkey_file: holds no nkey seed")
	}
	if read.public, err = read.key.PublicKey(); err != nil {
		return read, fmt.Errorf("nats.nkey_file: %w", err)
	}
	return read, nil
}

func (s Secret) get(setting string) (secret.Value, error) {
	if s == nil {
		return secret.Value{}, nil
	}
	value, err := s()
	if err != nil {
		return value, fmt.Errorf("%s: %w", setting, err)
	}
	return value, nil
}
