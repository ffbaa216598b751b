package atlas

import (
	"context"
	"fmt"
	"sync"
	"time"

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
