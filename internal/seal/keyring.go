package seal

import (
	"errors"
	"fmt"
	"sync"

	"rekey/internal/secret"
)

// Errors of a Keyring that callers branch on.
var (
	// ErrNoKey says that there is no key to seal with.
	ErrNoKey = errors.New("there is no key to seal with")
	// ErrReading says that the keys could not be read now, and nothing about a sealed value.
	ErrReading = errors.New("reading the keys to open it with")
)

// UnknownKeyError says that a value is sealed to a key that is not there.
type UnknownKeyError struct {
	ID string // The public key.
}

// Error names the key and what can be done.
func (e *UnknownKeyError) Error() string {
	return fmt.Sprintf("is sealed to key %s, which this worker does not have", e.ID)
}

// Keyring holds private keys: the first seals, all open. A key that it has once seen is kept
// until the process ends, and when one is missing, the keys are read again: that is how a
// rotated file is picked up.
type Keyring struct {
	load func() ([]*Key, error)

	mu    sync.Mutex // Guards what follows.
	first *Key
	keys  map[string]*Key
}

// NewKeyring returns a keyring on what load returns, the key to seal with first. load is called
// now and again whenever a key is missing; none is no error.
func NewKeyring(load func() ([]*Key, error)) (*Keyring, error) {
	r := &Keyring{load: load, keys: map[string]*Key{}}
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.reload()
	return r, err
}

// reload reads the keys. The lock is held.
func (r *Keyring) reload() error {
	keys, err := r.load()
	if err != nil {
		return err
	}
	for i, k := range keys {
		if i == 0 {
			r.first = k
		}
		r.keys[k.ID()] = k
	}
	return nil
}

// ID is the public key that Seal seals to, or "" while there is none.
func (r *Keyring) ID() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.first == nil {
		return ""
	}
	return r.first.ID()
}

// Seal seals a value to the first key. The error wraps ErrNoKey when there is none.
func (r *Keyring) Seal(value secret.Value) (string, error) {
	public, err := r.recipient()
	if err != nil {
		return "", err
	}
	return Seal(public, value)
}

func (r *Keyring) recipient() (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.first == nil {
		if err := r.reload(); err != nil {
			return "", fmt.Errorf("%w: %w", ErrNoKey, err)
		}
	}
	if r.first == nil {
		return "", ErrNoKey
	}
	return r.first.ID(), nil
}

// Open opens a sealed value. The error is an *UnknownKeyError when its key is not there, and wraps
// ErrReading when that is not known. It reads as the rest of a sentence that begins with what
// was to be opened.
func (r *Keyring) Open(text string) (secret.Value, error) {
	sealed, err := Parse(text)
	if err != nil {
		return secret.Value{}, err
	}
	key, err := r.find(sealed.KeyID)
	if err != nil {
		return secret.Value{}, err
	}
	return key.open(sealed)
}

func (r *Keyring) find(id string) (*Key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if key, ok := r.keys[id]; ok {
		return key, nil
	}
	if err := r.reload(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReading, err)
	}
	if key, ok := r.keys[id]; ok {
		return key, nil
	}
	return nil, &UnknownKeyError{ID: id}
}
