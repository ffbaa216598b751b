package jobs

import (
	"context"
	"errors"
	"sync"
	"time"
)

// api is a Revoker whose answers are a script. It says what it was asked and when.
type api struct {
	mu      sync.Mutex // Guards calls.
	calls   []time.Time
	answers []func(ctx context.Context, j Job) (Answer, error) // The last one is given again.
}

func (a *api) Revoke(ctx context.Context, j Job) (Answer, error) {
	a.mu.Lock()
	n := len(a.calls)
	a.calls = append(a.calls, time.Now())
	a.mu.Unlock()
	return a.answers[min(n, len(a.answers)-1)](ctx, j)
}

func (a *api) made() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.calls)
}

// works is an answer that confirms the revocation.
func works(context.Context, Job) (Answer, error) {
	return Answer{Status: 204, RequestID: "req-1"}, nil
}

// fails is an answer with a failure.
func fails(f Failure) func(context.Context, Job) (Answer, error) {
	return func(context.Context, Job) (Answer, error) {
		own := f
		if own.Err == nil {
			own.Err = errors.New("the API said no")
		}
		return Answer{}, &own
	}
}

// takes is an answer that comes after a while, or the context's end.
func takes(d time.Duration, then func(context.Context, Job) (Answer, error)) func(context.Context, Job) (Answer, error) {
	return func(ctx context.Context, j Job) (Answer, error) {
		select {
		case <-ctx.Done():
			return Answer{}, &Failure{Reason: ReasonUnavailable, MaybeEffective: true, Err: context.Cause(ctx)}
		case <-time.After(d):
			return then(ctx, j)
		}
	}
}

// paused is a Pacer that allows no call before a moment.
type paused struct {
	until    time.Time
	estimate bool // The API has said nothing; it is only a plan.
}

func (p *paused) PermitNow(context.Context, Job) bool { return !p.until.After(time.Now()) }

func (p *paused) Permit(context.Context, Job) Permit {
	permit := Permit{At: p.until}
	if !p.estimate {
		permit.NotBefore = p.until
	}
	return permit
}
