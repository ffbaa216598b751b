package ssf

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// How long the keys of a transmitter are used without asking for them again, how often a token of an unknown key makes us ask,
// and how long they are used while asking fails.
const (
	keysFor      = 10 * time.Minute
	keysAskEvery = 30 * time.Second
	keysStale    = 24 * time.Hour
)

// Limits of what a transmitter answers.
const (
	maxKeysBytes = 1 << 20
	keysTimeout  = 5 * time.Second
)

// Keys are the public keys of a transmitter: in a file, which is read for each token, or at an address.
type Keys struct {
	File   string
	Set    *jose.JSONWebKeySet // These alone, where it is not nil.
	URL    string              // Not used with File.
	Client *http.Client

	mu     sync.Mutex // Guards what follows. It is held while the keys are read, so that many tokens ask once.
	set    jose.JSONWebKeySet
	read   time.Time // When they were read last; zero: never.
	asked  time.Time
	failed error // Why reading them failed last; nil when it has not.
}

// find returns the keys with an id; all where it is empty.
func (k *Keys) find(ctx context.Context, id string) ([]*rsa.PublicKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.Set != nil {
		return usable(*k.Set, id), nil
	}
	if k.File != "" {
		data, err := os.ReadFile(k.File)
		if err != nil {
			return nil, fmt.Errorf("reading the keys: %w", err)
		}
		set, err := parseKeys(data)
		return usable(set, id), err
	}
	now := time.Now()
	keys := usable(k.set, id)
	isOld := now.Sub(k.read) > keysFor
	if (isOld || len(keys) == 0) && now.Sub(k.asked) > keysAskEvery {
		k.asked = now
		set, err := k.ask(context.WithoutCancel(ctx))
		if k.failed = err; err == nil {
			k.set, k.read = set, now
			keys = usable(set, id)
		}
	}
	if k.read.IsZero() || k.failed != nil && (len(keys) == 0 || now.Sub(k.read) > keysStale) {
		return nil, fmt.Errorf("asking for the keys of the issuer: %w", k.failed)
	}
	return keys, nil
}

// Check reports, as an error, that there is no key that a token could be verified with.
func (k *Keys) Check(ctx context.Context) error {
	keys, err := k.find(ctx, "")
	if err == nil && len(keys) == 0 {
		err = errors.New("the issuer has no RSA key of at least 2048 bits for RS256")
	}
	return err
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
	return parseKeys(data)
}

// parseKeys reads a JSON Web Key Set (RFC 7517). Keys of a type that is not known are left out.
func parseKeys(data []byte) (set jose.JSONWebKeySet, err error) {
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
