package kinds

import "net/http"

// RoleMappingDelete deletes the mapping of a group at the identity provider to roles.
const RoleMappingDelete Name = "role_mapping.delete"

const pathRoleMapping = "/api/atlas/v2/federationSettings/{federation_id}/connectedOrgConfigs/{org_id}/roleMappings/{role_mapping_id}"

var _ = Declare(Kind{
	Name:     RoleMappingDelete,
	Order:    5,
	Does:     "deletes a role mapping",
	Params:   []Param{{Name: ParamFederation, Shape: ID}, {Name: ParamOrg, Shape: ID}, {Name: "role_mapping_id", Shape: ID}},
	Examples: []string{"federation_id=5ec0000000000000000000c1 org_id=5ec0000000000000000000b1 role_mapping_id=5ec0000000000000000000e1"},
	Forms: []Form{{
		Target: "federation/{federation_id}/org/{org_id}/role_mapping/{role_mapping_id}",
		Change: Resource{Path: pathRoleMapping, Version: "2024-10-23"},
		Read:   Resource{Path: pathRoleMapping, Version: "2024-10-23"},
		Set:    Set{Name: "federation_org", Scope: ScopeOrganization, Seen: 500},
		Role:   ConnectedOwner,
	}},
	Call: Call{Method: http.MethodDelete, Success: []int{http.StatusNoContent}},
})
