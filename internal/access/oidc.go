package access

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"rekey/internal/backoff"
	"rekey/internal/config"
	"rekey/internal/jwks"
	"rekey/internal/proxy"
	"rekey/internal/quiet"
	"rekey/internal/secret"
	"rekey/internal/wire"
)

// reader reads a secret anew.
type reader = func(func(string) (string, bool)) (secret.Value, error)

// oidcTimeout bounds each request to the issuer.
const oidcTimeout = 5 * time.Second

// How often the issuer is asked at most: so many times at once, and then each time after a while.
const (
	oidcBurst = 10
	oidcEvery = 5 * time.Second
)

// An issuer that cannot be reached is asked again after these times.
const oidcPauseFirst, oidcPauseMost = time.Second, time.Minute

// verifier verifies tokens of an issuer. Its keys are read when they are needed, and kept.
type verifier struct {
	cfg      config.OIDC
	log      *zap.Logger
	failures quiet.Failures

	mu       sync.Mutex     // Guards what follows.
	provider *oidc.Provider // Nil until the issuer has answered.
	keys     *jwks.Keys
	asks     *http.Client
	failed   int
	askAgain time.Time
}

// newVerifier is that of before where the issuer is the same, with its keys; nil where there is none.
func newVerifier(c config.OIDC, before *Roster, log *zap.Logger) *verifier {
	switch {
	case c.Issuer == "":
		return nil
	case before != nil && before.verifier != nil && before.verifier.cfg == c:
		return before.verifier
	}
	return &verifier{cfg: c, log: log}
}

// errIssuerWaits says that the issuer is not asked yet.
var errIssuerWaits = errors.New("the issuer was asked just now")

// ready returns the issuer, once it has said where its keys are.
func (v *verifier) ready(ctx context.Context) (*oidc.Provider, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.provider != nil {
		return v.provider, nil
	}
	if time.Now().Before(v.askAgain) {
		return nil, errIssuerWaits
	}
	client, err := v.client()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(context.WithoutCancel(ctx), client), oidcTimeout)
	defer cancel()
	provider, err := oidc.NewProvider(ctx, v.cfg.Issuer)
	if err != nil {
		v.failed++
		v.askAgain = time.Now().Add(backoff.Delay(oidcPauseFirst, oidcPauseMost, v.failed))
		return nil, fmt.Errorf("asking %s: %w", v.cfg.Issuer, err)
	}
	var where struct {
		JWKSURI string `json:"jwks_uri"`
	}
	if err := provider.Claims(&where); err != nil {
		return nil, fmt.Errorf("asking %s: %w", v.cfg.Issuer, err)
	}
	v.provider, v.asks, v.keys = provider, client, &jwks.Keys{URL: where.JWKSURI, Client: client}
	return provider, nil
}

// client is how the issuer is asked.
func (v *verifier) client() (*http.Client, error) {
	transport := &http.Transport{TLSHandshakeTimeout: oidcTimeout, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true}
	proxy.Use(transport)
	if v.cfg.CAFile != "" {
		roots, err := wire.Pool(v.cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("api.oidc.ca_file: %w", err)
		}
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // The console's secret is for the issuer alone.
	return &http.Client{CheckRedirect: stay, Transport: sparing{transport, rate.NewLimiter(rate.Every(oidcEvery), oidcBurst)}, Timeout: oidcTimeout}, nil
}

// sparing bounds how often the issuer is asked: a token that names a key that is not known makes its keys be read again, and
// every stranger can make one up.
type sparing struct {
	http.RoundTripper
	limiter *rate.Limiter
}

// RoundTrip implements http.RoundTripper.
func (s sparing) RoundTrip(req *http.Request) (*http.Response, error) {
	if !s.limiter.Allow() {
		return nil, errIssuerWaits
	}
	return s.RoundTripper.RoundTrip(req)
}

// byClaims finds the client of a token of the issuer: the first that has all its claims. The error is ErrUnsure where the issuer does not say
// which keys it has.
func (r *Roster) byClaims(ctx context.Context, token string) (*Client, error) {
	if _, err := r.verifier.ready(ctx); err != nil {
		r.verifier.failures.Warn(r.verifier.log, "tokens of the issuer cannot be verified", err)
		return nil, fmt.Errorf("%w: the issuer of tokens cannot be reached", ErrUnsure)
	}
	verified, err := r.verifier.verify(ctx, token, r.verifier.cfg.Audience)
	if err != nil {
		return nil, err
	}
	claims := map[string]any{}
	if err := verified.Claims(&claims); err != nil {
		return nil, errors.New("the claims of the token cannot be read")
	}
	if c := r.withClaims(claims); c != nil {
		return c, nil
	}
	return nil, errors.New("no client has the claims of this token")
}

// signedBy are the algorithms of signatures that count. Those with a shared secret do not.
var signedBy = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA,
}

// verify verifies a token of the issuer, once that is ready. The error has nothing of the token.
func (v *verifier) verify(ctx context.Context, token, audience string) (*oidc.IDToken, error) {
	keys := &keySet{keys: v.keys}
	verified, err := oidc.NewVerifier(v.cfg.Issuer, keys, &oidc.Config{ClientID: audience, SupportedSigningAlgs: signedBy}).Verify(ctx, token)
	if err == nil {
		return verified, nil
	}
	if keys.unsure != nil {
		v.failures.Warn(v.log, "tokens of the issuer cannot be verified", keys.unsure)
		return nil, fmt.Errorf("%w: the keys of the issuer of tokens cannot be read", ErrUnsure)
	}
	return nil, errors.New("the token of the issuer is not valid: " + reasonOf(err))
}

// keySet verifies one token by the keys of the issuer. Its error says no more than that it has failed; unsure is why that is not the token's fault.
type keySet struct {
	keys   *jwks.Keys
	unsure error
}

// VerifySignature implements oidc.KeySet.
func (k *keySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	algorithms := make([]jose.SignatureAlgorithm, len(signedBy))
	for i, name := range signedBy {
		algorithms[i] = jose.SignatureAlgorithm(name)
	}
	signed, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return nil, err
	}
	payload, err := k.keys.Verify(ctx, signed)
	if err != nil && !errors.Is(err, jwks.ErrNoKey) {
		k.unsure = err
	}
	return payload, err
}

// reasonOf says why a token was refused, without its content.
func reasonOf(err error) string {
	if _, expired := errors.AsType[*oidc.TokenExpiredError](err); expired {
		return "it has expired"
	}
	return "its signature, issuer, audience or time is wrong"
}

// hasClaims reports whether the claims of a token have all of these values.
func hasClaims(have map[string]any, want map[string]string) bool {
	for name, value := range want {
		if !hasValue(have[name], value) {
			return false
		}
	}
	return true
}

func hasValue(claim any, value string) bool {
	switch claim := claim.(type) {
	case string:
		return claim == value
	case bool:
		return fmt.Sprint(claim) == value
	case []any:
		for _, one := range claim {
			if text, ok := one.(string); ok && text == value {
				return true
			}
		}
	}
	return false
}
