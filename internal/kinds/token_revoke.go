package kinds

import (
	"net/http"
	"net/url"
)

// TokenRevoke revokes a bearer token (RFC 7009).
const TokenRevoke Name = "token.revoke"

// Paths of bearer tokens.
const (
	PathToken       = "/api/oauth/token"
	PathTokenRevoke = "/api/oauth/revoke"
)

var _ = Declare(Kind{
	Name:   TokenRevoke,
	Order:  1,
	Does:   "revokes a bearer token of the service account `account`; a text that is known to be no bearer token is refused",
	Params: []Param{{Name: "token", Shape: BearerToken, Secret: true}},
	Examples: []string{
		"token_sealed=@token.sealed",
		"token=@-",
	},
	// The API says 200 to every account (RFC 7009 section 2.2): a job of another one proves nothing.
	PerAccount: true,
	Forms: []Form{{
		Target: "{token}",
		Change: Resource{Path: PathTokenRevoke},
		Set:    OAuthRevoke,
		Role:   NoRole, // It takes the account's own secret.
		Unread: "a token cannot be read; to revoke it takes no role",
	}},
	Proof: Proof{
		Checks: []Check{{
			Name: "token", Resource: Resource{Path: "/api/atlas/v2", Version: "2023-01-01"}, As: AsToken, Set: System, Role: NoRole, Judge: refusedToken,
			Proves: "a read with the token itself is refused (401) before the token ends by itself",
			Else:   []Resource{{Path: "/api/atlas/v2/orgs", Version: "2023-01-01"}, {Path: "/api/atlas/v2/groups", Version: "2023-01-01"}},
		}},
		Takes:  "seconds",
		Events: []string{"OAUTH_TOKEN_REVOKED"},
		Cannot: "A token that has ended by itself was perhaps never revoked. A token that was mistyped, or copied in part, is refused as a dead one is, " +
			"and its revocation is answered with success: the evidence says so, and the fingerprint of the job is that of the text that came. A 403, as from an address that is not on the access list of the " +
			"token's account, shows nothing. The vendor does not say whether the event covers tokens of service accounts.",
	},
	Call: Call{
		Method: http.MethodPost, OwnSecret: true,
		// It is the answer for a token that the API does not know, too (RFC 7009 section 2.2).
		Success: []int{http.StatusOK},
		Body: func(value Values) (Body, error) {
			return form(url.Values{"token": {value("token")}, "token_type_hint": {"access_token"}}), nil
		},
	},
})
