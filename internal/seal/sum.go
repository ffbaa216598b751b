package seal

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"rekey/internal/secret"
)

// sumBytes is how much of a sum is kept: 128 bits.
const sumBytes = 16

// Sum is a keyed hash of a text (HMAC of RFC 2104 with SHA-256), in hexadecimal digits: the same for the same text, and of no use to
// find it for who has not the key. The purpose keeps hashes for different ends apart.
func Sum(key secret.Value, purpose, text string) (string, error) {
	raw, err := hkdf.Key(sha256.New, []byte(key.Reveal()), nil, "rekey sum "+purpose, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("deriving a key: %w", err)
	}
	h := hmac.New(sha256.New, raw)
	_, _ = h.Write([]byte(text)) // A hash returns no error.
	return hex.EncodeToString(h.Sum(nil)[:sumBytes]), nil
}

// Mark is the name of the key that seals first, a dot, and the keyed hash of a text by it. The error wraps ErrNoKey when there is no key.
func (r *Keyring) Mark(purpose, text string) (string, error) {
	first, err := r.recipient()
	if err != nil {
		return "", err
	}
	key, err := r.find(first)
	if err != nil {
		return "", err
	}
	sum, err := Sum(key.Seed(), purpose, text)
	return first + "." + sum, err
}

// Confirm reports, as an error, that a mark is not that of a text by a key of the ring. It wraps ErrReading when that is not known.
// It reads as the rest of a sentence that begins with the mark.
func (r *Keyring) Confirm(purpose, text, mark string) error {
	id, sum, ok := strings.Cut(mark, ".")
	if !ok || !isPublic(id) {
		return errors.New("has not the form of one")
	}
	key, err := r.find(id)
	if unknown, ok := errors.AsType[*UnknownKeyError](err); ok {
		return fmt.Errorf("is made by key %s, which this worker does not have", unknown.ID)
	}
	if err != nil {
		return err
	}
	want, err := Sum(key.Seed(), purpose, text)
	if err == nil && subtle.ConstantTimeCompare([]byte(want), []byte(sum)) != 1 {
		err = errors.New("is that of another event")
	}
	return err
}

// Sums are the keyed hashes of a text by each key of the ring, that of the key that seals first: a text that was hashed before the keys
// were rotated is recognised by one of the others. The error wraps ErrNoKey when there is no key.
func (r *Keyring) Sums(purpose, text string) ([]string, error) {
	first, err := r.recipient()
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	ids := slices.DeleteFunc(slices.Sorted(maps.Keys(r.keys)), func(id string) bool { return id == first })
	var sums []string
	for _, id := range append([]string{first}, ids...) {
		sum, err := Sum(r.keys[id].Seed(), purpose, text)
		if err != nil {
			return nil, err
		}
		sums = append(sums, sum)
	}
	return sums, nil
}
