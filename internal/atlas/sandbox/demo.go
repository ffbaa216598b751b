package sandbox

import "time"

// Ids of the world that DefaultSeed describes. All are made up, and easy to tell from real ones.
const (
	// ClientID is a service account that owns OrgID.
	ClientID = "mdb_sa_id_5ec0000000000000000000a1"
	// ReadOnlyClientID is a service account that may only read in OrgID.
	ReadOnlyClientID = "mdb_sa_id_5ec0000000000000000000a2"
	// OtherClientID is a service account that owns OtherOrgID and has no role in OrgID.
	OtherClientID = "mdb_sa_id_5ec0000000000000000000a3"
	// PublicKey is an API key that owns OrgID.
	PublicKey = "sandboxk"

	// OrgID is the organization that most of the world belongs to.
	OrgID = "5ec0000000000000000000b1"
	// OtherOrgID is an organization in which ClientID and PublicKey have no role.
	OtherOrgID = "5ec0000000000000000000b2"

	// FederationID is the federation that OrgID is connected to.
	FederationID = "5ec0000000000000000000c1"
	// OtherFederationID is the federation that OtherOrgID is connected to.
	OtherFederationID = "5ec0000000000000000000c2"

	// IdentityProviderID is in FederationID. No organization uses it, so it can be deleted.
	IdentityProviderID = "5ec0000000000000000000d1"
	// LockedIdentityProviderID is in FederationID. OrgID uses it, so it cannot be deleted.
	LockedIdentityProviderID = "5ec0000000000000000000d2"
	// SpareIdentityProviderID is like IdentityProviderID.
	SpareIdentityProviderID = "5ec0000000000000000000d3"
	// OtherIdentityProviderID is in OtherFederationID and not in use.
	OtherIdentityProviderID = "5ec0000000000000000000d4"

	// RoleMappingID belongs to OrgID in FederationID.
	RoleMappingID = "5ec0000000000000000000e1"
	// SpareRoleMappingID is like RoleMappingID.
	SpareRoleMappingID = "5ec0000000000000000000e2"
	// OtherRoleMappingID belongs to OtherOrgID in OtherFederationID.
	OtherRoleMappingID = "5ec0000000000000000000e3"

	// ProjectID is a project of OrgID with customer-managed X.509 on.
	ProjectID = "5ec0000000000000000000f1"
	// SpareProjectID is like ProjectID.
	SpareProjectID = "5ec0000000000000000000f2"
	// OtherProjectID is a project of OtherOrgID with customer-managed X.509 on.
	OtherProjectID = "5ec0000000000000000000f3"

	// LeakedClientID is a service account of OrgID and ProjectID with two secrets, LeakedSecretID and KeptSecretID.
	LeakedClientID = "mdb_sa_id_5ec0000000000000000000a4"
	LeakedSecretID = "5ec000000000000000000501"
	KeptSecretID   = "5ec000000000000000000502"
	// SpareClientID is a service account of OrgID with one secret.
	SpareClientID = "mdb_sa_id_5ec0000000000000000000a5"
	// RotatedClientID is a service account of OrgID and ProjectID with one secret, RotatedSecretID.
	RotatedClientID = "mdb_sa_id_5ec0000000000000000000a6"
	RotatedSecretID = "5ec000000000000000000503"
	// LeakedPublicKey is an API key that may read in OrgID, and LeakedAPIKeyID its id.
	LeakedPublicKey = "sandboxl"
	LeakedAPIKeyID  = "5ec000000000000000000602"
	// RotatedPublicKey is an API key that may read in OrgID, ProjectID and SpareProjectID, with an access list, and RotatedAPIKeyID its id.
	RotatedPublicKey = "sandboxr"
	RotatedAPIKeyID  = "5ec000000000000000000603"
	// UserID is a person in OrgID, ProjectID and SpareProjectID, and UserName that person's name. SpareUserID is another one.
	UserID      = "5ec000000000000000000701"
	UserName    = "mallory@example.com"
	SpareUserID = "5ec000000000000000000702"
	// OrgMCPConfigID is an MCP configuration of OrgID with two secrets, and ProjectMCPConfigID one of ProjectID with one secret.
	OrgMCPConfigID     = "5ec000000000000000000801"
	ProjectMCPConfigID = "5ec000000000000000000802"
	// DatabaseUser is a user of ProjectID with a password, and DatabaseExternalUser one without, in $external.
	DatabaseUser         = "reporting"
	DatabaseExternalUser = "CN=batch/1,OU=jobs"
)

