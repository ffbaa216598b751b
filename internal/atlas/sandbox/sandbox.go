// Package sandbox is a stand-in for the parts of the MongoDB Atlas API that Rekey calls.
//
// It checks what Atlas checks, changes its state as Atlas would, limits rates with token
// buckets, and misbehaves on request. It serves the demo, `worker sandbox` and tests; it
// holds everything in memory, bounded, and must never be reachable from a network.
//
// # What is copied from the vendor
//
//   - Paths, ids, media types, success codes and error bodies: the Atlas Administration API
//     reference. A missing or unknown version in Accept is answered with 406 and
//     INVALID_VERSION_DATE, as Atlas does. A date between two versions means the earlier one.
//   - The digest challenge, including the order of its fields, the realm and the 401 body
//     that has no errorCode. A caller that lacks a role gets 401 with USER_UNAUTHORIZED, not
//     403: that is what Atlas sends.
//   - The endpoint sets with their capacities and refills: the vendor's table of rate limits
//     (February 2026). Tokens come back in whole refills, one per period.
//   - The event log: parameters, names of fields, types of events, whole seconds, newest first. Events of federations and of service
//     accounts name their actor and no target. customerX509 is {} where there is no authority. A list of identity providers
//     without a filter has those of the protocol SAML and the type WORKFORCE.
//   - OAuth errors and revocation: RFC 6749 section 5.2 and RFC 7009. A token of another account
//     stays alive and is answered with 400 invalid_grant ("was issued to another client");
//     an unknown or expired token is answered with 200.
//
// # What is the sandbox's own choice
//
//   - The vendor publishes no error code for an identity provider that organizations still
//     use. The sandbox answers 409 with IDENTITY_PROVIDER_HAS_CONNECTED_ORGS.
//   - Malformed ids are answered with 400 and INVALID_GROUP_ID, INVALID_ORG_ID and so on by
//     the same pattern.
//   - Disabling X.509 where it is off is 202 again, because the vendor documents no error for
//     it and DELETE is idempotent (RFC 9110 section 9.2.2). It starts no second restart.
//   - A period of a bucket starts when the bucket is first used and repeats from there.
//     Requests that fail to authenticate spend nothing. The older v1.0 path is not limited.
//   - Atlas sends no request id that we know of; the sandbox sends X-Request-Id.
//   - What a third secret of a service account is answered with is not published: 400 MAX_SERVICE_ACCOUNT_SECRETS_REACHED here. lastUsedAt is when
//     a token was last made with the secret. Two creates at once do not conflict here; a fault answers 409 DATA_CONCURRENCY_ERROR.
//   - A masked secret shows its prefix and its last four characters. Endpoint sets of service accounts, API keys, database users
//     and people, their refills, and the error codes of database users and people are named by the same patterns.
//   - After a change of X.509 the clusters look IDLE for RestartAfter and UPDATING for RestartFor; after one of a database user they
//     are UPDATING, and their changeStatus is PENDING, for ApplyFor. Those of Atlas take minutes.
//   - A bearer token is a JWT with iss, sub, iat, exp and jti. What a token of Atlas says is not published.
//   - Events of a federation are in the log of each connected organization. An event by a service account has its client id as
//     the username. The log has no delay.
//   - A digest nonce lives 60 seconds. A count may arrive late by up to 63 places, since
//     callers that share a nonce overtake each other, but never twice.
//
// # Control
//
// Paths below /sandbox/ are the sandbox's own, need no credentials and are not logged:
//
//	GET    /sandbox/requests  what was called, oldest first, without bodies and credentials
//	GET    /sandbox/state     accounts, federations, projects, users and faults as they now are
//	POST   /sandbox/faults    a fault as JSON, or one per line as ParseFault reads them
//	DELETE /sandbox/faults    behave again
//
// Faults that are lies (pretend, lag, restore, unlogged, late_restart, foreign, unnoticed) leave the answer that of a success, or of a refusal,
// and change what is true: see FaultPretend and those beside it. They apply to every call that they fit, together with each other.
package sandbox

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
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

	// DefaultRestartAfter, DefaultRestartFor and DefaultApplyFor are the times of clusters: those of Atlas are minutes.
	DefaultRestartAfter = 500 * time.Millisecond
	DefaultRestartFor   = 3 * time.Second
	DefaultApplyFor     = time.Second

	// DefaultSecretCut is how long a secret lives at most once there is another one.
	DefaultSecretCut = 7 * 24 * time.Hour
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
	// RestartAfter is how long after customer-managed X.509 was changed the clusters begin to restart, and RestartFor how long that
	// takes. Zero means DefaultRestartAfter and DefaultRestartFor.
	RestartAfter, RestartFor time.Duration
	// ApplyFor is how long clusters take for a change of a database user. Zero means DefaultApplyFor.
	ApplyFor time.Duration
	// SecretCut is how long a client secret lives at most once there is another one. Zero means DefaultSecretCut.
	SecretCut time.Duration
	// SecretHours is the longest lifetime of a client secret that organizations allow, from 8 hours. Zero means 8760, as without a rule
	// of theirs.
	SecretHours int
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

	restartAfter, restartFor, applyFor time.Duration

	secretCut   time.Duration
	secretHours int

	// mu guards everything below. It is never held while reading from or writing to a connection.
	mu      sync.Mutex
	world   *world
	buckets *buckets
	tokens  *tokens
	nonces  *nonces
	faults  faults
	journal journal
	// events is Atlas's event log, oldest first, and eventCount how many there ever were.
	events     []eventDocument
	eventCount int
	// deeds are what is still to happen, by its time.
	deeds []deed
}

