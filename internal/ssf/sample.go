package ssf

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"

	"github.com/go-jose/go-jose/v4"

	"rekey/internal/jwks"
)

// Sign signs claims with a key that is made for it, and returns the token with the keys that verify it: what a transmitter would send.
func Sign(claims []byte) (string, *jwks.Keys, error) {
	private, err := rsa.GenerateKey(rand.Reader, minKeyBits)
	if err != nil {
		return "", nil, fmt.Errorf("making a key: %w", err)
	}
	const id = "sample"
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: private, KeyID: id}},
		(&jose.SignerOptions{}).WithType("secevent+jwt"))
	if err != nil {
		return "", nil, fmt.Errorf("signing a sample: %w", err)
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return "", nil, fmt.Errorf("signing a sample: %w", err)
	}
	token, err := signed.CompactSerialize()
	return token, &jwks.Keys{Set: &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: private.Public(), KeyID: id}}}}, err
}
