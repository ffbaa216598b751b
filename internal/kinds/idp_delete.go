package kinds

import (
	"errors"
	"net/http"
)

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
		Read:   Resource{Path: pathIDP, Version: "2025-03-12", IDField: "id", IDParam: "identity_provider_id"},
		Set:    Federation,
		Role:   ConnectedOwner,
	}},
	Proof: Proof{
		Checks: []Check{
			{Name: "identity_provider", Judge: gone("identity provider"), Proves: "404"},
			{
				Name: "identity_providers", List: true, Names: "identity_provider_id", Set: Federation, Role: ConnectedOwner,
				Resource: Resource{Path: pathIDPs + "?protocol=OIDC&protocol=SAML&idpType=WORKFORCE&idpType=WORKLOAD", Version: "2023-11-15"},
				Judge:    withoutMeaning("identity provider", "identity_provider_id", sameIDP),
				Proves:   "the federation answers, and no identity provider has the same issuer and audience or client id",
			},
		},
		Meaning:   meaningOfIDP,
		Takes:     "seconds",
		Events:    []string{"IDENTITY_PROVIDER_DELETED"},
		Restored:  []string{"IDENTITY_PROVIDER_CREATED", "IDENTITY_PROVIDER_UPDATED", "IDENTITY_PROVIDER_ACTIVATED", "OIDC_IDENTITY_PROVIDER_ENABLED"},
		Watch:     week,
		Cannot:    "The event names neither the identity provider nor the federation: it is matched by type, time and account.",
		Restorers: "Terraform creates an OIDC identity provider anew at the next apply: take it out of the configuration. SAML must be imported by hand.",
	},
	Call: Call{Method: http.MethodDelete, Success: []int{http.StatusNoContent}},
})

// idp is an identity provider, as far as it says whom it lets in.
type idp struct {
	ID       string `json:"id"`
	Issuer   string `json:"issuerUri"`
	Audience string `json:"audience"`
	ClientID string `json:"clientId"`
	Protocol string `json:"protocol"`
}

// meaningOfIDP is whose tokens an identity provider lets in.
func meaningOfIDP(document []byte) (map[string]string, error) {
	d, ok := decoded[idp](document)
	if !ok || d.Issuer == "" {
		return nil, errors.New("the identity provider does not say its issuer")
	}
	return meaning(map[string]string{"issuer": d.Issuer, "audience": d.Audience, "client_id": d.ClientID, "protocol": d.Protocol})
}

// sameIDP reports whether an identity provider lets in the same tokens: of the same issuer, for the same audience or client.
func sameIDP(element []byte, meaning map[string]string) (string, bool) {
	d, ok := decoded[idp](element)
	same := ok && d.Issuer == meaning["issuer"] && d.Protocol == meaning["protocol"]
	if meaning["audience"] != "" || meaning["client_id"] != "" {
		same = same && (d.Audience != "" && d.Audience == meaning["audience"] || d.ClientID != "" && d.ClientID == meaning["client_id"])
	}
	return d.ID, same
}
