package kinds

import "net/http"

// OrgUserRemove removes a person from an organization.
const OrgUserRemove Name = "org_user.remove"

// People of an organization and of a project. Earlier versions hide those who have not accepted their invitation.
const (
	pathOrgUsers     = "/api/atlas/v2/orgs/{org_id}/users"
	pathProjectUsers = "/api/atlas/v2/groups/{project_id}/users"
	versionUsers     = "2025-02-19"
)

var _ = Declare(Kind{
	Name:     OrgUserRemove,
	Order:    11,
	Does:     "removes a person from an organization, invited ones included",
	Reach:    "also from its projects and teams; a role mapping can let the person in again",
	Params:   []Param{{Name: ParamOrg, Shape: ID}, {Name: paramUser, Shape: ID}},
	Examples: []string{"org_id=5ec0000000000000000000b1 user_id=5ec000000000000000000701"},
	Forms: []Form{{
		Target:   "org/{org_id}/user/{user_id}",
		Change:   Resource{Path: pathOrgUsers + "/{user_id}", Version: versionUsers},
		Read:     Resource{Path: pathOrgUsers + "/{user_id}", Version: versionUsers},
		ReadRole: "Organization Member",
		Set:      Set{Name: "users_org", Scope: ScopeOrganization, Seen: 500},
		Role:     OrgOwner,
	}},
	Call: Call{Method: http.MethodDelete, Success: []int{http.StatusNoContent}},
})
