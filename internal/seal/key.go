package seal

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/nats-io/nkeys"

	"rekey/internal/secret"
)

// seedBytes is the length of a private key in the raw.
const seedBytes = 32

// Key is a private key, which opens what is sealed to its public half.
type Key struct {
	pair   nkeys.KeyPair
	public string
	seed   secret.Value
}

// Generate makes a new key.
func Generate() (*Key, error) {
	pair, err := nkeys.CreateCurveKeys()
	if err != nil {
		return nil, fmt.Errorf("making a curve key: %w", err)
	}
	return newKey(pair)
}

// ParseSeed reads a private key as NATS writes it: SX and 56 characters. Errors repeat nothing of it.
func ParseSeed(seed secret.Value) (*Key, error) {
	pair, err := nkeys.FromCurveSeed([]byte(seed.Reveal()))
	if err != nil {
		return nil, errors.New("is no seed of a curve key: those begin with SX, as worker keygen writes them")
	}
	return newKey(pair)
}

// Derive makes the key that belongs to a secret which has the strength of a key itself: always
// the same one (HKDF of RFC 5869 with SHA-256). The context keeps keys for different ends apart.
func Derive(from secret.Value, context string) (*Key, error) {
	if from.IsZero() {
		return nil, errors.New("deriving a key: there is no secret to derive it from")
	}
	raw, err := hkdf.Key(sha256.New, []byte(from.Reveal()), []byte(Prefix), context, seedBytes)
	if err != nil {
		return nil, fmt.Errorf("deriving a key: %w", err)
	}
	seed, err := nkeys.EncodeSeed(nkeys.PrefixByteCurve, raw)
	if err != nil {
		return nil, fmt.Errorf("deriving a key: %w", err)
	}
	return ParseSeed(secret.New(string(seed)))
}

func newKey(pair nkeys.KeyPair) (*Key, error) {
	public, err := pair.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("reading a curve key: %w", err)
	}
	seed, err := pair.Seed()
	if err != nil {
		return nil, fmt.Errorf("reading a curve key: %w", err)
	}
	return &Key{pair: pair, public: public, seed: secret.New(string(seed))}, nil
}

// ID is the public key, by which sealed values name the private one.
func (k *Key) ID() string { return k.public }

// Seed is the private key in the form that ParseSeed reads.
func (k *Key) Seed() secret.Value { return k.seed }

// open opens a value that is sealed to this key.
func (k *Key) open(s Sealed) (secret.Value, error) {
	text, err := k.pair.Open(s.box, s.sender)
	if err != nil {
		return secret.Value{}, fmt.Errorf("is sealed to key %s but cannot be opened: it is damaged", s.KeyID)
	}
	return secret.New(string(text)), nil
}
