package atlas

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/icholy/digest"

	"rekey/internal/jobs"
	"rekey/internal/secret"
)

// maxChallenges bounds how many challenges one call answers. One is usual; another comes with
// stale=true when a nonce expires between two requests.
const maxChallenges = 3

// errStale: no nonce lives long enough to be used. It says nothing about the key.
var errStale = errors.New("the API reports each of its nonces as stale")

// nonces remembers the nonce that an account uses (RFC 7616), so that a call needs no
// challenge of its own.
//
// The library's Transport does this too, but not well enough for many calls at once: it
// counts a repeated nonce from 1 again, which a server must take for a replay; it answers a
// challenge with the latest nonce and not with the one of that challenge; it drains refusals
// without a limit, and leaves their text unreadable. So its parser and its arithmetic are used, and the rest is here.
type nonces struct {
	mu     sync.Mutex // Guards what follows, and the uses of every nonce.
	shared *nonce     // The one that calls begin with; nil when there is none yet.
	// fresh are those that calls were challenged with and that have not been accepted yet. Others
	// do not use them: were a later count of theirs to arrive first, the server could take the
	// first one for a replay, and that looks like a wrong key.
	fresh map[string]*nonce
}

// nonce is a challenge and how often it was answered.
type nonce struct {
	challenge *digest.Challenge
	cnonce    string // Of its session, for the algorithms that have one.
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
		challenge, why := findChallenge(ex.header)
		switch {
		case challenge == nil && (n == nil || why != "" && !(fresh && definite)):
			return exchange{}, k.unanswerable(ctx, ex, why)
		case challenge == nil || fresh && definite && !challenge.Stale:
			return ex, nil // There is nothing to answer, or the answer was wrong.
		case challenges == maxChallenges && challenge.Stale:
			return exchange{}, &jobs.Failure{Reason: jobs.ReasonProtocol, Answer: ex.answer(k.client.scrubber(k.hidden...)), Err: errStale}
		case challenges == maxChallenges:
			return ex, nil
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
	req, failure := k.newRequest(ctx)
	if failure != nil {
		return "", failure
	}
	authorization, err := n.answer(req, k.account.PublicKey, key, k.account.nonces.count(n))
	if err != nil {
		// findChallenge returns only challenges that can be answered.
		return "", &jobs.Failure{Reason: jobs.ReasonProtocol, Err: err}
	}
	return authorization, nil
}

// unanswerable is the failure of a call that was refused before its key was checked. It says nothing about the key
// if another scheme is offered: then the refusal is not the API's.
func (k *call) unanswerable(ctx context.Context, ex exchange, why string) *jobs.Failure {
	failure := k.failure(ctx, ex)
	if why == "" {
		failure.Err = fmt.Errorf("%w (the key was not checked: the server names no way to authenticate)", failure.Err)
		k.noteAuthentication(failure)
		return failure
	}
	failure.Reason = jobs.ReasonProtocol
	failure.Err = fmt.Errorf("%w (the key was not checked: %s)", failure.Err, k.client.scrubber(k.hidden...).text(why))
	return failure
}

func (s *nonces) current() *nonce {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shared
}

// learn takes over the nonce of a challenge. A known nonce keeps its count.
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
	n := newNonce(challenge)
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
// the answer was certainly about the key: no other call has used the nonce.
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
