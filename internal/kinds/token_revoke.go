package kinds

import (
	"net/http"
	"net/url"
)

// TokenRevoke revokes a bearer token (RFC 7009).
const TokenRevoke Name = "token.revoke"

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
		Change: Resource{Path: "/api/oauth/revoke"},
		Set:    Set{Name: "oauth_revoke", Scope: ScopeAccount, Limit: OAuthLimit},
		Role:   NoRole, // It takes the account's own secret.
		Unread: "a token cannot be read; to revoke it takes no role",
	}},
	Call: Call{
		Method: http.MethodPost, OwnSecret: true,
		// It is the answer for a token that the API does not know, too.
		Success: []int{http.StatusOK}, OnlyAccepted: true,
		Body: func(value Values) (Body, error) {
			return form(url.Values{"token": {value("token")}, "token_type_hint": {"access_token"}}), nil
		},
	},
})
