package atlas

import (
	"context"
	"errors"
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

// errStale says that no nonce lives long enough to be used. The key is not refused by it.
var errStale = errors.New("the API calls every nonce that it hands out stale")

// nonces remembers the nonce that an account uses (RFC 7616), so that a call needs no
// challenge of its own.
//
// The library's Transport does this too, but not well enough for many calls at once: it
// counts a nonce from 1 again when it is handed out again, which a server must take for a
// replay; it answers a challenge with whichever nonce is the latest and not with the one it
// was given; it drains refusals without a bound, and leaves their text unreadable. So its
// parser and its arithmetic are used, and the rest is here.
type nonces struct {
	mu     sync.Mutex // Guards what follows, and the uses of every nonce.
	shared *nonce     // What calls begin with; nil when there is none yet.
	// fresh are those that calls were challenged with and that have not been accepted yet. Others
	// do not use them: were a later count of theirs to arrive first, the server could take the
	// first one for a replay, and that looks like a wrong key.
	fresh map[string]*nonce
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
	n, fresh := k.account.nonces.current(), false
	for challenges := 0; ; challenges++ {
		authorization, failure := k.answerChallenge(ctx, n, key)
		if failure != nil {
			return exchange{}, failure
		}
		ex, failure := k.send(ctx, authorization)
		if failure != nil {
			return exchange{}, failure
		}
		refused := ex.status == http.StatusUnauthorized && !ex.lacksRole()
		definite := k.account.nonces.settle(n, ex.status != 0 && !refused)
		if !refused {
			return ex, nil
		}
		challenge, ok := findChallenge(ex.header)
		switch {
		case !ok || fresh && definite && !challenge.Stale:
			return ex, nil // There is nothing to answer, or the answer was wrong.
		case challenges == maxChallenges && challenge.Stale:
			return exchange{}, &jobs.Failure{Reason: jobs.ReasonProtocol, Answer: ex.answer(nil), Err: errStale}
		case challenges == maxChallenges:
			return ex, nil
		}
		n, fresh = k.account.nonces.learn(challenge), true
	}
}

// findChallenge returns the challenge of a refusal, and false when there is none that can be
// answered.
func findChallenge(header http.Header) (*digest.Challenge, bool) {
	challenge, err := digest.FindChallenge(header)
	if err != nil || challenge.Nonce == "" {
		return nil, false
	}
	for i, qop := range challenge.QOP {
		challenge.QOP[i] = strings.TrimSpace(qop) // The library splits "auth, auth-int" at the comma only.
	}
	return challenge, true
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
	return s.shared
}

// learn takes over the nonce of a challenge. One that is known already keeps its count.
func (s *nonces) learn(challenge *digest.Challenge) *nonce {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shared != nil && s.shared.challenge.Nonce == challenge.Nonce {
		return s.shared
	}
	if n, ok := s.fresh[challenge.Nonce]; ok {
		return n
	}
	if s.fresh == nil {
		s.fresh = map[string]*nonce{}
	}
	n := &nonce{challenge: challenge}
	s.fresh[challenge.Nonce] = n
	return n
}

// count returns the next count of the nonce, from 1.
func (s *nonces) count(n *nonce) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.uses++
	return n.uses
}

// settle shares a nonce that was accepted, and forgets one that was not. It reports whether
// the answer was about the key for sure: nobody else has used the nonce.
func (s *nonces) settle(n *nonce, accepted bool) (definite bool) {
	if n == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.fresh, n.challenge.Nonce)
	if accepted {
		s.shared = n
	}
	return n.uses == 1
}
