package atlas

import (
	"context"
	"fmt"
	"time"

	"rekey/internal/jobs"
)

// Token is what is known of an account's bearer token, without the token.
type Token struct {
	// Shared says that another worker has fetched it, so that the secret was not used.
	Shared  bool
	Expires time.Time
}

// Token gets the bearer token of a service account: the one that the fleet has, or else one of its own.
func (c *Client) Token(ctx context.Context, name string) (Token, *jobs.Failure) {
	a, ok := c.account(name)
	if !ok || !a.isService() {
		return Token{}, misconfigured(fmt.Errorf("%q is no service account", name))
	}
	shared := c.tokenIsShared(ctx, a)
	if _, failure := a.tokens.get(ctx); failure != nil {
		return Token{}, failure
	}
	return Token{Shared: shared, Expires: a.tokens.expires()}, nil
}

// Look reads the target of a job as the job's account, and changes nothing. It returns nil when the target is there. Of a
// token nothing can be read.
func (c *Client) Look(ctx context.Context, job jobs.Job) *jobs.Failure {
	k, failure := c.newCall(job)
	if failure != nil {
		return failure
	}
	defer k.giveBack()
	_, failure = k.read(ctx)
	return failure
}

// ReadRateLimits asks the API for its rate limits as an account, and returns of how many endpoint sets it told.
func (c *Client) ReadRateLimits(ctx context.Context, name string) (int, error) {
	a, ok := c.account(name)
	if !ok {
		return 0, misconfigured(fmt.Errorf("account %q is not configured", name))
	}
	told, err := c.readRateLimits(ctx, a)
	return len(told), err
}
