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
	Params:   []Param{{Name: ParamOrg, Shape: ID}, {Name: paramUser, Shape: ID}, {Name: paramUserName, Shape: UserName}},
	Choices:  []Choice{{{paramUser}, {paramUserName}}},
	Examples: []string{"org_id=5ec0000000000000000000b1 user_id=5ec000000000000000000701", "org_id=5ec0000000000000000000b1 username=mallory@example.com"},
	Forms:    person("org/{org_id}", pathOrgUsers, "Organization Member", Set{Name: "users_org", Scope: ScopeOrganization, Seen: 500}, OrgOwner),
	Proof: Proof{
		Checks: []Check{{Name: "user", Judge: gone("person"), Proves: "404"}},
		Takes:  "seconds",
		Events: []string{"REMOVED_FROM_ORG"}, EventTarget: "targetUsername", TargetParam: paramUserName,
		Cannot: "Sessions that are open in the browser stay open: nothing in the API ends them. A role mapping can let the person in again.",
	},
	Call: Call{Method: http.MethodDelete, Success: []int{http.StatusNoContent}},
})

// person are the forms of a person in an organization or a project: by id, and by name.
func person(within, people, readRole string, set Set, role Role) []Form {
	one := Resource{Path: people + "/{user_id}", Version: versionUsers, IDField: "id", IDParam: paramUser}
	byID := Form{Target: within + "/user/{user_id}", Change: one, Read: one, ReadRole: readRole, Set: set, Role: role}
	byName := byID
	byName.Target = within + "/username/{username}"
	byName.Find = &Search{List: Resource{Path: people, Version: versionUsers}, By: paramUserName, What: "person", In: "people", Fits: fitsUser}
	return []Form{byID, byName}
}
