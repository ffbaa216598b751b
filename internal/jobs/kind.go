package jobs

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Kind is one action that Rekey can take against a credential.
type Kind string

// The kinds of job. DESIGN names their parameters and calls.
const (
	TokenRevoke       Kind = "token.revoke"
	JWKSRevoke        Kind = "jwks.revoke"
	X509Disable       Kind = "x509.disable"
	IDPDelete         Kind = "idp.delete"
	RoleMappingDelete Kind = "role_mapping.delete"
)

// Names of the parameters that kinds take.
const (
	ParamToken              = "token"
	ParamTokenFile          = "token_file"
	ParamTokenSealed        = "token_sealed"
	ParamTokenRef           = "token_ref"
	ParamFederationID       = "federation_id"
	ParamIdentityProviderID = "identity_provider_id"
	ParamProjectID          = "project_id"
	ParamOrgID              = "org_id"
	ParamRoleMappingID      = "role_mapping_id"
)

// Kinds lists all kinds.
func Kinds() []Kind {
	return []Kind{TokenRevoke, JWKSRevoke, X509Disable, IDPDelete, RoleMappingDelete}
}

// ParseKind returns the kind named s. The error lists the known ones and does not
// repeat s, which may be anything.
func ParseKind(s string) (Kind, error) {
	if k := Kind(s); slices.Contains(Kinds(), k) {
		return k, nil
	}
	return "", fmt.Errorf("unknown kind; the kinds are %s", join(Kinds()))
}

// SubjectToken is the kind as one token of a NATS subject: dots become dashes.
func (k Kind) SubjectToken() string { return strings.ReplaceAll(string(k), ".", "-") }

// ParamNames lists the parameters that the kind knows, required ones first.
func (k Kind) ParamNames() []string {
	if k == TokenRevoke {
		return tokenParams()
	}
	return slices.Clone(idParams[k])
}

// tokenParams are the ways to hand a token over. Exactly one is used.
func tokenParams() []string {
	return []string{ParamToken, ParamTokenFile, ParamTokenSealed, ParamTokenRef}
}

// idParams are the parameters of the kinds whose target is named by ids. All are required.
var idParams = map[Kind][]string{
	JWKSRevoke:        {ParamFederationID, ParamIdentityProviderID},
	X509Disable:       {ParamProjectID},
	IDPDelete:         {ParamFederationID, ParamIdentityProviderID},
	RoleMappingDelete: {ParamFederationID, ParamOrgID, ParamRoleMappingID},
}

// Target names what the job acts on, without any secret, for people: a fingerprint
// for a token, a path of ids for the rest.
func Target(kind Kind, p Params) string {
	if p.target != "" {
		return p.target
	}
	switch kind {
	case TokenRevoke:
		if file := p.Get(ParamTokenFile); file != "" {
			return "file:" + file
		}
		if ref := p.Get(ParamTokenRef); ref != "" {
			return ref
		}
		return p.shownSecret(ParamToken)
	case JWKSRevoke, IDPDelete:
		return "federation/" + p.Get(ParamFederationID) + "/idp/" + p.Get(ParamIdentityProviderID)
	case X509Disable:
		return "project/" + p.Get(ParamProjectID)
	case RoleMappingDelete:
		return "federation/" + p.Get(ParamFederationID) + "/org/" + p.Get(ParamOrgID) +
			"/role_mapping/" + p.Get(ParamRoleMappingID)
	}
	return ""
}

// targetKey identifies kind and target in keys: 32 hexadecimal digits of a SHA-256. It
// covers the whole secret, where Target shows only a short fingerprint.
func targetKey(kind Kind, p Params) string {
	target := Target(kind, p)
	if token := p.Secret(ParamToken); !token.IsZero() {
		whole := sha256.Sum256([]byte(token.Reveal()))
		target = hex.EncodeToString(whole[:])
	}
	sum := sha256.Sum256([]byte(string(kind) + "\x00" + target))
	return hex.EncodeToString(sum[:16])
}
