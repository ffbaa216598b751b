package kinds

import (
	"errors"
	"net/http"
	"slices"
	"strings"
)

// RoleMappingDelete deletes the mapping of a group at the identity provider to roles.
const RoleMappingDelete Name = "role_mapping.delete"

// Role mappings of a connected organization, and one of them.
const (
	pathRoleMappings   = "/api/atlas/v2/federationSettings/{federation_id}/connectedOrgConfigs/{org_id}/roleMappings"
	pathRoleMapping    = pathRoleMappings + "/{role_mapping_id}"
	versionRoleMapping = "2024-10-23"
)

// setRoleMappings is the endpoint set of an organization's role mappings.
var setRoleMappings = Set{Name: "federation_org", Scope: ScopeOrganization, Seen: 500}

var _ = Declare(Kind{
	Name:     RoleMappingDelete,
	Order:    5,
	Does:     "deletes a role mapping",
	Params:   []Param{{Name: ParamFederation, Shape: ID}, {Name: ParamOrg, Shape: ID}, {Name: "role_mapping_id", Shape: ID}},
	Examples: []string{"federation_id=5ec0000000000000000000c1 org_id=5ec0000000000000000000b1 role_mapping_id=5ec0000000000000000000e1"},
	Forms: []Form{{
		Target: "federation/{federation_id}/org/{org_id}/role_mapping/{role_mapping_id}",
		Change: Resource{Path: pathRoleMapping, Version: versionRoleMapping},
		Read:   Resource{Path: pathRoleMapping, Version: versionRoleMapping, IDField: "id", IDParam: "role_mapping_id"},
		Set:    setRoleMappings,
		Role:   ConnectedOwner,
	}},
	Proof: Proof{
		Checks: []Check{
			{Name: "role_mapping", Judge: gone("role mapping"), Proves: "404"},
			{
				Name: "role_mappings", List: true, Names: "role_mapping_id", Set: setRoleMappings, Role: ConnectedOwner,
				Resource: Resource{Path: pathRoleMappings, Version: "2023-01-01"},
				Judge:    withoutMeaning("role mapping", "role_mapping_id", sameMapping),
				Proves:   "the federation answers, and no role mapping gives the same group all of the same roles",
			},
		},
		Meaning:  meaningOfMapping,
		Takes:    "seconds",
		Events:   []string{"ROLE_MAPPING_DELETED"},
		Restored: []string{"ROLE_MAPPING_CREATED", "ROLE_MAPPING_UPDATED"},
		Watch:    week,
		Cannot:   "Who is signed in keeps the roles until the session ends. The event does not name the mapping: it is matched by type, time and account.",
		Restorers: "Terraform creates it anew at the next apply, with another id: take it out of the configuration. The Atlas Kubernetes operator puts back " +
			"the mappings of an AtlasFederatedAuth at each reconcile, every 3 hours at least: take it out there, or annotate the resource with " +
			"mongodb.com/atlas-reconciliation-policy: skip. Crossplane and CloudFormation manage mappings, too.",
	},
	Call: Call{Method: http.MethodDelete, Success: []int{http.StatusNoContent}},
})

// mapping is a role mapping.
type mapping struct {
	ID          string `json:"id"`
	Group       string `json:"externalGroupName"`
	Assignments []struct {
		Org     string `json:"orgId"`
		Project string `json:"groupId"`
		Role    string `json:"role"`
	} `json:"roleAssignments"`
}

// grants are what a role mapping gives, in an order of their own.
func (m mapping) grants() []string {
	var list []string
	for _, a := range m.Assignments {
		where := "org/" + a.Org
		if a.Project != "" {
			where = "project/" + a.Project
		}
		list = append(list, where+" "+a.Role)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// meaningOfMapping is whom a role mapping gives what.
func meaningOfMapping(document []byte) (map[string]string, error) {
	m, ok := decoded[mapping](document)
	if !ok || m.Group == "" {
		return nil, errors.New("the role mapping does not say its group")
	}
	return meaning(map[string]string{"group": m.Group, "grants": strings.Join(m.grants(), ", ")})
}

// sameMapping reports whether a role mapping gives the same group all of the same grants. It may give more.
func sameMapping(element []byte, meaning map[string]string) (string, bool) {
	m, ok := decoded[mapping](element)
	if !ok || m.Group != meaning["group"] {
		return "", false
	}
	have := m.grants()
	for grant := range strings.SplitSeq(meaning["grants"], ", ") {
		if grant != "" && !slices.Contains(have, grant) {
			return "", false
		}
	}
	return m.ID, true
}
