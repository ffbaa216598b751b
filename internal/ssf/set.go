// Package ssf receives security event tokens of the Shared Signals Framework: it verifies them, polls for them, and verifies streams.
package ssf

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"rekey/internal/jobs"
	"rekey/internal/jwks"
)

// MediaType is that of a security event token (RFC 8417 section 2.3).
const MediaType = "application/secevent+jwt"

// Error codes (https://www.iana.org/assignments/secevent, "Security Event Token Error Codes").
const (
	InvalidRequest       = "invalid_request"
	InvalidKey           = "invalid_key"
	InvalidIssuer        = "invalid_issuer"
	InvalidAudience      = "invalid_audience"
	AuthenticationFailed = "authentication_failed"
	InvalidState         = "invalid_state"
)

// Error is why a token is refused, for its transmitter. Its text repeats nothing of the token.
type Error struct {
	Code        string `json:"err"`
	Description string `json:"description"`
}

// Error is the description.
func (e *Error) Error() string { return e.Description }

// Event types of the framework itself (SSF 1.0, section 8.1).
const (
	Verification  = "https://schemas.openid.net/secevent/ssf/event-type/verification"
	StreamUpdated = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated"
)

// minKeyBits is the size of the shortest key that is accepted (CAEP Interoperability Profile 1.0, section 2.6).
const minKeyBits = 2048

// clockSkew is how far in the future a token may have been issued.
const clockSkew = 5 * time.Minute

// SET is a verified security event token (RFC 8417).
type SET struct {
	ID     string         // Its claim jti.
	Type   string         // The URI of its one event.
	Event  map[string]any // What the event says.
	Claims map[string]any // All claims; numbers are json.Number.
}

// Verifier verifies the tokens of one transmitter, as the CAEP Interoperability Profile 1.0 has them.
type Verifier struct {
	Issuer   string
	Audience string
	Keys     *jwks.Keys // Made with Usable.
}

// Verify verifies a token. The error is an *Error where the token is at fault; after another one it can be verified later.
func (v *Verifier) Verify(ctx context.Context, token string, now time.Time) (SET, error) {
	payload, err := v.payload(ctx, token)
	if err != nil {
		return SET{}, err
	}
	doc, err := jobs.ParseDocument(payload)
	if err != nil {
		return SET{}, &Error{InvalidRequest, "the claims are no JSON object"}
	}
	return v.claims(doc.Fields, now)
}

// payload returns what is signed, once the signature is verified.
func (v *Verifier) payload(ctx context.Context, token string) ([]byte, error) {
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return nil, &Error{InvalidRequest, "the body must be a JWS in compact form, signed with RS256"}
	}
	header := signed.Signatures[0].Protected
	kind, _ := header.ExtraHeaders["typ"].(string) //nolint:errcheck // Empty for another type.
	if kind = strings.ToLower(kind); kind != "secevent+jwt" && kind != MediaType {
		return nil, &Error{InvalidRequest, "the header typ must be secevent+jwt"}
	}
	payload, err := v.Keys.Verify(ctx, signed)
	if errors.Is(err, jwks.ErrNoKey) {
		return nil, &Error{InvalidKey, "none of the issuer's keys of at least 2048 bits has signed the token"}
	}
	return payload, err
}

// claims checks the claims of a token.
func (v *Verifier) claims(claims map[string]any, now time.Time) (SET, error) {
	set := SET{Claims: claims}
	issued, _ := claims["iat"].(json.Number) //nolint:errcheck // Empty for another type.
	seconds, err := issued.Float64()
	set.ID, _ = claims["jti"].(string) //nolint:errcheck // Empty for another type.
	_, hasExpiry := claims["exp"]
	_, hasSubject := claims["sub"]
	switch {
	case claims["iss"] != v.Issuer:
		return set, &Error{InvalidIssuer, "the claim iss is another issuer"}
	case !contains(claims["aud"], v.Audience):
		return set, &Error{InvalidAudience, "the claim aud does not have this receiver"}
	case hasExpiry || hasSubject:
		return set, &Error{InvalidRequest, "the claims exp and sub must be absent"}
	case set.ID == "":
		return set, &Error{InvalidRequest, "the claim jti is required"}
	case err != nil || time.Unix(int64(seconds), 0).After(now.Add(clockSkew)):
		return set, &Error{InvalidRequest, "the claim iat is required, and must not be in the future"}
	}
	events, _ := claims["events"].(map[string]any) //nolint:errcheck // Nil for another type.
	if len(events) != 1 {
		return set, &Error{InvalidRequest, "the claim events must have exactly one event"}
	}
	for name, one := range events {
		var ok bool
		if set.Event, ok = one.(map[string]any); !ok {
			return set, &Error{InvalidRequest, "the event must be an object"}
		}
		set.Type = name
	}
	if !isSubject(claims["sub_id"]) {
		return set, &Error{InvalidRequest, "the claim sub_id must be a subject identifier (RFC 9493)"}
	}
	return set, nil
}

// contains reports whether a claim is a text, or a list that has it.
func contains(claim any, text string) bool {
	if list, ok := claim.([]any); ok {
		return slices.Contains(list, any(text))
	}
	return claim == text
}

// subjectMembers are what each format of a subject identifier must have (RFC 9493 section 3.2, SSF 1.0 section 3).
var subjectMembers = map[string][]string{
	"account": {"uri"}, "email": {"email"}, "iss_sub": {"iss", "sub"}, "opaque": {"id"}, "phone_number": {"phone_number"}, "did": {"url"}, "uri": {"uri"},
	"jwt_id": {"iss", "jti"}, "saml_assertion_id": {"issuer", "assertion_id"}, "ip-addresses": nil, "aliases": nil, "complex": nil,
}

// isSubject reports whether a claim is a subject identifier of a format that is known.
func isSubject(claim any) bool {
	subject, ok := claim.(map[string]any)
	if !ok {
		return false
	}
	format, _ := subject["format"].(string) //nolint:errcheck // Empty for another type.
	members, known := subjectMembers[format]
	return known && !slices.ContainsFunc(members, func(name string) bool {
		text, ok := subject[name].(string)
		return !ok || text == ""
	})
}

// Usable reports whether a key may sign tokens.
func Usable(key jose.JSONWebKey) bool {
	public, ok := key.Public().Key.(*rsa.PublicKey)
	return ok && public.N.BitLen() >= minKeyBits
}
