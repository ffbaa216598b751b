package kinds

import "net/http"

// JWKSRevoke revokes the signing keys of an identity provider.
const JWKSRevoke Name = "jwks.revoke"

// Identity providers of a federation, and one of them.
const (
	pathIDPs = "/api/atlas/v2/federationSettings/{federation_id}/identityProviders"
	pathIDP  = pathIDPs + "/{identity_provider_id}"
)

var _ = Declare(Kind{
	Name:     JWKSRevoke,
	Order:    2,
	Does:     "revokes the identity provider's public keys",
	Reach:    "logs out all its users, in **every** connected organization",
	Preview:  []Look{lookAtIDP},
	Params:   []Param{{Name: ParamFederation, Shape: ID}, {Name: "identity_provider_id", Shape: ID}},
	Examples: []string{"federation_id=5ec0000000000000000000c1 identity_provider_id=5ec0000000000000000000d1"},
	Forms: []Form{{
		Target: "federation/{federation_id}/idp/{identity_provider_id}",
		Change: Resource{Path: pathIDP + "/jwks", Version: "2025-02-19"},
		Read:   Resource{Path: pathIDP, Version: "2025-03-12", IDField: "id", IDParam: "identity_provider_id"},
		Set:    Federation,
		Role:   ConnectedOwner,
	}},
	Proof: Proof{
		Takes:  "seconds, until the event is in the log",
		Events: []string{"IDENTITY_PROVIDER_JWKS_REVOKED"},
		Cannot: "No read shows the keys, or when they were revoked. The event names neither the identity provider nor the federation: it is matched " +
			"by type, time and account. The identity provider goes on signing, and new tokens pass.",
	},
	Call: Call{Method: http.MethodDelete, Success: []int{http.StatusNoContent}},
})
