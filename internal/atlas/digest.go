package atlas

import (
	"context"
	"net/http"
	"strings"
	"sync"

	"github.com/icholy/digest"

	"rekey/internal/jobs"
	"rekey/internal/secret"
)

// maxChallenges bounds how many challenges one call answers. One is usual; another comes with
// stale=true when a nonce expires between two requests.
const maxChallenges = 3

// nonces remembers the nonce that an account uses (RFC 7616), so that a call needs no
// challenge of its own.
//
// The library's Transport does this too, but not well enough for many calls at once: it
// counts a nonce from 1 again when it is handed out again, which a server must take for a
// replay; it answers a challenge with whichever nonce is the latest and not with the one it
// was given; it drains refusals without a bound, and leaves their text unreadable. So its
// parser and its arithmetic are used, and the rest is here.
type nonces struct {
	mu     sync.Mutex // Guards latest and its uses.
	latest *nonce
}

// nonce is a challenge and how often it was answered.
type nonce struct {
	challenge *digest.Challenge
	uses      int
}

// digest makes the request with the account's API key.
func (k *call) digest(ctx context.Context) (exchange, *jobs.Failure) {
	key, failure := k.ownSecret()
	if failure != nil {
		return exchange{}, failure
	}
	n := k.account.nonces.current()
	fresh := false
	for challenges := 0; ; challenges++ {
		authorization, failure := k.answerChallenge(ctx, n, key)
		if failure != nil {
			return exchange{}, failure
		}
		ex, failure := k.send(ctx, authorization)
		if failure != nil || ex.status != http.StatusUnauthorized || challenges == maxChallenges {
			return ex, failure
		}
		challenge, err := digest.FindChallenge(ex.header)
		if err != nil || fresh && !challenge.Stale {
			return ex, nil // There is nothing to answer, or the answer was wrong.
		}
		n, fresh = k.account.nonces.learn(challenge), true
	}
}

// answerChallenge returns the header Authorization, or "" without a nonce: the server then
// sends one.
func (k *call) answerChallenge(ctx context.Context, n *nonce, key secret.Value) (string, *jobs.Failure) {
	if n == nil {
		return "", nil
	}
	req, failure := k.newRequest(ctx, http.NoBody)
	if failure != nil {
		return "", failure
	}
	credentials, err := digest.Digest(n.challenge, digest.Options{
		Method:   req.Method,
		URI:      req.URL.RequestURI(),
		Count:    k.account.nonces.count(n),
		Username: k.account.PublicKey,
		Password: key.Reveal(),
	})
	if err != nil {
		// FindChallenge returns only challenges that can be answered.
		return "", &jobs.Failure{Reason: jobs.ReasonProtocol, Err: err}
	}
	return credentials.String(), nil
}

func (s *nonces) current() *nonce {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest
}

// learn takes over the nonce of a challenge. One that is known already keeps its count.
func (s *nonces) learn(challenge *digest.Challenge) *nonce {
	for i, qop := range challenge.QOP {
		challenge.QOP[i] = strings.TrimSpace(qop) // The library splits "auth, auth-int" at the comma only.
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.latest == nil || s.latest.challenge.Nonce != challenge.Nonce {
		s.latest = &nonce{challenge: challenge}
	}
	return s.latest
}

// count returns the next count of the nonce, from 1.
func (s *nonces) count(n *nonce) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.uses++
	return n.uses
}
