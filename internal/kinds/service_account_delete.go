package kinds

import "net/http"

// ServiceAccountDelete deletes a service account.
const ServiceAccountDelete Name = "service_account.delete"

var _ = Declare(Kind{
	Name:     ServiceAccountDelete,
	Order:    7,
	Does:     "deletes a service account of an organization",
	Reach:    "all its secrets and bearer tokens end, in every project that it belongs to",
	Preview:  []Look{lookAtServiceAccount, lookAtServiceAccountProjects},
	Params:   []Param{{Name: ParamOrg, Shape: ID}, {Name: paramClient, Shape: ClientID}},
	Examples: []string{"org_id=5ec0000000000000000000b1 client_id=mdb_sa_id_5ec0000000000000000000a4"},
	Forms: []Form{{
		Target:   "org/{org_id}/service_account/{client_id}",
		Change:   Resource{Path: pathOrgAccount, Version: versionAccounts},
		Read:     Resource{Path: pathOrgAccount, Version: versionAccounts, IDField: "clientId", IDParam: paramClient},
		ReadRole: "Organization Read Only",
		Set:      orgServiceAccounts, Role: OrgOwner,
	}},
	Proof: Proof{
		Checks: []Check{{Name: "service_account", Judge: gone("service account"), Proves: "404"}},
		Takes:  "seconds",
		Events: []string{"SERVICE_ACCOUNT_DELETED"},
		Cannot: "Its bearer tokens end with it; how soon is not published, and no read shows it. The event does not name the service account: it is " +
			"matched by type, time and account.",
	},
	Ends: &Ends{Account: paramClient, Holder: holder},
	Call: Call{Method: http.MethodDelete, Success: []int{http.StatusNoContent}},
})
