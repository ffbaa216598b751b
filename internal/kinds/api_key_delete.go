package kinds

import "net/http"

// APIKeyDelete deletes an API key of an organization.
const APIKeyDelete Name = "api_key.delete"

const (
	pathAPIKeys    = "/api/atlas/v2/orgs/{org_id}/apiKeys"
	versionAPIKeys = "2023-01-01"
)

var _ = Declare(Kind{
	Name:     APIKeyDelete,
	Order:    8,
	Does:     "deletes an API key of an organization",
	Reach:    "it ends in every project that it belongs to",
	Params:   []Param{{Name: ParamOrg, Shape: ID}, {Name: paramKeyID, Shape: ID}, {Name: paramKey, Shape: PublicKey}},
	Choices:  []Choice{{{paramKeyID}, {paramKey}}},
	Examples: []string{"org_id=5ec0000000000000000000b1 api_key_id=5ec000000000000000000602", "org_id=5ec0000000000000000000b1 public_key=sandboxl"},
	Forms: []Form{
		apiKey("org/{org_id}/api_key/{api_key_id}", nil),
		apiKey("org/{org_id}/public_key/{public_key}", &Search{
			List: Resource{Path: pathAPIKeys, Version: versionAPIKeys}, By: paramKey, What: "API key", In: "API keys", Fits: fitsKey,
		}),
	},
	Proof: Proof{
		Checks: []Check{{Name: "api_key", Judge: gone("API key"), Proves: "404"}},
		Takes:  "seconds",
		Events: []string{"API_KEY_DELETED"}, EventTarget: "targetPublicKey", TargetParam: paramKey,
	},
	Ends: &Ends{Account: "public_key", Holder: holder},
	Call: Call{Method: http.MethodDelete, Success: []int{http.StatusNoContent}},
})

// apiKey is an API key by its id, which a search may have to find.
func apiKey(target string, find *Search) Form {
	one := Resource{Path: pathAPIKeys + "/{api_key_id}", Version: versionAPIKeys, IDField: "id", IDParam: paramKeyID}
	return Form{
		Target: target, Find: find, Change: one, Read: one, ReadRole: "Organization Member",
		Set: orgAPIKeys, Role: OrgOwner,
	}
}

// fitsKey finds an API key by its public half.
var fitsKey = fits(func(key struct {
	ID        string `json:"id"`
	PublicKey string `json:"publicKey"`
}, sought string,
) []map[string]string {
	if key.PublicKey != sought {
		return nil
	}
	return []map[string]string{{paramKeyID: key.ID}}
})
