package door

import (
	"slices"
	"time"

	"rekey/internal/secret"
)

// Type says who posts to a door, and how that sender proves it. The set is closed.
type Type string

// The types.
const (
	TypeGitHub           Type = "github"            // Webhooks of GitHub.
	TypeGitLabRevocation Type = "gitlab_revocation" // GitLab's Token Revocation API.
	TypeStandardWebhooks Type = "standard_webhooks" // Senders that sign as Standard Webhooks has it.
	TypeGitGuardian      Type = "gitguardian"       // Custom webhooks of GitGuardian.
	TypePagerDuty        Type = "pagerduty"         // Webhooks of PagerDuty, version 3.
	TypeAtlas            Type = "atlas"             // Webhooks of MongoDB Atlas' alerts.
	TypeSlack            Type = "slack"             // A slash command of Slack.
	TypeTeams            Type = "teams"             // An outgoing webhook of Microsoft Teams.
	TypeBearer           Type = "bearer"            // A token in the header Authorization.
	TypeBasic            Type = "basic"             // A user and a password.
	TypeMTLS             Type = "mtls"              // A client certificate.
	TypeNone             Type = "none"              // Processes on this machine.
	TypeCAEP             Type = "caep"              // An identity provider that shares signals.
)

// Types lists all types.
func Types() []Type {
	return []Type{
		TypeGitHub, TypeGitLabRevocation, TypeStandardWebhooks, TypeGitGuardian, TypePagerDuty, TypeAtlas, TypeSlack, TypeTeams,
		TypeBearer, TypeBasic, TypeMTLS, TypeNone, TypeCAEP,
	}
}

// Door is the place of one sender.
type Door struct {
	// Name is unique: lower-case letters, digits, - and _. The door is at /in/ and its name.
	Name string
	Type Type
	// Class is that of its events.
	Class string
	// Secret is where the secrets of the sender's signatures are kept. They are read anew for every request.
	Secret secret.Ref
	// Token is where the tokens that the sender presents are kept. They are read anew for every request.
	Token secret.Ref
	// User and Password are those of the sender. The password is read anew for every request.
	User     string
	Password secret.Ref
	// CertNames are the names of client certificates, of which one must be in the sender's.
	CertNames []string
	// Tolerance is how far a signed time may be from now.
	Tolerance time.Duration
	// Direct lets bodies be direct requests.
	Direct bool
	// Secrets are the names of members whose values are sealed whatever they look like.
	Secrets []string
	// TokenTypes are the types of tokens that GitLab is to send.
	TokenTypes []string
	// Issuer and Audience are those of security event tokens, which the keys in a file, or at an address, have signed.
	Issuer, Audience, JWKSFile, JWKSURL string
	// CAFile has the authorities of the transmitter's certificate. Empty: those of the system.
	CAFile string
	// PollURL is where tokens are polled, VerificationURL where a verification of the stream StreamID is asked for. StreamToken
	// is the bearer token for both, which is read anew for every request. Empty: not used.
	PollURL, VerificationURL, StreamID string
	StreamToken                        secret.Ref
	// Account and Params are those of requests that the door makes itself.
	Account string
	Params  map[string]string
}

// Keys are the keys of a door's configuration that some types have and others have not.
type Keys struct {
	Required []string // Of these, each must be there.
	Optional []string
}

// Has reports whether doors of the type have a key.
func (k Keys) Has(key string) bool {
	return slices.Contains(k.Required, key) || slices.Contains(k.Optional, key)
}

// The keys.
const (
	KeySecret     = "secret"
	KeyToken      = "token"
	KeyUser       = "user"
	KeyPassword   = "password"
	KeyCertNames  = "cert_names"
	KeyTolerance  = "tolerance"
	KeyDirect     = "direct"
	KeyTokenTypes = "token_types"
	KeyAccount    = "account"
	KeyParams     = "params"

	KeyIssuer          = "issuer"
	KeyAudience        = "audience"
	KeyJWKSFile        = "jwks_file"
	KeyJWKSURL         = "jwks_url"
	KeyCAFile          = "ca_file"
	KeyPollURL         = "poll_url"
	KeyVerificationURL = "verification_url"
	KeyStreamID        = "stream_id"
	KeyStreamToken     = "stream_token"
)

// KeysOf are the keys of a type.
func KeysOf(t Type) Keys {
	switch t {
	case TypeGitHub, TypePagerDuty, TypeAtlas, TypeTeams:
		return Keys{Required: []string{KeySecret}}
	case TypeGitGuardian, TypeSlack:
		return Keys{Required: []string{KeySecret}, Optional: []string{KeyTolerance}}
	case TypeStandardWebhooks:
		return Keys{Required: []string{KeySecret}, Optional: []string{KeyTolerance, KeyDirect}}
	case TypeGitLabRevocation:
		return Keys{Required: []string{KeyToken}, Optional: []string{KeyTokenTypes, KeyAccount, KeyParams}}
	case TypeBearer:
		return Keys{Required: []string{KeyToken}, Optional: []string{KeyDirect}}
	case TypeBasic:
		return Keys{Required: []string{KeyUser, KeyPassword}, Optional: []string{KeyDirect}}
	case TypeMTLS:
		return Keys{Required: []string{KeyCertNames}, Optional: []string{KeyDirect}}
	case TypeCAEP:
		return Keys{Required: []string{KeyIssuer, KeyAudience}, Optional: []string{
			KeyToken, KeyJWKSFile, KeyJWKSURL, KeyCAFile, KeyPollURL, KeyVerificationURL, KeyStreamID, KeyStreamToken,
		}}
	case TypeNone:
		return Keys{Optional: []string{KeyDirect}}
	}
	return Keys{}
}

// Tolerance is how far a signed time may be from now where nothing else is configured.
const Tolerance = 5 * time.Minute
