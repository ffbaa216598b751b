package app

import (
	"context"
	"fmt"
	"time"

	"rekey/internal/atlas"
	"rekey/internal/bus"
	"rekey/internal/clock"
	"rekey/internal/seal"
)

// tokenStore seals the bearer tokens that workers share. Whoever can open them has the fleet's
// keys, with which it could open the tokens in events as well.
// Their moments are on the time that all workers share there, and on this machine's clock here.
type tokenStore struct {
	shared *bus.Tokens
	keys   *seal.Keyring
	clock  *clock.Clock
	self   *identity // Nil: nothing is written.
}

var _ atlas.TokenStore = tokenStore{}

// Load returns the token of an account. One that was sealed to a key that we do not have is an
// error, and the worker fetches its own.
func (s tokenStore) Load(ctx context.Context, identity string) (atlas.SharedToken, uint64, error) {
	have, revision, err := s.shared.Load(ctx, identity)
	if err != nil {
		return atlas.SharedToken{}, 0, err
	}
	token := atlas.SharedToken{FetchedUntil: s.clock.Local(have.FetchedUntil)}
	if !have.FetchedUntil.IsZero() && s.self.isGone(ctx, have.FetchedBy, have.Instance) {
		token.FetchedUntil = time.Time{} // It will not come.
	}
	if have.Sealed == "" {
		return token, revision, nil
	}
	token.Value, err = s.keys.Open(have.Sealed)
	if err != nil {
		return atlas.SharedToken{}, 0, fmt.Errorf("opening a shared bearer token: %w", err)
	}
	token.Expires, token.Renew = s.clock.Local(have.Expires), s.clock.Local(have.Renew)
	return token, revision, nil
}

// Save seals the token of an account.
func (s tokenStore) Save(ctx context.Context, identity string, token atlas.SharedToken, revision uint64) (uint64, error) {
	sealed := bus.SealedToken{
		Expires: s.clock.Shared(token.Expires), Renew: s.clock.Shared(token.Renew), FetchedUntil: s.clock.Shared(token.FetchedUntil),
	}
	if !token.FetchedUntil.IsZero() && s.self != nil {
		sealed.FetchedBy, sealed.Instance = s.self.worker, s.self.instance
	}
	if !token.Value.IsZero() {
		text, err := s.keys.Seal(token.Value)
		if err != nil {
			return 0, fmt.Errorf("sealing a bearer token: %w", err)
		}
		sealed.Sealed = text
	}
	return s.shared.Save(ctx, identity, sealed, revision)
}