// DefaultSeed returns the world of the demo and the README, with the ids that are constants of
// this package: an organization with a federation, three identity providers (one of them in
// use), two role mappings and two projects; a second, smaller one that belongs to others;
// four accounts that call, some that leaked or are there to be deleted or rotated, database users,
// people and MCP configurations.
func DefaultSeed() Seed {
	owner := []Role{{Name: RoleOrgOwner, OrgID: OrgID}}
	return Seed{
		ServiceAccounts: []ServiceAccount{
			{ClientID: ClientID, Roles: owner},
			{ClientID: ReadOnlyClientID, Roles: []Role{{Name: RoleOrgReadOnly, OrgID: OrgID}}},
			{ClientID: OtherClientID, Roles: []Role{{Name: RoleOrgOwner, OrgID: OtherOrgID}}},
			{
				ClientID: LeakedClientID, Name: "ci", SecretIDs: []string{LeakedSecretID, KeptSecretID},
				Roles: []Role{{Name: RoleOrgReadOnly, OrgID: OrgID}, {Name: "GROUP_READ_ONLY", ProjectID: ProjectID}},
			},
			{ClientID: SpareClientID, Name: "retired", Roles: []Role{{Name: RoleOrgReadOnly, OrgID: OrgID}}},
			{
				ClientID: RotatedClientID, Name: "deploy", SecretIDs: []string{RotatedSecretID},
				Roles: []Role{{Name: RoleOrgReadOnly, OrgID: OrgID}, {Name: "GROUP_READ_ONLY", ProjectID: ProjectID}},
			},
		},
		APIKeys: []APIKey{
			{PublicKey: PublicKey, ID: "5ec000000000000000000601", Name: "rekey", Roles: owner},
			{PublicKey: LeakedPublicKey, ID: LeakedAPIKeyID, Name: "backup", Roles: []Role{{Name: RoleOrgReadOnly, OrgID: OrgID}}},
			{
				PublicKey: RotatedPublicKey, ID: RotatedAPIKeyID, Name: "reports", List: []string{"127.0.0.0/8", "::1/128", "192.0.2.0/24"},
				Roles: []Role{{Name: RoleOrgReadOnly, OrgID: OrgID}, {Name: "GROUP_READ_ONLY", ProjectID: ProjectID}, {Name: "GROUP_READ_ONLY", ProjectID: SpareProjectID}},
			},
		},
		Users: []User{
			{ID: UserID, Username: UserName, OrgID: OrgID, ProjectIDs: []string{ProjectID, SpareProjectID}},
			{ID: SpareUserID, Username: "trent@example.com", OrgID: OrgID, ProjectIDs: []string{ProjectID}},
		},
		MCPConfigs: []MCPConfig{
			{ID: OrgMCPConfigID, OrgID: OrgID, Ends: []time.Time{{}, {}}},
			{ID: ProjectMCPConfigID, ProjectID: ProjectID, Ends: []time.Time{{}}},
		},
		Federations: []Federation{defaultFederation(), otherFederation()},
		Projects: []Project{
			{ID: ProjectID, OrgID: OrgID, CustomerX509: true, DatabaseUsers: []DatabaseAccount{
				{DatabaseUser, "admin"},
				{"batch", "admin"},
				{DatabaseExternalUser, externalDatabase},
				{"arn:aws:iam::123456789012:user/batch", externalDatabase},
			}},
			{ID: SpareProjectID, OrgID: OrgID, CustomerX509: true},
			{ID: OtherProjectID, OrgID: OtherOrgID, CustomerX509: true},
		},
	}
}

func defaultFederation() Federation {
	return Federation{
		ID: FederationID,
		IdentityProviders: []IdentityProvider{
			{ID: IdentityProviderID, Name: "workload", Type: TypeWorkload},
			{ID: LockedIdentityProviderID, Name: "workforce"},
			{ID: SpareIdentityProviderID, Name: "contractors"},
		},
		Organizations: []ConnectedOrg{{
			OrgID:               OrgID,
			IdentityProviderIDs: []string{LockedIdentityProviderID},
			RoleMappings: []RoleMapping{
				{ID: RoleMappingID, ExternalGroup: "database-admins", Roles: []Role{{Name: RoleDatabaseAccessAdmin, ProjectID: ProjectID}}},
				{ID: SpareRoleMappingID, ExternalGroup: "contractors"},
			},
		}},
	}
}

