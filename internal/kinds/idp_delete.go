package kinds

import "net/http"

// IDPDelete deletes an identity provider.
const IDPDelete Name = "idp.delete"

var _ = Declare(Kind{
	Name:     IDPDelete,
	Order:    4,
	Does:     "deletes an identity provider that no organization uses",
	Preview:  []Look{lookAtIDP},
	Params:   []Param{{Name: ParamFederation, Shape: ID}, {Name: "identity_provider_id", Shape: ID}},
	Examples: []string{"federation_id=5ec0000000000000000000c1 identity_provider_id=5ec0000000000000000000d1"},
	Forms: []Form{{
		Target: "federation/{federation_id}/idp/{identity_provider_id}",
		Change: Resource{Path: pathIDP, Version: "2025-03-12"},
		Read:   Resource{Path: pathIDP, Version: "2025-03-12"},
		Set:    Federation,
		Role:   ConnectedOwner,
	}},
	Call: Call{Method: http.MethodDelete, Success: []int{http.StatusNoContent}},
})
