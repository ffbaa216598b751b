package atlas_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rekey/internal/atlas"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/pace"
	"rekey/internal/secret"
)

// tokens is an atlas.TokenStore in memory, whose every access takes a millisecond.
type tokens struct {
	mu       sync.Mutex
	held     map[string]atlas.SharedToken
	revision map[string]uint64
	broken   error
}

func (s *tokens) Load(_ context.Context, identity string) (atlas.SharedToken, uint64, error) {
	pass(time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[identity], s.revision[identity], s.broken
}

func (s *tokens) Save(_ context.Context, identity string, t atlas.SharedToken, revision uint64) (uint64, error) {
	pass(time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil || s.revision[identity] != revision {
		return 0, s.broken
	}
	s.held[identity], s.revision[identity] = t, revision+1
	return revision + 1, nil
}

// tokenRequests are the statuses with which requests for tokens were answered.
func (f *fleet) tokenRequests() (issued, refused int) {
	for _, r := range f.box.Requests() {
		switch {
		case r.Operation != sandbox.OperationToken:
		case r.Status == 200:
			issued++
		default:
			refused++
		}
	}
	return issued, refused
}

// all lets each worker do one job at once.
func (f *fleet) all(t *testing.T) {
	var all sync.WaitGroup
	for _, c := range f.clients {
		all.Go(func() {
			j := sandboxJob(t, kinds.X509Disable, "service", "")
			for at := c.Permit(t.Context(), j).At; at.After(time.Now()); at = c.Permit(t.Context(), j).At {
				pass(time.Until(at))
			}
			for {
				_, err := c.Revoke(t.Context(), j)
				if err == nil {
					return
				}
				f := failureOf(t, jobs.Answer{}, err)
				if f.Reason != jobs.ReasonRateLimited {
					t.Error(f)
					return
				}
				pass(max(time.Until(f.RetryAt), time.Millisecond))
			}
		})
	}
	all.Wait()
}

// TestFleetStarts: twenty workers that start at once, with a limit of 10 tokens a minute.
func TestFleetStarts(t *testing.T) {
	plenty := sandbox.Bucket{Capacity: 1000, Refill: 1000, Every: time.Second}
	tests := []struct {
		name   string
		store  *tokens
		issued int
		most   time.Duration // Until the last worker has done its job.
	}{
		{name: "shared", store: &tokens{held: map[string]atlas.SharedToken{}, revision: map[string]uint64{}}, issued: 1, most: time.Second},
		{name: "the store fails", store: &tokens{broken: errors.New("no KV")}, issued: 20, most: 3 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 20, plenty, func(cfg *atlas.Config) {
					cfg.Tokens = tt.store
					cfg.RateLimits = map[string]atlas.RateLimit{"oauth_token": {Limit: pace.Limit{Capacity: 10, Refill: 10, Every: time.Minute}}}
				})
				defer f.stop()
				start := time.Now()
				f.all(t)
				if issued, refused := f.tokenRequests(); issued != tt.issued || refused != 0 || time.Since(start) > tt.most {
					t.Errorf("%d tokens issued and %d refused within %s, want %d, none, and at most %s", issued, refused, time.Since(start), tt.issued, tt.most)
				}
			})
		})
	}
}

// TestSharedTokenIsRefused: a token that the API does not accept any more is replaced once for all
// workers, one that is old is renewed by one of them, and one whose fetcher was lost is fetched.
func TestSharedTokenIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &tokens{held: map[string]atlas.SharedToken{}, revision: map[string]uint64{}}
		f := newFleet(t, 5, sandbox.Bucket{Capacity: 1000, Refill: 1000, Every: time.Second}, func(cfg *atlas.Config) { cfg.Tokens = store })
		defer f.stop()
		f.all(t)
		revokeWorks(t, f.clients[0], sandboxJob(t, kinds.TokenRevoke, "service", store.held[sandbox.ClientID].Value.Reveal()))
		f.all(t)
		if issued, _ := f.tokenRequests(); issued != 2 {
			t.Errorf("%d tokens issued, want 2: the one that was revoked was replaced once", issued)
		}
		pass(56 * time.Minute)
		f.all(t)
		f.all(t)
		if issued, _ := f.tokenRequests(); issued != 3 {
			t.Errorf("%d tokens issued, want 3: it was renewed once", issued)
		}
		pass(2 * time.Hour)
		lost := store.held[sandbox.ClientID]
		lost.FetchedUntil = time.Now().Add(10 * time.Second)
		store.held[sandbox.ClientID] = lost
		start := time.Now()
		f.all(t)
		if issued, _ := f.tokenRequests(); issued != 4 || time.Since(start) < 10*time.Second || time.Since(start) > 11*time.Second {
			t.Errorf("%d tokens issued after %s, want 4 after 10s: the worker that fetched it was lost", issued, time.Since(start))
		}
	})
}

// TestTokenEndpointIsClosed: a worker without a token waits for the endpoint, unless another one
// has a token.
func TestTokenEndpointIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &tokens{held: map[string]atlas.SharedToken{}, revision: map[string]uint64{}}
		f := newFleet(t, 2, sandbox.Bucket{Capacity: 1000, Refill: 1000, Every: time.Second}, func(cfg *atlas.Config) { cfg.Tokens = store })
		defer f.stop()
		fault := sandbox.Fault{Operation: sandbox.OperationToken, Kind: "429", RetryAfter: "60", Times: 1}
		if err := f.box.Inject(fault); err != nil {
			t.Fatal(err)
		}
		j := sandboxJob(t, kinds.X509Disable, "service", "")
		revokeFails(t, f.clients[0], j)
		synctest.Wait()
		if got := time.Until(f.clients[1].Permit(t.Context(), j).NotBefore); got < 59*time.Second {
			t.Errorf("held for %s, want a minute", got)
		}
		store.held[sandbox.ClientID] = atlas.SharedToken{
			Value: secret.New(f.box.MintToken(sandbox.ClientID)), Expires: time.Now().Add(time.Hour), Renew: time.Now().Add(time.Hour),
		}
		if at := permit(t, f.clients[1], j); !at.IsZero() {
			t.Errorf("held for %s although there is a token", time.Until(at))
		}
		revokeWorks(t, f.clients[1], j)
	})
}
