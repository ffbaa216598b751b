package access

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// loginTime is how long a login at the issuer may take.
const loginTime = 10 * time.Minute

// CallbackPath is where the issuer sends the browser back to.
const CallbackPath = "/login/callback"

// attempt is a login at the issuer that has begun. A cookie keeps it in the browser that began it.
type attempt struct {
	State    string    `json:"state"`
	Nonce    string    `json:"nonce"`
	Verifier string    `json:"verifier"` // Of PKCE (RFC 7636).
	To       string    `json:"to"`       // The page to show afterwards.
	Began    time.Time `json:"began"`
}

// HasIssuer reports whether persons can log in at an issuer.
func (s *Sessions) HasIssuer() bool { return s.Clients().hasIssuer() }

func (r *Roster) hasIssuer() bool { return r.verifier != nil && r.console.ClientID != "" }

// flow is the authorization code flow of OpenID Connect.
func (r *Roster) flow(provider *oidc.Provider) (*oauth2.Config, error) {
	secret := ""
	if !r.console.ClientSecret.IsZero() {
		value, err := r.console.ClientSecret.Read(r.lookup)
		if err != nil {
			return nil, fmt.Errorf("reading the secret of the console: %w", err)
		}
		secret = value.Reveal()
	}
	return &oauth2.Config{
		ClientID: r.console.ClientID, ClientSecret: secret, Endpoint: provider.Endpoint(), RedirectURL: r.publicURL + CallbackPath,
		Scopes: []string{oidc.ScopeOpenID, "profile", "email"},
	}, nil
}

// AskIssuer begins a login at the issuer, and returns the address to which the browser goes. to is the page to show afterwards.
func (s *Sessions) AskIssuer(w http.ResponseWriter, r *http.Request, to string) (string, error) {
	roster := s.Clients()
	if !roster.hasIssuer() {
		return "", errors.New("there is no login at an issuer")
	}
	provider, err := roster.verifier.ready(r.Context())
	if err != nil {
		return "", err
	}
	flow, err := roster.flow(provider)
	if err != nil {
		return "", err
	}
	a := attempt{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), To: to, Began: s.Now()}
	sealed, err := s.seal(markLogin, a)
	if err != nil {
		return "", err
	}
	// The issuer's page sends the browser back: a strict cookie would not come along.
	http.SetCookie(w, s.cookie(r, s.cookieName(r)+"-login", sealed, int(loginTime.Seconds()), http.SameSiteLaxMode))
	return flow.AuthCodeURL(a.State, oidc.Nonce(a.Nonce), oauth2.S256ChallengeOption(a.Verifier)), nil
}

// Return ends a login at the issuer with a session, and returns the page to show. The error is for the log.
func (s *Sessions) Return(w http.ResponseWriter, r *http.Request) (*Person, string, error) {
	name := s.cookieName(r) + "-login"
	cookie, err := r.Cookie(name)
	if err != nil {
		return nil, "", errors.New("the login was not begun in this browser, or took longer than " + loginTime.String())
	}
	http.SetCookie(w, s.cookie(r, name, "", -1, http.SameSiteLaxMode))
	var a attempt
	if err := s.open(markLogin, cookie.Value, &a); err != nil {
		return nil, "", err
	}
	q := r.URL.Query()
	switch {
	case s.Now().Sub(a.Began) > loginTime:
		return nil, "", errors.New("the login took longer than " + loginTime.String())
	case subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(a.State)) == 0:
		return nil, "", errors.New("the answer is that to another login")
	case q.Get("error") != "":
		return nil, "", fmt.Errorf("the issuer refused: %.64q", q.Get("error"))
	}
	claims, err := s.redeem(r.Context(), q.Get("code"), a)
	if err != nil {
		return nil, "", err
	}
	client := s.Clients().withClaims(claims)
	if client == nil {
		return nil, "", errors.New("no client has the claims of this person")
	}
	person := personOf(claims)
	if !isName(person) {
		return nil, "", errors.New("the token names no person")
	}
	p, err := s.begin(w, r, client, person, "claims:"+digest(client.Claims))
	return p, a.To, err
}

// redeem asks the issuer for the token of a code, and returns its claims once it is verified.
func (s *Sessions) redeem(ctx context.Context, code string, a attempt) (map[string]any, error) {
	roster := s.Clients()
	if !roster.hasIssuer() {
		return nil, errors.New("there is no login at an issuer")
	}
	provider, err := roster.verifier.ready(ctx)
	if err != nil {
		return nil, err
	}
	flow, err := roster.flow(provider)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, roster.verifier.asks), oidcTimeout)
	defer cancel()
	answer, err := flow.Exchange(ctx, code, oauth2.VerifierOption(a.Verifier))
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok { // Its text has the answer's body.
		return nil, fmt.Errorf("the issuer refused the code: %.64q", refused.ErrorCode)
	}
	if err != nil {
		return nil, errors.New("the issuer cannot be asked for a token")
	}
	raw, _ := answer.Extra("id_token").(string) //nolint:errcheck // "" is refused next.
	token, err := roster.verifier.verify(ctx, raw, roster.console.ClientID)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(a.Nonce)) == 0 {
		return nil, errors.New("the token is that of another login")
	}
	var claims map[string]any
	err = token.Claims(&claims)
	return claims, err
}

// personOf names a person by the claims of a token.
func personOf(claims map[string]any) string {
	text := func(name string) string {
		value, _ := claims[name].(string) //nolint:errcheck // "" for other values.
		return value
	}
	email := text("email")
	if verified, ok := claims["email_verified"].(bool); ok && !verified {
		email = ""
	}
	return cmp.Or(email, text("preferred_username"), text("sub"))
}
