package wire

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rekey/internal/atlas"
	"rekey/internal/bus"
	"rekey/internal/clock"
	"rekey/internal/jobs"
	"rekey/internal/kv"
	"rekey/internal/seal"
)

// SealedToken is a bearer token that only workers can open, or that one of them fetches.
type SealedToken struct {
	Sealed       string    `json:"sealed,omitempty"`
	Expires      time.Time `json:"expires,omitzero"`
	Renew        time.Time `json:"renew,omitzero"`
	FetchedUntil time.Time `json:"fetched_until,omitzero"`
	// FetchedBy and Instance are the worker that fetches it, and its process.
	FetchedBy string `json:"fetched_by,omitempty"`
	Instance  string `json:"instance,omitempty"`
}

// Tokens is where the workers share bearer tokens: in the bucket <NAMESPACE>_TOKENS, which is in memory only.
func Tokens(c *bus.Conn) *kv.Store[SealedToken] { return bus.Store[SealedToken](c, c.Names().Tokens()) }

// TokenStore seals the bearer tokens that workers share. A client that can open them has the fleet's
// keys, with which it could open the tokens in events as well.
// Their moments are on the time that all workers share there, and on this machine's clock here.
type TokenStore struct {
	Shared *kv.Store[SealedToken]
	Keys   *seal.Keyring
	Clock  *clock.Clock
	Self   *Identity // Nil: nothing is written.
}

var _ atlas.TokenStore = TokenStore{}

// Load returns the token of an account. One that was sealed to a key that we do not have is an
// error, and the worker fetches its own.
func (s TokenStore) Load(ctx context.Context, identity string) (atlas.SharedToken, uint64, error) {
	have, revision, err := s.Shared.Load(ctx, identity)
	if err != nil {
		return atlas.SharedToken{}, 0, err
	}
	token := atlas.SharedToken{FetchedUntil: s.Clock.Local(have.FetchedUntil)}
	if !have.FetchedUntil.IsZero() && s.Self.IsGone(ctx, have.FetchedBy, have.Instance) {
		token.FetchedUntil = time.Time{} // It will not come.
	}
	if have.Sealed == "" {
		return token, revision, nil
	}
	token.Value, err = s.Keys.Open(have.Sealed)
	if err != nil {
		return atlas.SharedToken{}, 0, fmt.Errorf("opening a shared bearer token: %w", err)
	}
	token.Expires, token.Renew = s.Clock.Local(have.Expires), s.Clock.Local(have.Renew)
	return token, revision, nil
}

// Save seals the token of an account.
func (s TokenStore) Save(ctx context.Context, identity string, token atlas.SharedToken, revision uint64) (uint64, error) {
	sealed := SealedToken{
		Expires: s.Clock.Shared(token.Expires), Renew: s.Clock.Shared(token.Renew), FetchedUntil: s.Clock.Shared(token.FetchedUntil),
	}
	if !token.FetchedUntil.IsZero() && s.Self != nil {
		sealed.FetchedBy, sealed.Instance = s.Self.Worker, s.Self.Instance
	}
	if !token.Value.IsZero() {
		text, err := s.Keys.Seal(token.Value)
		if err != nil {
			return 0, fmt.Errorf("sealing a bearer token: %w", err)
		}
		sealed.Sealed = text
	}
	saved, err := s.Shared.Save(ctx, identity, sealed, revision)
	if errors.Is(err, jobs.ErrConflict) {
		return 0, nil // Another worker was faster.
	}
	return saved, err
}
