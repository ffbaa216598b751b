package atlas

import (
	"context"
	"time"

	"go.uber.org/zap"

	"rekey/internal/backoff"
	"rekey/internal/jobs"
	"rekey/internal/secret"
)

const (
	// fetchClaim bounds how long the other workers wait for one that fetches a token.
	fetchClaim = 10 * time.Second
	// fetchLook is how often they look for the fetched token.
	fetchLook = 50 * time.Millisecond
)

// SharedToken is the bearer token of an account as the workers share it.
type SharedToken struct {
	Value   secret.Value // Zero: there is none.
	Expires time.Time
	Renew   time.Time // When to get the next one, before this one expires.
	// FetchedUntil is when a worker that is fetching the next token counts as failed; zero
	// when no worker is fetching.
	FetchedUntil time.Time
}

// TokenStore shares the bearer tokens of accounts between workers, so that a fleet needs one token
// and not one for each worker. It must encrypt them.
type TokenStore interface {
	// Load returns the token of an account, by its identity at the API, and its revision; the
	// zero SharedToken when there is none.
	Load(ctx context.Context, identity string) (SharedToken, uint64, error)
	// Save replaces the token of that revision (0: there is none) and returns the new revision,
	// or 0 when the token has another revision.
	Save(ctx context.Context, identity string, t SharedToken, revision uint64) (uint64, error)
}

// sharedToken returns the fleet's token, or fetches the next one for all workers. A refused
// token is not used again. Where the store fails, the worker fetches its own.
func (c *Client) sharedToken(ctx context.Context, a *account, refused secret.Value) (bearer, *jobs.Failure) {
	if c.tokens == nil {
		return c.fetchToken(ctx, a)
	}
	for {
		have, revision, err := c.tokens.Load(ctx, a.identity())
		if err != nil {
			c.log.Debug("a bearer token is not shared", zap.String("account", a.Name), zap.Error(err))
			return c.fetchToken(ctx, a)
		}
		now := time.Now()
		good := !have.Value.IsZero() && !have.Value.Equal(refused) && now.Before(have.Expires)
		if good && now.Before(have.Renew) {
			return bearer{value: have.Value, expires: have.Expires, renew: have.Renew}, nil
		}
		if now.Before(have.FetchedUntil) && have.FetchedUntil.Before(now.Add(2*fetchClaim)) {
			if good {
				return bearer{value: have.Value, expires: have.Expires, renew: now.Add(fetchClaim)}, nil
			}
			if err := backoff.Sleep(ctx, fetchLook); err != nil {
				return bearer{}, &jobs.Failure{Reason: jobs.ReasonUnavailable, Err: err}
			}
			continue
		}
		have.FetchedUntil = now.Add(min(c.timeout, fetchClaim))
		claimed, err := c.tokens.Save(ctx, a.identity(), have, revision)
		if err == nil && claimed == 0 {
			continue // Another worker was faster.
		}
		token, failure := c.fetchToken(ctx, a)
		if err == nil {
			c.publishToken(ctx, a, have, token, failure, claimed)
		}
		return token, failure
	}
}

// tokenIsShared reports whether the store has a live token of the account.
func (c *Client) tokenIsShared(ctx context.Context, a *account) bool {
	if c.tokens == nil {
		return false
	}
	have, _, err := c.tokens.Load(ctx, a.identity())
	return err == nil && !have.Value.IsZero() && time.Now().Before(have.Expires)
}

// publishTimeout bounds the write of a token for the other workers. Attempts wait for it.
const publishTimeout = 2 * time.Second

// publishToken stores the result of the fetch for the other workers: the token, or that another worker should fetch it.
func (c *Client) publishToken(ctx context.Context, a *account, have SharedToken, token bearer, failure *jobs.Failure, claimed uint64) {
	next := SharedToken{Value: token.value, Expires: token.expires, Renew: token.renew}
	if failure != nil {
		next = have
		next.FetchedUntil = time.Time{}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishTimeout)
	defer cancel()
	// A claim that another worker has overtaken ends here, too: that worker's token is as good.
	if _, err := c.tokens.Save(ctx, a.identity(), next, claimed); err != nil {
		c.log.Debug("a bearer token is not shared", zap.String("account", a.Name), zap.Error(err))
	}
}
