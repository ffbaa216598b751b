package atlas

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"rekey/internal/backoff"
	"rekey/internal/jobs"
	"rekey/internal/secret"
)

// renewalPause is how long a token that could not be renewed is used before the next renewal.
const renewalPause = 30 * time.Second

// bearer is a bearer token. The zero bearer holds no token.
type bearer struct {
	value   secret.Value
	expires time.Time
	renew   time.Time // When to get the next one, before this one expires.
}

func (b bearer) live(now time.Time) bool { return now.Before(b.expires) }

// tokenCache holds the one bearer token of an account and keeps at most one request for the next one under way.
type tokenCache struct {
	// fetch gets the next token, which is not the one that was refused.
	fetch func(ctx context.Context, refused secret.Value) (bearer, *jobs.Failure)

	mu      sync.Mutex // Guards current, refused, flight and the flight's waiting.
	current bearer
	refused secret.Value // The latest token that the API did not accept.
	flight  *flight      // Nil when no request is under way.
}

// flight is one request for a token, made for all callers that wait for it.
type flight struct {
	cancel  context.CancelFunc
	waiting int

	done    chan struct{} // Closed when the two below are set.
	token   bearer
	failure *jobs.Failure
}

func newTokenCache(fetch func(ctx context.Context, refused secret.Value) (bearer, *jobs.Failure)) *tokenCache {
	return &tokenCache{fetch: fetch}
}

// get returns a token that is live, after fetching one where needed. While a token is being
// renewed, all callers but the one that renews it use the old one.
func (t *tokenCache) get(ctx context.Context) (secret.Value, *jobs.Failure) {
	t.mu.Lock()
	now := time.Now()
	if t.current.live(now) && (now.Before(t.current.renew) || t.flight != nil) {
		defer t.mu.Unlock()
		return t.current.value, nil
	}
	f := t.join(ctx)
	t.mu.Unlock()
	defer t.leave(f)
	select {
	case <-f.done:
	case <-ctx.Done():
		return secret.Value{}, &jobs.Failure{
			Reason: jobs.ReasonUnavailable, Err: fmt.Errorf("waiting for a bearer token: %w", context.Cause(ctx)),
		}
	}
	if f.failure != nil {
		own := *f.failure // Each caller may change what it is given.
		return secret.Value{}, &own
	}
	return f.token.value, nil
}

// join enters the flight, or starts one. The flight does not end with the caller that
// started it, but with the last one that waits for it. The lock is held.
func (t *tokenCache) join(ctx context.Context) *flight {
	if t.flight == nil {
		flightCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f, refused := &flight{cancel: cancel, done: make(chan struct{})}, t.refused
		t.flight = f
		go func() {
			defer cancel()
			token, failure := t.fetch(flightCtx, refused)
			t.land(f, token, failure)
		}()
	}
	t.flight.waiting++
	return t.flight
}

// leave ends the flight if no other caller waits for it, and waits for its end.
func (t *tokenCache) leave(f *flight) {
	t.mu.Lock()
	f.waiting--
	last := f.waiting == 0
	if last && t.flight == f {
		t.flight = nil
	}
	t.mu.Unlock()
	if last {
		f.cancel()
		<-f.done
	}
}

// land keeps the token of the flight. Where the flight failed, a token that is live stays in use.
func (t *tokenCache) land(f *flight, token bearer, failure *jobs.Failure) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	switch {
	case failure == nil:
		t.current, f.token = token, token
	case t.current.live(now):
		// The limiter keeps a longer wait that the API has asked for: it lets no request through.
		t.current.renew = now.Add(renewalPause)
		f.token = t.current
	default:
		f.failure = failure
	}
	if t.flight == f {
		t.flight = nil
	}
	close(f.done)
}

// invalidate forgets the token with this value, and no other.
func (t *tokenCache) invalidate(value secret.Value) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current.value.Equal(value) {
		t.current, t.refused = bearer{}, value
	}
}

// empty reports whether the next call has to fetch a token first.
func (t *tokenCache) empty(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.current.live(now)
}

// expires is when the token ends; the zero time when there is none.
func (t *tokenCache) expires() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current.expires
}

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
