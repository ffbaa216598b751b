package sandbox

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Defaults of Config.
const (
	// DefaultTokenLifetime is what Atlas gives a bearer token.
	DefaultTokenLifetime = time.Hour
	// DefaultNonceLifetime is how long a digest nonce can be used.
	DefaultNonceLifetime = time.Minute

	// secretLifetime is how long the client secrets of the seed are good.
	secretLifetime = 90 * 24 * time.Hour
)

// secretPrefix begins every client secret.
const secretPrefix = "mdb_sa_sk_"

// Config says what a sandbox holds. The zero Config is the world of DefaultSeed with random
// secrets.
type Config struct {
	// Seed is the world to start with. A seed without accounts means DefaultSeed.
	Seed Seed
	// Secrets are the client secrets by client id (the first one of an account) or by their own id, and the private keys by
	// public key. Those that are not in it are random, and Secret tells them.
	Secrets map[string]string
	// TokenLifetime is how long a bearer token works, in whole seconds, at least one. Zero means
	// DefaultTokenLifetime.
	TokenLifetime time.Duration
	// NonceLifetime is how long a digest nonce works. Zero means DefaultNonceLifetime.
	NonceLifetime time.Duration
	// Buckets replaces buckets of DefaultBuckets, by name.
	Buckets map[string]Bucket
	// Handlers are operations besides those that the sandbox knows.
	Handlers []Handler
	// Now tells the time. Nil means time.Now.
	Now func() time.Time
}

// Sandbox is one stand-in for the Atlas API. It is an http.Handler, and safe for concurrent use.
type Sandbox struct {
	now           func() time.Time
	routes        []route
	tokenLifetime time.Duration

	// mu guards everything below. It is never held while reading from or writing to a connection.
	mu      sync.Mutex
	world   *world
	buckets *buckets
	tokens  *tokens
	nonces  *nonces
	faults  faults
	journal journal
}

// New builds a sandbox. It reports every mistake in the seed at once.
func New(cfg Config) (*Sandbox, error) {
	seed := cfg.Seed
	if len(seed.ServiceAccounts)+len(seed.APIKeys) == 0 {
		seed = DefaultSeed()
	}
	lifetime := cmp.Or(cfg.TokenLifetime, DefaultTokenLifetime)
	nonceLifetime := cmp.Or(cfg.NonceLifetime, DefaultNonceLifetime)
	if lifetime < time.Second || nonceLifetime <= 0 {
		return nil, errors.New("the token lifetime must be a second at least, and the nonce lifetime positive")
	}
	table, err := bucketTable(cfg.Buckets)
	if err := errors.Join(err, seed.validate()); err != nil {
		return nil, fmt.Errorf("building the sandbox: %w", err)
	}
	now := cfg.Now
	if now == nil {
		now = time.Now
	}
	accounts, err := newAccounts(seed, cfg.Secrets, now().UTC())
	if err != nil {
		return nil, fmt.Errorf("building the sandbox: %w", err)
	}
	s := &Sandbox{
		now:           now,
		tokenLifetime: lifetime.Truncate(time.Second),
		world:         newWorld(seed, accounts),
		buckets:       newBuckets(table),
		tokens:        newTokens(),
		nonces:        newNonces(nonceLifetime),
	}
	s.routes = s.newRoutes()
	for _, h := range cfg.Handlers {
		s.routes = append(s.routes, h.route())
	}
	return s, nil
}

// Secret returns the first client secret of the service account with that client id, the client secret with that id, or the
// private key of the API key with that public key. It is for the program that set up the sandbox to hand on.
func (s *Sandbox) Secret(id string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.world.accounts[id]
	if a == nil {
		for _, other := range s.world.accounts {
			for _, secret := range other.secrets {
				if secret.id == id && id != "" {
					return secret.value, true
				}
			}
		}
		return "", false
	}
	return a.firstSecret(), true
}

// firstSecret is the value of an account's first secret, or "" where none is left.
func (a *account) firstSecret() string {
	if len(a.secrets) == 0 {
		return ""
	}
	return a.secrets[0].value
}

// newAccounts gives the accounts of the seed their secrets.
func newAccounts(seed Seed, secrets map[string]string, now time.Time) (map[string]*account, error) {
	accounts := map[string]*account{}
	values := map[string]*string{} // Where the secret is, by its own id or that of its account.
	for _, a := range seed.ServiceAccounts {
		made := &account{id: a.ClientID, kind: kindServiceAccount, name: a.Name, roles: slices.Clone(a.Roles)}
		ids := a.SecretIDs
		if len(ids) == 0 {
			ids = []string{madeID("secret of " + a.ClientID)}
		}
		for _, id := range ids {
			made.secrets = append(made.secrets, accountSecret{id: id, value: secretPrefix + rand.Text(), createdAt: now, expiresAt: now.Add(secretLifetime)})
		}
		for i := range made.secrets {
			values[made.secrets[i].id] = &made.secrets[i].value
		}
		accounts[a.ClientID], values[a.ClientID] = made, &made.secrets[0].value
	}
	for _, k := range seed.APIKeys {
		made := &account{id: k.PublicKey, kind: kindAPIKey, name: k.Name, keyID: cmp.Or(k.ID, madeID("API key "+k.PublicKey)), roles: slices.Clone(k.Roles)}
		made.secrets = []accountSecret{{value: strings.ToLower(rand.Text())}}
		accounts[k.PublicKey], values[k.PublicKey] = made, &made.secrets[0].value
	}
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(secrets)) {
		switch {
		case values[id] == nil:
			errs = append(errs, fmt.Errorf("there is a secret for account %q, which is not in the seed", id))
		case secrets[id] == "":
			errs = append(errs, fmt.Errorf("the secret of account %q is empty", id))
		default:
			*values[id] = secrets[id]
		}
	}
	return accounts, errors.Join(errs...)
}

// madeID is an id that is always the same for the same text.
func madeID(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:idLength/2])
}

// ServeHTTP answers one request. A fault that cuts a connection panics with
// http.ErrAbortHandler, as net/http wants it; a caller that is no HTTP server has to recover that.
func (s *Sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, controlPrefix) && r.URL.Path != redirectPath {
		s.control(w, r)
		return
	}
	c := s.arrive(w, r)
	if in := s.faultFor(c); in != nil {
		s.misbehave(w, c, in) //nolint:contextcheck // The call carries the request, whose context it is.
		return
	}
	s.deliver(w, c, s.perform(c))
}
