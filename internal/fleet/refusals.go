package fleet

import (
	"context"
	"errors"
	"sync"
	"time"

	"rekey/internal/bus"
)

// refusalGrace is how long a command may go on after the server has refused it something. What it asked there gets no
// answer; what it can do without may end meanwhile.
const refusalGrace = 500 * time.Millisecond

// refusals end what waits for an answer that the server's permissions forbid. The server says so in a message that belongs
// to no question, so it is taken for an answer to what was asked last.
type refusals struct {
	mu      sync.Mutex // Guards waiting.
	waiting []*refusal // The innermost is the last.
}

// refusal is how one command, or a part of it, is ended.
type refusal struct {
	grace time.Duration
	end   context.CancelCauseFunc
}

// guard returns a context that ends, with the *bus.ForbiddenError as its cause, when the server refuses something. A guard
// within another one keeps refusals from that.
func (r *refusals) guard(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(ctx)
	own := &refusal{grace: grace, end: end}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = append(r.waiting, own)
	return ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for i, one := range r.waiting {
			if one == own {
				r.waiting = append(r.waiting[:i:i], r.waiting[i+1:]...)
				break
			}
		}
		end(nil)
	}
}

// hear ends what was begun last.
func (r *refusals) hear(forbidden *bus.ForbiddenError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) == 0 {
		return
	}
	last := r.waiting[len(r.waiting)-1]
	time.AfterFunc(last.grace, func() { last.end(forbidden) })
}

// Forbidden is what the server refused, where that has ended a context of Guard; nil where it has not.
func Forbidden(ctx context.Context) *bus.ForbiddenError {
	forbidden, _ := errors.AsType[*bus.ForbiddenError](context.Cause(ctx))
	return forbidden
}

// Guard returns a context that ends when the server's permissions refuse something that is asked on this connection,
// with what they refuse as its cause: see Forbidden. Without it a refused question waits for its timeout. Close ends it.
func (c *Client) Guard(ctx context.Context) context.Context {
	ctx, stop := c.refusals.guard(ctx, refusalGrace)
	c.closing = append(c.closing, stop)
	return ctx
}

// attempt asks something that a command can do without, within a time limit. The error is a *bus.ForbiddenError when the
// server refuses it.
func (c *Client) attempt(ctx context.Context, limit time.Duration, ask func(context.Context) error) error {
	if c.own {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return ask(ctx)
	}
	c.attempting.Lock() // A refusal is about the one that is under way.
	defer c.attempting.Unlock()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ctx, stop := c.refusals.guard(ctx, 0)
	defer stop()
	err := ask(ctx)
	if forbidden := Forbidden(ctx); err != nil && forbidden != nil {
		return forbidden
	}
	return err
}
