package wire

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/seal"
	"rekey/internal/secret"
)

// StoreKey is the file in an embedded server's store_dir that holds its key, where none is
// configured.
const StoreKey = "seal.key"

// KeysOf returns the keyring of a configuration:
//
//   - the configured keys, if there are any;
//   - with an embedded server, the key in its store_dir;
//   - with an external one, keys derived from the secrets of the accounts, which all workers of a
//     fleet share anyway, so that each of them opens what another has sealed.
//
// The accounts may change while the keyring is in use. With an error, the keyring has no key yet and looks again when one is asked for.
func KeysOf(c *config.Config, accounts func() []config.Account, env Lookup) (*seal.Keyring, error) {
	switch {
	case len(c.Seal.Keys) > 0:
		return seal.NewKeyring(func() ([]*seal.Key, error) { return configuredKeys(c.Seal.Keys, env) })
	case c.NATS.IsEmbedded():
		file := filepath.Join(c.NATS.Embedded.StoreDir, StoreKey)
		return seal.NewKeyring(func() ([]*seal.Key, error) { return keyFile(file, env) })
	}
	return seal.NewKeyring(func() ([]*seal.Key, error) { return derivedKeys(accounts(), env) })
}

// KnownKeys are the keys of the fleet that a command talks to, or nil when they are not known:
// the user of the commands need not have the worker's secrets, and the store of an embedded
// server here may not be that of the server that was named.
func KnownKeys(c *config.Config, server string, env Lookup) *seal.Keyring {
	if server != "" && c.NATS.IsEmbedded() && len(c.Seal.Keys) == 0 {
		return nil
	}
	keys, err := KeysOf(c, func() []config.Account { return c.Atlas.Accounts }, env)
	if err != nil || keys.ID() == "" {
		return nil
	}
	return keys
}

// SealingKey is the public key that a configuration's secrets are sealed to.
func SealingKey(c *config.Config, env func(string) (string, bool)) (string, error) {
	keys, err := KeysOf(c, func() []config.Account { return c.Atlas.Accounts }, env)
	switch {
	case err != nil:
		return "", err
	case keys.ID() == "":
		return "", errors.New("the configuration has no key to seal with")
	}
	return keys.ID(), nil
}

func configuredKeys(list []config.SealKey, env Lookup) ([]*seal.Key, error) {
	keys := make([]*seal.Key, 0, len(list))
	for i, k := range list {
		key, err := readKey(k.Seed, env)
		if err != nil {
			return nil, fmt.Errorf("seal.keys[%d]: %w", i, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func readKey(ref secret.Ref, env Lookup) (*seal.Key, error) {
	seed, err := ref.Read(env)
	if err != nil {
		return nil, err
	}
	key, err := seal.ParseSeed(seed)
	if err != nil {
		return nil, fmt.Errorf("%s %w", ref, err)
	}
	return key, nil
}

func keyFile(file string, env Lookup) ([]*seal.Key, error) {
	key, err := readKey(secret.Ref{File: file}, env)
	if err != nil {
		return nil, err
	}
	return []*seal.Key{key}, nil
}

// derivedKeys are the keys that belong to the accounts' secrets, as far as those can be read.
func derivedKeys(accounts []config.Account, env Lookup) ([]*seal.Key, error) {
	var keys []*seal.Key
	var problems []error
	for _, a := range accounts {
		ref, id := a.ClientSecret, a.ClientID
		if !a.IsServiceAccount() {
			ref, id = a.PrivateKey, a.PublicKey
		}
		value, err := ref.Read(env)
		if err != nil {
			problems = append(problems, fmt.Errorf("account %s: %w", a.Name, err))
			continue
		}
		key, err := seal.Derive(value, "account "+id)
		if err != nil {
			return nil, fmt.Errorf("account %s: %w", a.Name, err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.Join(problems...)
	}
	return keys, nil
}

// MakeStoreKey makes the key of an embedded server's store, unless it is there.
func MakeStoreKey(file string) error {
	if _, err := os.Stat(file); err == nil || !errors.Is(err, os.ErrNotExist) {
		return err
	}
	key, err := seal.Generate()
	if err != nil {
		return err
	}
	if err := WriteSeed(file, key.Seed()); err != nil {
		return fmt.Errorf("making the key of sealed values: %w", err)
	}
	return nil
}

// WriteSeed writes a private key into a new file that only its owner can read. It is whole or not
// there: a key that is lost half-written would cost what is sealed to it.
func WriteSeed(path string, seed secret.Value) (err error) {
	half, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-")
	if err != nil {
		return err
	}
	defer func() {
		if gone := os.Remove(half.Name()); !errors.Is(gone, os.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}()
	_, writeErr := half.WriteString(seed.Reveal() + "\n")
	if err := errors.Join(writeErr, half.Sync(), half.Close()); err != nil {
		return err
	}
	// A link refuses to replace what is there, where a rename would not. Not every file system has them.
	switch err := os.Link(half.Name(), path); {
	case errors.Is(err, os.ErrExist):
		return fmt.Errorf("%s exists already", path)
	case err != nil:
		if err := os.Rename(half.Name(), path); err != nil {
			return err
		}
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// Sealer is the keyring as the domain sees it.
type Sealer struct{ *seal.Keyring }

// Open opens a sealed value.
func (s Sealer) Open(text string) (secret.Value, error) {
	value, err := s.Keyring.Open(text)
	return value, forGood(err)
}

// Confirm implements event.Marker.
func (s Sealer) Confirm(purpose, text, mark string) error {
	return forGood(s.Keyring.Confirm(purpose, text, mark))
}

// forGood is an error as the domain sees it: a *jobs.Malformed unless the keys could not be read now.
func forGood(err error) error {
	if err != nil && !errors.Is(err, seal.ErrReading) {
		return &jobs.Malformed{Detail: err.Error()}
	}
	return err
}
