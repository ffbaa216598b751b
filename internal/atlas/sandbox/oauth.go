package sandbox

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxLiveTokens is how many bearer tokens of one service account can work at a time.
const maxLiveTokens = 100

// tokens holds the bearer tokens that were issued. The lock of the Sandbox guards it.
type tokens struct {
	// byHash is keyed by the hash, so that looking up takes no longer the closer a guess is.
	byHash map[[sha256.Size]byte]token
	// perAccount holds the hashes of each account's tokens.
	perAccount map[string]map[[sha256.Size]byte]bool
	// key signs new ones.
	key ed25519.PrivateKey
}

type token struct {
	account, secretID string
	expires           time.Time
}

func newTokens() *tokens {
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed) // It never returns an error.
	return &tokens{byHash: map[[sha256.Size]byte]token{}, perAccount: map[string]map[[sha256.Size]byte]bool{}, key: ed25519.NewKeyFromSeed(seed)}
}

// issue makes a new token of the account, with one of its secrets.
func (t *tokens) issue(account, secretID string, issued, expires time.Time) string {
	value := t.newJWT(account, issued, expires)
	hash := sha256.Sum256([]byte(value))
	t.byHash[hash] = token{account: account, secretID: secretID, expires: expires}
	if t.perAccount[account] == nil {
		t.perAccount[account] = map[[sha256.Size]byte]bool{}
	}
	t.perAccount[account][hash] = true
	return value
}

// newJWT makes a token that looks like Atlas's: what it says is true, and only we could have signed it.
func (t *tokens) newJWT(account string, issued, expires time.Time) string {
	part := func(document map[string]any) string {
		text, err := json.Marshal(document)
		if err != nil {
			panic("sandbox: a token of its own: " + err.Error())
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	signed := part(map[string]any{"alg": "EdDSA", "typ": "JWT", "kid": "sandbox"}) + "." + part(map[string]any{
		"iss": "https://sandbox.invalid", "sub": account, "cid": account, "jti": rand.Text(), "iat": issued.Unix(), "exp": expires.Unix(),
	})
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(t.key, []byte(signed)))
}

// owner returns the account of a token that works, or "".
func (t *tokens) owner(value string, now time.Time) string {
	found, ok := t.byHash[sha256.Sum256([]byte(value))]
	if !ok || !now.Before(found.expires) {
		return ""
	}
	return found.account
}

// live counts the tokens of the account that work, and forgets those that have expired.
func (t *tokens) live(account string, now time.Time) int {
	for hash := range t.perAccount[account] {
		if !now.Before(t.byHash[hash].expires) {
			t.forget(hash)
		}
	}
	return len(t.perAccount[account])
}

func (t *tokens) forget(hash [sha256.Size]byte) {
	delete(t.perAccount[t.byHash[hash].account], hash)
	delete(t.byHash, hash)
}

// endAll ends the tokens of an account that were made with a secret, or all of them where none is named.
func (t *tokens) endAll(account, secretID string) {
	for hash := range t.perAccount[account] {
		if secretID == "" || t.byHash[hash].secretID == secretID {
			t.forget(hash)
		}
	}
}

// oauthRoutes returns the table of tokens.
func (s *Sandbox) oauthRoutes() []route {
	return []route{
		{operation: OperationToken, method: http.MethodPost, path: "/api/oauth/token", oauth: true, act: s.issueToken},
		{operation: OperationTokenRevoke, method: http.MethodPost, path: "/api/oauth/revoke", oauth: true, act: s.revokeToken},
	}
}

// issueToken answers POST /api/oauth/token (RFC 6749 section 4.4).
func (s *Sandbox) issueToken(c *call) answer {
	if refusal, refused := s.admitOAuth(c, BucketToken); refused {
		return refusal
	}
	switch grant := c.form.Get("grant_type"); {
	case grant == "":
		return c.refuseOAuth(http.StatusBadRequest, "invalid_request", "The parameter grant_type is missing.")
	case grant != "client_credentials":
		return c.refuseOAuth(http.StatusBadRequest, "unsupported_grant_type", "The grant_type must be client_credentials.")
	case s.tokens.live(c.account.id, c.at) >= maxLiveTokens:
		return c.refuseOAuth(http.StatusForbidden, "access_denied", fmt.Sprintf("The service account has %d active tokens already.", maxLiveTokens))
	}
	c.header.Set("Cache-Control", "no-store")
	s.used(c)
	return c.reply(http.StatusOK, "application/json", struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
		TokenType   string `json:"token_type"`
	}{s.tokens.issue(c.account.id, c.secretID, c.at, c.at.Add(s.tokenLifetime)), int(s.tokenLifetime / time.Second), "Bearer"})
}

