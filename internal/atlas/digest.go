package atlas

import (
	"context"
	"crypto/md5" //nolint:gosec // HTTP Digest has it (RFC 7616), and the API no other.
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"slices"
	"strings"
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
	return k.digestWith(ctx, key)
}

// digestWith makes the request with a private key.
func (k *call) digestWith(ctx context.Context, key secret.Value) (exchange, *jobs.Failure) {
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

// sess ends the names of algorithms whose A1 belongs to a session (RFC 7616 section 3.4.2).
const sess = "-SESS"

// hashes are the hashes of the algorithms, by their names in upper case without sess. The empty name means MD5.
var hashes = map[string]func() hash.Hash{
	"": md5.New, "MD5": md5.New, "SHA-256": sha256.New, "SHA-512-256": sha512.New512_256,
}

// offer is one way to authenticate that a server offers (a challenge of RFC 9110 section 11.6.1).
type offer struct {
	scheme string
	params map[string]string // By their names in lower case.
	broken bool              // It ends inside of a quoted text.
}

// offers reads the headers WWW-Authenticate. One header may hold several challenges, and a proxy may fold several headers
// into one (section 5.3).
func offers(header http.Header) []offer {
	var list []offer
	for _, value := range header.Values("WWW-Authenticate") {
		list = append(list, offersIn(value)...)
	}
	return list
}

// separators end a token of a header.
const separators = " \t,="

func offersIn(value string) []offer {
	var list []offer
	for first := true; ; first = false {
		trimmed := strings.TrimLeft(value, " \t")
		rest := strings.TrimLeft(trimmed, " \t,")
		begins := first || len(rest) < len(trimmed) // A scheme is at the beginning or behind a comma.
		end := strings.IndexAny(rest+" ", separators)
		name := rest[:end]
		if name == "" && rest == "" {
			return list
		}
		value = rest[end:]
		after, isParam := strings.CutPrefix(strings.TrimLeft(value, " \t"), "=")
		switch {
		case isParam && len(list) > 0:
			last := &list[len(list)-1]
			last.params[strings.ToLower(name)], value, last.broken = paramValue(after)
		case isParam:
			_, value, _ = paramValue(after)
		case begins && name != "":
			list = append(list, offer{scheme: name, params: map[string]string{}})
		case name == "": // A stray character.
			value = rest[1:]
		}
	}
}

// paramValue reads the value of a parameter, and returns what follows it.
func paramValue(text string) (value, rest string, broken bool) {
	text = strings.TrimLeft(text, " \t")
	if !strings.HasPrefix(text, `"`) {
		end := strings.IndexAny(text+" ", " \t,")
		return text[:end], text[end:], false
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '"':
			return b.String(), text[i+1:], false
		case text[i] == '\\' && i+1 < len(text):
			i++
		}
		b.WriteByte(text[i])
	}
	return b.String(), "", true
}

// findChallenge returns the first challenge of a refusal that can be answered, or nil, and why there is none. The reason
// is empty when the server offers nothing at all.
func findChallenge(header http.Header) (challenge *digest.Challenge, why string) {
	list := offers(header)
	var schemes []string
	for _, o := range list {
		if !strings.EqualFold(o.scheme, "Digest") {
			schemes = append(schemes, o.scheme)
			continue
		}
		if why = o.unanswerable(); why == "" {
			return o.challenge(), ""
		}
	}
	switch {
	case len(list) == 0, why != "":
		return nil, why
	}
	return nil, "the server offers only " + strings.Join(slices.Compact(schemes), " and ") + ", and no HTTP Digest, which API keys need"
}

// unanswerable is why a challenge of HTTP Digest cannot be answered, or "".
func (o offer) unanswerable() string {
	algorithm := o.params["algorithm"]
	switch {
	case o.broken || o.params["nonce"] == "":
		return "the server's challenge of HTTP Digest cannot be read: it has no nonce, or ends inside of a quoted text"
	case hashes[strings.TrimSuffix(strings.ToUpper(algorithm), sess)] == nil:
		return fmt.Sprintf("the server asks for HTTP Digest with the algorithm %q; MD5, SHA-256 and SHA-512-256 are known, each with -sess", algorithm)
	case len(o.qop()) > 0 && !slices.Contains(o.qop(), "auth") && !slices.Contains(o.qop(), "auth-int"):
		return fmt.Sprintf("the server asks for HTTP Digest with qop %q; auth and auth-int are known", o.params["qop"])
	}
	return ""
}

// qop are the sorts of protection, in lower case.
func (o offer) qop() []string {
	return strings.FieldsFunc(strings.ToLower(o.params["qop"]), func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
}

func (o offer) challenge() *digest.Challenge {
	return &digest.Challenge{
		Realm: o.params["realm"], Nonce: o.params["nonce"], Opaque: o.params["opaque"], Algorithm: o.params["algorithm"],
		Stale: strings.EqualFold(o.params["stale"], "true"), QOP: o.qop(), Userhash: strings.EqualFold(o.params["userhash"], "true"),
	}
}

// answer returns the value of the header Authorization for one use of a nonce.
func (n *nonce) answer(req *http.Request, user string, key secret.Value, count int) (string, error) {
	options := digest.Options{Method: req.Method, URI: req.URL.RequestURI(), Count: count, Username: user, Password: key.Reveal()}
	challenge := *n.challenge
	plain, isSession := strings.CutSuffix(strings.ToUpper(challenge.Algorithm), sess)
	if isSession {
		// The library does not know sessions: it is given A1, which is that of the session's first request.
		sum := func(parts ...string) string {
			h := hashes[plain]()
			h.Write([]byte(strings.Join(parts, ":")))
			return hex.EncodeToString(h.Sum(nil))
		}
		options.Cnonce = n.cnonce
		options.A1 = sum(sum(user, challenge.Realm, key.Reveal()), challenge.Nonce, n.cnonce)
		challenge.Algorithm = plain
	}
	credentials, err := digest.Digest(&challenge, options)
	if err != nil {
		return "", err
	}
	credentials.Algorithm = n.challenge.Algorithm
	if isSession { // It is sent without qop, too: A1 contains it.
		credentials.Cnonce = n.cnonce
	}
	return credentials.String(), nil
}

// newNonce is a nonce that was not used yet.
func newNonce(challenge *digest.Challenge) *nonce {
	return &nonce{challenge: challenge, cnonce: rand.Text()}
}