// New builds a sandbox. It reports every mistake in the seed at once.
func New(cfg Config) (*Sandbox, error) {
	seed := cfg.Seed
	if len(seed.ServiceAccounts)+len(seed.APIKeys) == 0 {
		seed = DefaultSeed()
	}
	lifetime := cmp.Or(cfg.TokenLifetime, DefaultTokenLifetime)
	nonceLifetime := cmp.Or(cfg.NonceLifetime, DefaultNonceLifetime)
	if lifetime < time.Second || nonceLifetime <= 0 || min(cfg.RestartAfter, cfg.RestartFor, cfg.ApplyFor, cfg.SecretCut) < 0 || cfg.SecretHours < 0 {
		return nil, errors.New("the token lifetime must be a second at least, the nonce lifetime positive, and no other time negative")
	}
	table, err := bucketTable(cfg.Buckets)
	if err := errors.Join(err, seed.validate()); err != nil {
		return nil, fmt.Errorf("building the sandbox: %w", err)
	}
	now := cfg.clock()
	accounts, err := newAccounts(seed, cfg.Secrets, now().UTC())
	if err != nil {
		return nil, fmt.Errorf("building the sandbox: %w", err)
	}
	s := &Sandbox{
		now:           now,
		tokenLifetime: lifetime.Truncate(time.Second),
		restartAfter:  cmp.Or(cfg.RestartAfter, DefaultRestartAfter),
		restartFor:    cmp.Or(cfg.RestartFor, DefaultRestartFor),
		applyFor:      cmp.Or(cfg.ApplyFor, DefaultApplyFor),
		secretCut:     cmp.Or(cfg.SecretCut, DefaultSecretCut),
		secretHours:   cmp.Or(cfg.SecretHours, maxSecretHours),
		world:         newWorld(seed, accounts, now().UTC()),
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

func (cfg Config) clock() func() time.Time {
	if cfg.Now == nil {
		return time.Now
	}
	return cfg.Now
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
		made.secrets = []accountSecret{{value: newPrivateKey()}}
		for _, block := range k.List {
			made.list = append(made.list, listEntry{block: netip.MustParsePrefix(block), created: now})
		}
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

// Limits of the HTTP server that Serve runs. The longest fault delay fits in the write timeout.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = maxDelay + time.Minute
	idleTimeout       = time.Minute
	maxHeaderBytes    = 64 << 10
	stopTimeout       = 5 * time.Second
)

// Serve answers requests from the listener until ctx is done, then lets answers in progress
// finish for up to 5 seconds and closes the listener. It returns nil after such an end. Faults
// that are waiting end at once.
func (s *Sandbox) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving the sandbox: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), stopTimeout, errors.New("answers of the sandbox took too long to finish"))
	defer cancel()
	err := server.Shutdown(stop)
	if err != nil {
		err = errors.Join(fmt.Errorf("stopping the sandbox: %w", context.Cause(stop)), server.Close())
	}
	if served := <-served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serving the sandbox: %w", served))
	}
	return err
}