// revokeToken answers POST /api/oauth/revoke (RFC 7009).
func (s *Sandbox) revokeToken(c *call) answer {
	if refusal, refused := s.admitOAuth(c, BucketTokenRevoke); refused {
		return refusal
	}
	value := c.form.Get("token")
	if value == "" {
		return c.refuseOAuth(http.StatusBadRequest, "invalid_request", "The parameter token is missing.")
	}
	switch s.tokens.owner(value, c.at) {
	case "": // Unknown or expired. RFC 7009 section 2.2: that is no error.
	case c.account.id:
		s.alter(c, change{
			do:   func(time.Time) { s.tokens.forget(sha256.Sum256([]byte(value))) },
			says: []entry{{kind: "OAUTH_TOKEN_REVOKED", orgID: s.world.orgOf(c.account)}},
		})
	default:
		return c.refuseOAuth(http.StatusBadRequest, "invalid_grant", "The token was issued to another client.")
	}
	return c.empty(http.StatusOK)
}

// admitOAuth limits the rate, checks the body and authenticates the client, in this order.
func (s *Sandbox) admitOAuth(c *call, bucket string) (answer, bool) {
	id, secret, ok := c.request.BasicAuth()
	if taken := s.buckets.take(bucket, clientIP(c.request)+" "+s.knownClient(id), c.at); !taken.ok {
		return c.oauthRateLimited(taken), true
	}
	if c.formProblem != "" {
		return c.refuseOAuth(http.StatusBadRequest, "invalid_request", c.formProblem), true
	}
	a := s.world.accounts[id]
	if a != nil && ok && a.kind == kindServiceAccount {
		c.secretID, ok = a.secretWith(secret, c.at)
	} else {
		ok = false
	}
	if !ok {
		c.header.Set("WWW-Authenticate", `Basic realm="MMS Public API"`)
		return c.refuseOAuth(http.StatusUnauthorized, "invalid_client", "The client could not be authenticated."), true
	}
	c.account = a
	return answer{}, false
}

// knownClient returns the client id, or one word for all that do not exist, so that the keys of
// buckets are bounded.
func (s *Sandbox) knownClient(id string) string {
	if s.world.accounts[id] == nil {
		return "unknown"
	}
	return id
}

// oauthRateLimited answers that the bucket is empty.
func (c *call) oauthRateLimited(t taken) answer {
	c.header.Set("Retry-After", strconv.Itoa(wholeSeconds(t.wait)))
	return c.refuseOAuth(http.StatusTooManyRequests, "rate_limited", oauthRateText(c.request.URL.Path, t.limit))
}

// oauthRateText is the vendor's sentence about the limit.
func oauthRateText(path string, limit Bucket) string {
	every := fmt.Sprintf("%d seconds", wholeSeconds(limit.Every))
	if limit.Every%time.Minute == 0 {
		every = fmt.Sprintf("%d minutes", limit.Every/time.Minute)
	}
	return fmt.Sprintf("Resource %s is limited to %d requests every %s.", path, limit.Capacity, every)
}

// secretWith returns the id of the account's secret that has this value and has not expired.
func (a *account) secretWith(value string, now time.Time) (string, bool) {
	for _, secret := range a.secrets {
		if secret.is(value) && now.Before(secret.expiresAt) {
			return secret.id, true
		}
	}
	return "", false
}

// is compares in constant time. RFC 6749 section 2.3.1 has clients form-encode the secret
// before they put it into the header; many do not, and either is right.
func (s accountSecret) is(secret string) bool {
	want := sha256.Sum256([]byte(s.value))
	got := sha256.Sum256([]byte(secret))
	same := subtle.ConstantTimeCompare(want[:], got[:])
	if decoded, err := url.QueryUnescape(secret); err == nil {
		got = sha256.Sum256([]byte(decoded))
		same |= subtle.ConstantTimeCompare(want[:], got[:])
	}
	return same == 1
}

// clientIP returns the address that the request came from, without the port.
func clientIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return strings.TrimSpace(host)
}

// MintToken returns a new bearer token of the service account that works, or "" when there is no
// such account. It is for tests and the demo: it spends no rate, and the limit of 100 live
// tokens, to which minted ones count, does not stop it.
func (s *Sandbox) MintToken(clientID string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.world.accounts[clientID]
	if a == nil || a.kind != kindServiceAccount || len(a.secrets) == 0 {
		return ""
	}
	s.tokens.live(clientID, s.now()) // Forgets those that have expired.
	return s.tokens.issue(clientID, a.secrets[0].id, s.now(), s.now().Add(s.tokenLifetime))
}

// TokenLive says whether the bearer token works: it was issued, and neither revoked nor expired.
func (s *Sandbox) TokenLive(value string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.settle(now)
	return s.tokens.owner(value, now) != ""
}
