package kinds

import "net/http"

// X509Disable disables customer-managed X.509 authentication.
const X509Disable Name = "x509.disable"

// projectX509 is the endpoint set of a project's user security.
var projectX509 = Set{Name: "x509_project", Scope: ScopeProject, Seen: 1200}

var _ = Declare(Kind{
	Name:     X509Disable,
	Order:    3,
	Does:     "disables customer-managed X.509",
	Reach:    "the databases restart one by one",
	Preview:  []Look{lookAtProject, lookAtClusters, lookAtFlexClusters, lookAtCustomerX509},
	Params:   []Param{{Name: ParamProject, Shape: ID}},
	Examples: []string{"project_id=5ec0000000000000000000f1"},
	Forms: []Form{
		{
			API: "v1.0", Target: "project/{project_id}",
			Change: Resource{Path: "/api/atlas/v1.0/groups/{project_id}/userSecurity/customerX509"},
			Read:   Resource{Path: "/api/atlas/v1.0/groups/{project_id}/userSecurity"},
			Set:    projectX509, Role: ProjectOwner,
		},
		{
			Target: "project/{project_id}",
			Change: Resource{Path: "/api/atlas/v2/groups/{project_id}/userSecurity/customerX509", Version: "2023-01-01"},
			Read:   Resource{Path: "/api/atlas/v2/groups/{project_id}/userSecurity", Version: "2023-01-01"},
			Set:    projectX509, Role: ProjectOwner,
		},
	},
	Call: Call{
		Method: http.MethodDelete, Updates: true,
		// 202 starts a rolling restart. The other two are not documented, and do not say that it is over.
		Success:      []int{http.StatusAccepted, http.StatusOK, http.StatusNoContent},
		OnlyAccepted: true, Document: true,
	},
})
