package seal

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

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
