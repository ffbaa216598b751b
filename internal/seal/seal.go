// Package seal seals secrets to a public key, so that only who holds the private key can open them.
//
// A sealed value is one word of visible ASCII:
//
//	rekey-seal.v1.<key id>.<payload>
//
// The key id is the recipient's public key as NATS writes curve keys: X and 55 characters of
// base32. The payload is base64url (RFC 4648, section 5) without padding of
//
//	<sender's public key, 56 bytes, as the key id is written> <xkv1 box>
//
// where the box is what `Seal` of an xkey in any NATS client library returns: the four bytes
// xkv1, a nonce of 24 bytes, and the NaCl box (X25519, XSalsa20, Poly1305). The sender's key
// pair is made for one value and discarded: only the recipient can open the value, and
// nothing is proved about who sealed it.
package seal

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nkeys"

	"rekey/internal/secret"
)

// Prefix begins every sealed value of this version.
const Prefix = family + "v1."

// family begins the sealed values of all versions.
const family = "rekey-seal."

// Sizes in bytes.
const (
	// publicBytes is the length of a public key: base32 of prefix, key and checksum.
	publicBytes = 56
	// boxOverhead is how much longer a box is than what it holds: version, nonce, authenticator.
	boxOverhead = len(nkeys.XKeyVersionV1) + 24 + 16
	// MaxTextBytes is the largest secret that is sealed.
	MaxTextBytes = 4 << 20
)

// Sealed is a sealed value that has the right form. Whether it can be opened is not known.
type Sealed struct {
	// KeyID is the public key that it is sealed to.
	KeyID  string
	sender string
	box    []byte
}

// Parse reads a sealed value. Its errors say what is wrong with the form and repeat nothing
// but the names of keys, which are public.
func Parse(text string) (Sealed, error) {
	rest, ok := strings.CutPrefix(text, Prefix)
	switch {
	case !strings.HasPrefix(text, family):
		return Sealed{}, fmt.Errorf("is no sealed value: those begin with %s", Prefix)
	case !ok:
		return Sealed{}, fmt.Errorf("is sealed in a version that is not known here; this one is %s", strings.TrimSuffix(Prefix, "."))
	case len(text) > base64.RawURLEncoding.EncodedLen(MaxTextBytes+boxOverhead+publicBytes)+len(Prefix)+publicBytes+1:
		return Sealed{}, errors.New("is too large for a sealed value")
	}
	id, payload, ok := strings.Cut(rest, ".")
	if !ok || !isPublic(id) {
		return Sealed{}, errors.New("is no sealed value: the key id must be a public curve key (X and 55 characters)")
	}
	// The strict form: one value has one spelling.
	raw, err := base64.RawURLEncoding.Strict().DecodeString(payload)
	if err != nil || strings.ContainsAny(payload, "\r\n") {
		return Sealed{}, errors.New("is no sealed value: its payload must be base64url without padding")
	}
	if len(raw) <= publicBytes+boxOverhead {
		return Sealed{}, errors.New("is no sealed value: its payload is too short")
	}
	sender, box := string(raw[:publicBytes]), raw[publicBytes:]
	if !isPublic(sender) {
		return Sealed{}, errors.New("is no sealed value: its payload must begin with the sender's public curve key")
	}
	return Sealed{KeyID: id, sender: sender, box: box}, nil
}

// String is the sealed value as it was parsed.
func (s Sealed) String() string {
	return Prefix + s.KeyID + "." + base64.RawURLEncoding.EncodeToString(append([]byte(s.sender), s.box...))
}

// isPublic reports whether the text is the one spelling of a public curve key.
func isPublic(text string) bool {
	if len(text) != publicBytes || !nkeys.IsValidPublicCurveKey(text) {
		return false
	}
	// nkeys ignores the lowest bits of the prefix when it decodes, but not when it opens a box.
	raw, err := nkeys.Decode(nkeys.PrefixByteCurve, []byte(text))
	if err != nil {
		return false
	}
	again, err := nkeys.Encode(nkeys.PrefixByteCurve, raw)
	return err == nil && string(again) == text
}

// CheckPublic says what is wrong with a public key, or nothing.
func CheckPublic(key string) error {
	if !isPublic(key) {
		return errors.New("is no public curve key: those are X and 55 characters, as worker keygen prints them")
	}
	return nil
}

// Seal seals a value to a public key.
func Seal(public string, value secret.Value) (string, error) {
	if err := CheckPublic(public); err != nil {
		return "", fmt.Errorf("the key %w", err)
	}
	text := value.Reveal()
	if text == "" || len(text) > MaxTextBytes {
		return "", fmt.Errorf("sealing: the value must have 1 to %d bytes", MaxTextBytes)
	}
	sender, err := nkeys.CreateCurveKeys()
	if err != nil {
		return "", fmt.Errorf("making a key for one value: %w", err)
	}
	defer sender.Wipe()
	from, err := sender.PublicKey()
	if err != nil {
		return "", fmt.Errorf("making a key for one value: %w", err)
	}
	box, err := sender.Seal([]byte(text), public)
	if err != nil {
		return "", fmt.Errorf("sealing: %w", err)
	}
	return Sealed{KeyID: public, sender: from, box: box}.String(), nil
}
