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
	Proof: Proof{
		Checks: []Check{
			{Name: "user_security", Judge: withoutAuthority, Proves: "no authority (`cas`) is uploaded, or another one"},
			clustersCheck(Check{Events: []string{eventUpdateStarted, eventUpdateCompleted}, Judge: restarted, Proves: "every cluster is `IDLE` after it was seen to restart"}),
			flexCheck(Check{Events: []string{eventUpdateStarted, eventUpdateCompleted}, Judge: orNone(restarted), Proves: "the same of flex clusters, where there are some"}),
		},
		Meaning:  meaningOfX509,
		Takes:    "minutes to hours: the restart of all clusters, one node after the other",
		Events:   []string{"USER_SECURITY_SETTINGS_UPDATED"},
		Restored: []string{"USER_SECURITY_SETTINGS_UPDATED"},
		Watch:    week,
		Cannot: "A cluster that is paused takes the change when it is resumed. Another change of a cluster at the same time is taken for its " +
			"restart. A cluster that Atlas does not restart is waited for until proof.within is over. That the event is of this type is " +
			"inferred; it does not say what was changed.",
		Restorers: "Terraform puts the authority back at the next apply, as long as customer_x509_cas has it: take it out of the configuration. The Atlas " +
			"Kubernetes operator puts back the x509CertRef of an AtlasProject at each reconcile, every 3 hours at least: take it out there, or annotate " +
			"the resource with mongodb.com/atlas-reconciliation-policy: skip.",
	},
	Call: Call{
		Method: http.MethodDelete, Updates: true,
		// 202 starts a rolling restart. The other two are not documented, and do not say that it is over.
		Success:  []int{http.StatusAccepted, http.StatusOK, http.StatusNoContent},
		Document: true,
	},
})
