package sandbox

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
		{"plain JSON: delete a role mapping (API key, HTTP Digest)", "rotation", mapping},
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