func otherFederation() Federation {
	return Federation{
		ID:                OtherFederationID,
		IdentityProviders: []IdentityProvider{{ID: OtherIdentityProviderID, Name: "partner"}},
		Organizations: []ConnectedOrg{{
			OrgID:        OtherOrgID,
			RoleMappings: []RoleMapping{{ID: OtherRoleMappingID, ExternalGroup: "partners"}},
		}},
	}
}

// DemoEvent is an event that the seeded sandbox has an answer for.
type DemoEvent struct {
	Say     string // What it shows.
	Class   string // The class of its subject.
	Payload string
}

// What the demo looks at afterwards.
const (
	// DemoRateLimited is the operation of the first event.
	DemoRateLimited = OperationJWKSRevoke
	// DemoRepeated is the operation of the event that is there twice.
	DemoRepeated = OperationTokenRevoke
	// DemoLagging is the operation of an event that the API answers before it does what it was asked for.
	DemoLagging = OperationRoleMappingDelete
	// DemoScheduled is the operation of the demo's schedule, and DemoParam and ProjectID its parameter.
	DemoScheduled = OperationX509Disable
	DemoParam     = "project_id"
	// DemoOperations is how many operations there are, the schedule's among them.
	DemoOperations = 6
)

// DemoEvents tell the story of the demo, in this order. The token is one that the sandbox has issued, the secret that of
// LeakedSecretID; typeRequested is the CloudEvents type of a direct request.
func DemoEvents(token, secret, typeRequested string) []DemoEvent {
	idp := func(id string) string {
		return `"params":{"federation_id":"` + FederationID + `","identity_provider_id":"` + id + `"}}`
	}
	leak := `{"specversion":"1.0","id":"leak-1","source":"demo/siem","type":"` + typeRequested +
		`","data":{"kind":"` + OperationTokenRevoke + `","account":"security","params":{"token":"` + token + `"}}}`
	mapping := `{"kind":"` + OperationRoleMappingDelete + `","account":"legacy","params":{"federation_id":"` + FederationID +
		`","org_id":"` + OrgID + `","role_mapping_id":"` + RoleMappingID + `"}}`
	return []DemoEvent{
		{
			"plain JSON: revoke the JWKS (the API will answer 429, Retry-After: 2)", "incident",
			`{"kind":"` + OperationJWKSRevoke + `","account":"security","reason":"IR-4711",` + idp(LockedIdentityProviderID),
		},
		{"CloudEvent: revoke a leaked token", "incident", leak},
		{"the same CloudEvent once more", "incident", leak},
		{
			"plain JSON: delete a leaked client secret, by the secret alone", "incident",
			`{"kind":"` + OperationServiceAccountSecretDelete + `","account":"security","params":{"org_id":"` + OrgID + `","secret":"` + secret + `"}}`,
		},
		{"plain JSON: delete a role mapping (API key, HTTP Digest; the API will be slow to do it)", "rotation", mapping},
		{
			"plain JSON: delete an identity provider, lane bulk", "rotation",
			`{"kind":"` + OperationIDPDelete + `","account":"legacy","lane":"bulk",` + idp(IdentityProviderID),
		},
		{"an event with a kind that does not exist", "incident", `{"kind":"jwks.revok","params":{}}`},
	}
}

// Examples are parameters that the seeded sandbox knows, by what they show.
func Examples() [][2]string {
	idp := "federation_id=" + FederationID + " identity_provider_id="
	return [][2]string{
		{OperationJWKSRevoke + ", " + OperationIDPDelete, idp + IdentityProviderID},
		{OperationIDPDelete + ", refused", idp + LockedIdentityProviderID},
		{OperationRoleMappingDelete, "federation_id=" + FederationID + " org_id=" + OrgID + " role_mapping_id=" + RoleMappingID},
		{OperationX509Disable, "project_id=" + ProjectID},
		{OperationServiceAccountSecretDelete, "org_id=" + OrgID + " client_id=" + LeakedClientID + " secret_id=" + LeakedSecretID},
		{OperationAPIKeyDelete, "org_id=" + OrgID + " public_key=" + LeakedPublicKey},
		{OperationDatabaseUserDelete + ", " + OperationDatabaseUserScramble, "project_id=" + ProjectID + " username=" + DatabaseUser},
		{OperationOrgUserRemove, "org_id=" + OrgID + " username=" + UserName},
		{OperationTokenRevoke, "token=… from POST /api/oauth/token, or any text that can be a token: 200 to each, known or not (RFC 7009)"},
	}
}
