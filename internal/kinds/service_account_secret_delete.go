package kinds

import "net/http"

// ServiceAccountSecretDelete deletes a secret of a service account.
const ServiceAccountSecretDelete Name = "service_account_secret.delete"

// Service accounts of an organization, those of a project, and one of each.
const (
	pathOrgAccounts     = "/api/atlas/v2/orgs/{org_id}/serviceAccounts"
	pathProjectAccounts = "/api/atlas/v2/groups/{project_id}/serviceAccounts"
	pathOrgAccount      = pathOrgAccounts + "/{client_id}"
	pathProjectAccount  = pathProjectAccounts + "/{client_id}"

	versionAccounts = "2024-08-05"
)

var _ = Declare(Kind{
	Name:  ServiceAccountSecretDelete,
	Order: 6,
	Does:  "deletes a secret of a service account",
	Reach: "the bearer tokens that were made with it end, too",
	Params: []Param{
		{Name: ParamOrg, Shape: ID},
		{Name: ParamProject, Shape: ID},
		{Name: paramClient, Shape: ClientID},
		{Name: paramSecretID, Shape: ID},
		{Name: paramSecret, Shape: ClientSecret, Secret: true},
	},
	Choices: []Choice{{{ParamOrg}, {ParamProject}}, {{paramClient, paramSecretID}, {paramSecret}}},
	Examples: []string{
		"org_id=5ec0000000000000000000b1 client_id=mdb_sa_id_5ec0000000000000000000a4 secret_id=5ec000000000000000000501",
		"org_id=5ec0000000000000000000b1 secret=@-",
	},
	Forms: []Form{
		{
			Target: "org/{org_id}/service_account/{client_id}/secret/{secret_id}",
			Change: Resource{Path: pathOrgAccount + "/secrets/{secret_id}", Version: versionAccounts},
			Read:   Resource{Path: pathOrgAccount, Version: versionAccounts, IDField: "clientId", IDParam: paramClient},
			Shows:  "the service account", ReadRole: "Organization Read Only",
			Set: orgServiceAccounts, Role: OrgOwner,
		},
		{
			Target: "project/{project_id}/service_account/{client_id}/secret/{secret_id}",
			Change: Resource{Path: pathProjectAccount + "/secrets/{secret_id}", Version: versionAccounts},
			Read:   Resource{Path: pathProjectAccount, Version: versionAccounts, IDField: "clientId", IDParam: paramClient},
			Shows:  "the service account", ReadRole: "Project Read Only",
			Set: projectServiceAccounts, Role: ProjectOwner,
		},
		{
			Target: "org/{org_id}/secret/{secret}",
			Find:   &Search{List: Resource{Path: pathOrgAccounts, Version: versionAccounts}, By: paramSecret, What: "client secret", In: "service accounts", Fits: fitsAccount},
			Change: Resource{Path: pathOrgAccount + "/secrets/{secret_id}", Version: versionAccounts},
			Read:   Resource{Path: pathOrgAccount, Version: versionAccounts, IDField: "clientId", IDParam: paramClient},
			Shows:  "the service account", ReadRole: "Organization Read Only",
			Set: orgServiceAccounts, Role: OrgOwner,
		},
		{
			Target: "project/{project_id}/secret/{secret}",
			Find:   &Search{List: Resource{Path: pathProjectAccounts, Version: versionAccounts}, By: paramSecret, What: "client secret", In: "service accounts", Fits: fitsAccount},
			Change: Resource{Path: pathProjectAccount + "/secrets/{secret_id}", Version: versionAccounts},
			Read:   Resource{Path: pathProjectAccount, Version: versionAccounts, IDField: "clientId", IDParam: paramClient},
			Shows:  "the service account", ReadRole: "Project Read Only",
			Set: projectServiceAccounts, Role: ProjectOwner,
		},
	},
	Proof: Proof{
		Checks: []Check{
			{Name: "client_secret", Resource: Resource{Path: PathToken}, As: AsClient, Set: OAuthToken, Role: NoRole, Judge: refusedClient, Proves: "a request for a token with the secret itself is refused (401 `invalid_client`)"},
			{Name: "client_secret", Judge: withoutSecret, Proves: "the account does not list the secret, or as expired"},
		},
		Takes:  "seconds",
		Events: []string{"SERVICE_ACCOUNT_SECRET_DELETED"},
		Cannot: "The bearer tokens that were made with it end with it; how soon is not published, and no read shows it. The event names neither the " +
			"account nor the secret: it is matched by type, time and account.",
	},
	Ends: &Ends{Account: paramClient, Secret: "secret_id", Holder: holder},
	Call: Call{Method: http.MethodDelete, Success: []int{http.StatusNoContent}},
})

// AccountOfOrg shows a service account of an organization with its secrets: where it is, given the organization and the client id, and which
// endpoint set that is of.
func AccountOfOrg(org, client string) (Resource, Set) {
	found := map[string]string{ParamOrg: org, paramClient: client}
	r := Resource{Path: pathOrgAccount, Version: versionAccounts}
	r.Path = r.Fill(func(name string) string { return found[name] })
	return r, orgServiceAccounts
}

// ReadAccount reads the document of a service account.
func ReadAccount(document []byte) (Holder, error) { return holder(document) }
