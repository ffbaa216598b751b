// Package jwks reads the public keys of an issuer, and verifies with them what it has signed.
package jwks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// How long the keys of an issuer are used without asking for them again, for one may have been withdrawn, how often a signature of an unknown
// key makes us ask, for strangers make them, too, and how long keys are used while asking fails.
const (
	keysFor      = 10 * time.Minute
	keysAskEvery = 30 * time.Second
	keysStale    = 24 * time.Hour
)

// Limits of what an issuer answers.
const (
	maxKeysBytes = 1 << 20
	keysTimeout  = 5 * time.Second
)

// ErrNoKey says that none of the issuer's keys has made a signature, or may make one.
var ErrNoKey = errors.New("none of the issuer's keys has signed it")

// Keys are the public keys of an issuer: in a file, which is read for each signature, or at an address. Its methods may be called from several
// goroutines at once.
type Keys struct {
	File   string
	Set    *jose.JSONWebKeySet // These alone, where it is not nil.
	URL    string              // Not used with File.
	Client *http.Client
	// Usable reports whether signatures of a key count. Nil: those of every public key that is not for another use.
	Usable func(jose.JSONWebKey) bool

	asking sync.Mutex // Held while the keys are asked for, so that many signatures ask once. It is taken before mu.
	mu     sync.Mutex // Guards what follows.
	got    got
	asked  time.Time
}

// got is what is known of the keys at an address.
type got struct {
	set    jose.JSONWebKeySet
	read   time.Time // When they were read last; zero: never.
	failed error     // Why asking for them failed last; nil when it has not.
}

// Verify returns what is signed, once a key of the issuer that may sign has made the signature. The error is ErrNoKey where none has; after
// another one it is not known.
func (k *Keys) Verify(ctx context.Context, signed *jose.JSONWebSignature) ([]byte, error) {
	now, err := k.latest(ctx)
	if err != nil {
		return nil, err
	}
	payload, err := k.verify(now.set, signed)
	if err != nil && k.URL != "" {
		now = k.refresh(ctx)
		payload, err = k.verify(now.set, signed)
	}
	if now.failed != nil && (err != nil || time.Since(now.read) > keysStale) {
		return nil, fmt.Errorf("asking for the keys of the issuer: %w", now.failed)
	}
	return payload, err
}

// Check reports, as ErrNoKey, that there is no key that could verify a signature. After another error it is not known.
func (k *Keys) Check(ctx context.Context) error {
	now, err := k.latest(ctx)
	switch {
	case err != nil:
		return err
	case now.failed != nil:
		return fmt.Errorf("asking for the keys of the issuer: %w", now.failed)
	case !slices.ContainsFunc(now.set.Keys, k.usable):
		return ErrNoKey
	}
	return nil
}

// latest are the keys, which were asked for not long ago where they are at an address.
func (k *Keys) latest(ctx context.Context) (got, error) {
	switch {
	case k.Set != nil:
		return got{set: *k.Set}, nil
	case k.URL == "" || k.File != "":
		set, err := readFile(k.File)
		return got{set: set}, err
	}
	k.mu.Lock()
	now := k.got
	k.mu.Unlock()
	if time.Since(now.read) > keysFor {
		now = k.refresh(ctx)
	}
	return now, nil
}

// verify tries the keys of a set that have the id which the signature names; all where it names none.
func (k *Keys) verify(set jose.JSONWebKeySet, signed *jose.JSONWebSignature) ([]byte, error) {
	header := signed.Signatures[0].Protected
	for _, key := range set.Keys {
		if header.KeyID != "" && key.KeyID != header.KeyID || !k.usable(key) || key.Algorithm != "" && key.Algorithm != header.Algorithm {
			continue
		}
		if payload, err := signed.Verify(key.Public()); err == nil {
			return payload, nil
		}
	}
	return nil, ErrNoKey
}

func (k *Keys) usable(key jose.JSONWebKey) bool {
	public := key.Public() // Of a shared secret there is none.
	return (key.Use == "" || key.Use == "sig") && public.Valid() && (k.Usable == nil || k.Usable(key))
}

// refresh asks for the keys, unless that was done just now, and returns what is known then.
func (k *Keys) refresh(ctx context.Context) got {
	k.asking.Lock()
	defer k.asking.Unlock()
	k.mu.Lock()
	now, isJustAsked := k.got, time.Since(k.asked) <= keysAskEvery
	k.mu.Unlock()
	if isJustAsked {
		return now
	}
	set, err := k.ask(context.WithoutCancel(ctx))
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = time.Now()
	if k.got.failed = err; err == nil {
		k.got.set, k.got.read = set, k.asked
	}
	return k.got
}

// ask reads the keys from their address.
func (k *Keys) ask(ctx context.Context) (set jose.JSONWebKeySet, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, keysTimeout, errors.New("no answer in time"))
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, k.URL, nil)
	if err != nil {
		return set, err
	}
	resp, err := k.Client.Do(q)
	if err != nil {
		return set, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxKeysBytes))
	switch {
	case err != nil:
		return set, err
	case resp.StatusCode != http.StatusOK:
		return set, fmt.Errorf("status %d", resp.StatusCode)
	}
	return parse(data)
}

func readFile(name string) (jose.JSONWebKeySet, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return jose.JSONWebKeySet{}, fmt.Errorf("reading the keys: %w", err)
	}
	return parse(data)
}

// parse reads a JSON Web Key Set (RFC 7517). Keys of a type that is not known are left out.
func parse(data []byte) (set jose.JSONWebKeySet, err error) {
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &raw); err != nil || raw.Keys == nil {
		return set, errors.New("the keys are no JSON Web Key Set")
	}
	for _, one := range raw.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(one) == nil {
			set.Keys = append(set.Keys, key)
		}
	}
	return set, nil
}
