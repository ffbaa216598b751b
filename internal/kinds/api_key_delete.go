package kinds

import "net/http"

// APIKeyDelete deletes an API key of an organization.
const APIKeyDelete Name = "api_key.delete"

const pathAPIKeys = "/api/atlas/v2/orgs/{org_id}/apiKeys"

var _ = Declare(Kind{
	Name:     APIKeyDelete,
	Order:    8,
	Does:     "deletes an API key of an organization",
	Reach:    "it ends in every project that it belongs to",
	Params:   []Param{{Name: ParamOrg, Shape: ID}, {Name: "api_key_id", Shape: ID}},
	Examples: []string{"org_id=5ec0000000000000000000b1 api_key_id=5ec000000000000000000602"},
	Forms: []Form{{
		Target:   "org/{org_id}/api_key/{api_key_id}",
		Change:   Resource{Path: pathAPIKeys + "/{api_key_id}", Version: "2023-01-01"},
		Read:     Resource{Path: pathAPIKeys + "/{api_key_id}", Version: "2023-01-01"},
		ReadRole: "Organization Member",
		Set:      Set{Name: "api_keys_org", Scope: ScopeOrganization, Seen: 500},
		Role:     OrgOwner,
	}},
	Ends: &Ends{Account: "public_key", Holder: holder},
	Call: Call{Method: http.MethodDelete, Success: []int{http.StatusNoContent}},
})
