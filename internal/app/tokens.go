package app

import (
	"context"
	"fmt"

	"rekey/internal/atlas"
	"rekey/internal/bus"
	"rekey/internal/seal"
)

// tokenStore seals the bearer tokens that workers share. Whoever can open them has the fleet's
// keys, with which it could open the tokens in events as well.
type tokenStore struct {
	shared *bus.Tokens
	keys   *seal.Keyring
}

var _ atlas.TokenStore = tokenStore{}

// Load returns the token of an account. One that was sealed to a key that we do not have is an
// error, and the worker fetches its own.
func (s tokenStore) Load(ctx context.Context, identity string) (atlas.SharedToken, uint64, error) {
	have, revision, err := s.shared.Load(ctx, identity)
	if err != nil {
		return atlas.SharedToken{}, 0, err
	}
	token := atlas.SharedToken{FetchedUntil: have.FetchedUntil}
	if have.Sealed == "" {
		return token, revision, nil
	}
	token.Value, err = s.keys.Open(have.Sealed)
	if err != nil {
		return atlas.SharedToken{}, 0, fmt.Errorf("opening a shared bearer token: %w", err)
	}
	token.Expires, token.Renew = have.Expires, have.Renew
	return token, revision, nil
}

// Save seals the token of an account.
func (s tokenStore) Save(ctx context.Context, identity string, token atlas.SharedToken, revision uint64) (uint64, error) {
	sealed := bus.SealedToken{Expires: token.Expires, Renew: token.Renew, FetchedUntil: token.FetchedUntil}
	if !token.Value.IsZero() {
		text, err := s.keys.Seal(token.Value)
		if err != nil {
			return 0, fmt.Errorf("sealing a bearer token: %w", err)
		}
		sealed.Sealed = text
	}
	return s.shared.Save(ctx, identity, sealed, revision)
}
