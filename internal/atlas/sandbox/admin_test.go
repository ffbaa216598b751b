package sandbox

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// idpPath is the path of an identity provider.
func idpPath(federation, idp string) string {
	return "/api/atlas/v2/federationSettings/" + federation + "/identityProviders/" + idp
}

func mappingPath(federation, org, mapping string) string {
	return "/api/atlas/v2/federationSettings/" + federation + "/connectedOrgConfigs/" + org + "/roleMappings/" + mapping
}

func projectPath(project string) string {
	return "/api/atlas/v2/groups/" + project + "/userSecurity/customerX509"
}

func TestOperations(t *testing.T) {
	const unknown = "5ec0000000000000000000ff"
	const security = `{"customerX509":{},"ldap":{"authenticationEnabled":false,"authorizationEnabled":false}}`
	tests := []struct {
		name, account, path  string
		wantStatus           int
		wantCode, wantBody   string
		wantAgain            int
		wantAgainCode        string
		wantParameterInError string
	}{
		{name: "JWKS", account: ClientID, path: jwksPath, wantStatus: 204, wantAgain: 204},
		{name: "JWKS of a provider in use", account: ClientID, path: idpPath(FederationID, LockedIdentityProviderID) + "/jwks", wantStatus: 204, wantAgain: 204},
		{name: "JWKS of an unknown provider", account: ClientID, path: idpPath(FederationID, unknown) + "/jwks", wantStatus: 404, wantCode: "RESOURCE_NOT_FOUND", wantParameterInError: unknown},
		{name: "JWKS of another federation's provider", account: ClientID, path: idpPath(FederationID, OtherIdentityProviderID) + "/jwks", wantStatus: 404, wantCode: "RESOURCE_NOT_FOUND"},
		{name: "JWKS in an unknown federation", account: ClientID, path: idpPath(unknown, IdentityProviderID) + "/jwks", wantStatus: 404, wantCode: "RESOURCE_NOT_FOUND"},
		{name: "JWKS by a reader", account: ReadOnlyClientID, path: jwksPath, wantStatus: 401, wantCode: "USER_UNAUTHORIZED"},
		{name: "JWKS in a federation of others", account: ClientID, path: idpPath(OtherFederationID, OtherIdentityProviderID) + "/jwks", wantStatus: 401, wantCode: "USER_UNAUTHORIZED"},
		{name: "malformed federation", account: ClientID, path: idpPath("x", IdentityProviderID), wantStatus: 400, wantCode: "INVALID_FEDERATION_SETTINGS_ID", wantParameterInError: "x"},
		{name: "malformed provider", account: ClientID, path: idpPath(FederationID, strings.ToUpper(IdentityProviderID)), wantStatus: 400, wantCode: "INVALID_IDENTITY_PROVIDER_ID"},

		{name: "provider", account: ClientID, path: idpPath(FederationID, IdentityProviderID), wantStatus: 204, wantAgain: 404, wantAgainCode: "RESOURCE_NOT_FOUND"},
		{name: "provider in use", account: ClientID, path: idpPath(FederationID, LockedIdentityProviderID), wantStatus: 409, wantCode: "IDENTITY_PROVIDER_HAS_CONNECTED_ORGS"},
		{name: "provider by a reader", account: ReadOnlyClientID, path: idpPath(FederationID, IdentityProviderID), wantStatus: 401, wantCode: "USER_UNAUTHORIZED"},

		{name: "mapping", account: ClientID, path: mappingPath(FederationID, OrgID, RoleMappingID), wantStatus: 204, wantAgain: 404, wantAgainCode: "RESOURCE_NOT_FOUND"},
		{name: "unknown mapping", account: ClientID, path: mappingPath(FederationID, OrgID, unknown), wantStatus: 404, wantCode: "RESOURCE_NOT_FOUND"},
		{name: "mapping in an unknown federation", account: ClientID, path: mappingPath(unknown, OrgID, RoleMappingID), wantStatus: 404, wantCode: "RESOURCE_NOT_FOUND"},
		{name: "mapping of an organization that is not connected", account: ClientID, path: mappingPath(FederationID, OtherOrgID, RoleMappingID), wantStatus: 404, wantCode: "RESOURCE_NOT_FOUND"},
		{name: "mapping by a reader", account: ReadOnlyClientID, path: mappingPath(FederationID, OrgID, RoleMappingID), wantStatus: 401, wantCode: "USER_UNAUTHORIZED"},
		{name: "malformed organization", account: ClientID, path: mappingPath(FederationID, "x", RoleMappingID), wantStatus: 400, wantCode: "INVALID_ORG_ID"},
		{name: "malformed mapping", account: ClientID, path: mappingPath(FederationID, OrgID, "x"), wantStatus: 400, wantCode: "INVALID_ROLE_MAPPING_ID"},

		{name: "X.509", account: ClientID, path: x509Path, wantStatus: 202, wantBody: security, wantAgain: 202},
		{name: "X.509 by the older path", account: ClientID, path: x509PathV, wantStatus: 202, wantBody: security, wantAgain: 202},
		{name: "X.509 by a reader", account: ReadOnlyClientID, path: x509Path, wantStatus: 401, wantCode: "USER_UNAUTHORIZED"},
		{name: "X.509 of a project of others", account: ClientID, path: projectPath(OtherProjectID), wantStatus: 401, wantCode: "USER_UNAUTHORIZED"},
		{name: "X.509 of an unknown project", account: ClientID, path: projectPath(unknown), wantStatus: 404, wantCode: "GROUP_NOT_FOUND", wantParameterInError: unknown},
		{name: "malformed project", account: ClientID, path: projectPath("x"), wantStatus: 400, wantCode: "INVALID_GROUP_ID"},
		{name: "malformed project by the older path", account: ClientID, path: strings.Replace(x509PathV, ProjectID, "x", 1), wantStatus: 400, wantCode: "INVALID_GROUP_ID"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, Config{})
			before := f.State()
			got := f.bearer(tt.account, "DELETE", tt.path)
			if got.status != tt.wantStatus {
				t.Fatalf("got %d %s", got.status, got.body)
			}
			if tt.wantCode == "" {
				if got.body != tt.wantBody {
					t.Errorf("body is %q", got.body)
				}
				again := f.bearer(tt.account, "DELETE", tt.path)
				if again.status != tt.wantAgain || tt.wantAgainCode != "" && again.code(t) != tt.wantAgainCode {
					t.Errorf("again: %d %s", again.status, again.body)
				}
				return
			}
			checkError(t, got, tt.wantCode, tt.wantParameterInError)
			after := f.State()
			before.Accounts, after.Accounts = nil, nil // The call itself took a token.
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("a refused call changed (-before +after):\n%s", diff)
			}
		})
	}
}

// checkError checks that a reply is an error of the documented shape.
func checkError(t *testing.T, got reply, code, parameter string) {
	t.Helper()
	var document struct {
		Error             int
		ErrorCode, Reason string
		Detail            string
		Parameters        []any
	}
	decoder := json.NewDecoder(strings.NewReader(got.body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&document); err != nil {
		t.Fatalf("body %q: %v", got.body, err)
	}
	if document.Error != got.status || document.ErrorCode != code || document.Reason == "" || document.Detail == "" || document.Parameters == nil {
		t.Errorf("the error is %s", got.body)
	}
	if parameter != "" && !cmp.Equal(document.Parameters, []any{parameter}) {
		t.Errorf("parameters are %v, want %q", document.Parameters, parameter)
	}
	if got.header.Get("Content-Type") != "application/json" {
		t.Errorf("Content-Type is %q", got.header.Get("Content-Type"))
	}
}

func TestEffects(t *testing.T) {
	f := newFixture(t, Config{})
	want := f.State()
	for _, path := range []string{
		jwksPath, jwksPath, idpPath(FederationID, SpareIdentityProviderID),
		mappingPath(FederationID, OrgID, RoleMappingID), x509Path, x509PathV,
	} {
		if got := f.bearer(ClientID, "DELETE", path); got.status/100 != 2 {
			t.Fatalf("%s: %d %s", path, got.status, got.body)
		}
	}
	first := &want.Federations[0]
	first.IdentityProviders[0].JWKSRevocations = 2
	first.IdentityProviders[0].JWKSRevokedAt = f.clock.Now()
	first.IdentityProviders = first.IdentityProviders[:2]
	first.RoleMappings = first.RoleMappings[1:]
	want.Projects[0].CustomerX509 = false
	want.Projects[0].Restarts = 1
	want.Accounts[0].LiveTokens = 6
	if diff := cmp.Diff(want, f.State()); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
}

func TestProjectOwner(t *testing.T) {
	f := newFixture(t, Config{
		Secrets: map[string]string{},
		Seed: Seed{
			ServiceAccounts: []ServiceAccount{{ClientID: ClientID, Roles: []Role{{Name: RoleProjectOwner, ProjectID: ProjectID}}}},
			Projects:        []Project{{ID: ProjectID, OrgID: OrgID, CustomerX509: true}, {ID: SpareProjectID, OrgID: OrgID}},
		},
	})
	if got := f.bearer(ClientID, "DELETE", x509Path); got.status != 202 {
		t.Errorf("own project: %d %s", got.status, got.body)
	}
	if got := f.bearer(ClientID, "DELETE", projectPath(SpareProjectID)); got.code(t) != "USER_UNAUTHORIZED" {
		t.Errorf("other project: %d %s", got.status, got.body)
	}
}

func TestAuthenticationComesFirst(t *testing.T) {
	tests := []struct{ name, path, authorization string }{
		{name: "nothing", path: jwksPath},
		{name: "Basic", path: jwksPath, authorization: "Basic eDp5"},
		{name: "unknown token", path: x509Path, authorization: "Bearer nonsense"},
		{name: "no token", path: x509PathV, authorization: "Bearer"},
		{name: "malformed id", path: projectPath("x")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, Config{})
			got := f.do(f.request("DELETE", tt.path, "", "Authorization", tt.authorization))
			if got.status != 401 || got.header.Get("WWW-Authenticate") == "" || got.header.Get("RateLimit-Limit") != "" {
				t.Errorf("got %d %v %s", got.status, got.header, got.body)
			}
		})
	}
}

func TestVersions(t *testing.T) {
	tests := []struct {
		name, method, path string
		accept             []string
		want               string // The version of the answer; none for 406.
	}{
		{name: "first", path: x509Path, accept: []string{"application/vnd.atlas.2023-01-01+json"}, want: "2023-01-01"},
		{name: "later", path: x509Path, accept: []string{"application/vnd.atlas.2025-03-12+json"}, want: "2023-01-01"},
		{name: "with parameters", path: x509Path, accept: []string{"application/vnd.atlas.2023-01-01+json; charset=utf-8"}, want: "2023-01-01"},
		{name: "in a list", path: x509Path, accept: []string{"text/html, application/vnd.atlas.2024-01-01+json"}, want: "2023-01-01"},
		{name: "in a second header", path: x509Path, accept: []string{"text/html", "application/vnd.atlas.2024-01-01+json"}, want: "2023-01-01"},
		{name: "rate limits", method: "GET", path: pathRateLimits, accept: []string{"application/vnd.atlas.2025-03-12+json"}, want: "2025-03-12"},
		{name: "too early", path: x509Path, accept: []string{"application/vnd.atlas.2022-12-31+json"}},
		{name: "too early for JWKS", path: jwksPath, accept: []string{"application/vnd.atlas.2023-11-14+json"}},
		{name: "too early for a provider", path: idpPath(FederationID, IdentityProviderID), accept: []string{"application/vnd.atlas.2023-11-14+json"}},
		{name: "too early for a mapping", path: mappingPath(FederationID, OrgID, RoleMappingID), accept: []string{"application/vnd.atlas.2022-12-31+json"}},
		{name: "too early for rate limits", method: "GET", path: pathRateLimits, accept: []string{"application/vnd.atlas.2025-03-11+json"}},
		{name: "missing", path: x509Path},
		{name: "anything", path: x509Path, accept: []string{"*/*"}},
		{name: "plain JSON", path: x509Path, accept: []string{"application/json"}},
		{name: "no such day", path: x509Path, accept: []string{"application/vnd.atlas.2025-02-30+json"}},
		{name: "no JSON", path: x509Path, accept: []string{"application/vnd.atlas.2025-02-19+csv"}},
		{name: "no date", path: x509Path, accept: []string{"application/vnd.atlas.preview+json"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, Config{})
			if tt.method == "" {
				tt.method = "DELETE"
			}
			r := f.request(tt.method, tt.path, "", "Authorization", "Bearer "+f.MintToken(ClientID))
			for _, accept := range tt.accept {
				r.Header.Add("Accept", accept)
			}
			got := f.do(r)
			if tt.want == "" {
				if got.status != 406 {
					t.Fatalf("got %d %s", got.status, got.body)
				}
				checkError(t, got, "INVALID_VERSION_DATE", "")
				return
			}
			if want := "application/vnd.atlas." + tt.want + "+json;charset=utf-8"; got.status/100 != 2 || got.header.Get("Content-Type") != want {
				t.Errorf("got %d with Content-Type %q", got.status, got.header.Get("Content-Type"))
			}
		})
	}
}

func TestOlderPathNeedsNoVersion(t *testing.T) {
	f := newFixture(t, Config{})
	got := f.do(f.request("DELETE", x509PathV, "", "Authorization", "Bearer "+f.MintToken(ClientID), "Accept", "application/json"))
	if got.status != 202 || got.header.Get("Content-Type") != "application/json" || got.header.Get("RateLimit-Limit") != "" {
		t.Errorf("got %d %v", got.status, got.header)
	}
}

func TestRateLimitsList(t *testing.T) {
	all := []string{
		BucketClusters, BucketDatabaseUsers, BucketEventsProject, BucketEventsOrg, BucketFederationOrg, BucketFederationUser, BucketSystem,
		BucketAPIKeys, BucketRateLimitsOrg, BucketRateLimitsProject, BucketRateLimitsUser, BucketServiceAccountsProject, BucketServiceAccountsOrg, BucketUsersProject, BucketUsersOrg, BucketX509,
	}
	tests := []struct {
		name       string
		query      url.Values
		want       []string
		wantStatus int
		wantCode   string
	}{
		{name: "all", want: all},
		{name: "project", query: url.Values{"groupId": {ProjectID}}, want: []string{
			BucketClusters, BucketDatabaseUsers, BucketEventsProject, BucketRateLimitsProject, BucketServiceAccountsProject, BucketUsersProject, BucketX509,
		}},
		{name: "organization", query: url.Values{"orgId": {OrgID}}, want: []string{
			BucketEventsOrg, BucketFederationOrg, BucketAPIKeys, BucketRateLimitsOrg, BucketServiceAccountsOrg, BucketUsersOrg,
		}},
		{name: "user", query: url.Values{"userId": {ReadOnlyClientID}}, want: []string{BucketFederationUser, BucketSystem, BucketRateLimitsUser}},
		{name: "path", query: url.Values{"endpointPath": {pathX509, pathJWKS + "/"}}, want: []string{BucketFederationUser, BucketX509}},
		{name: "path and project", query: url.Values{"endpointPath": {pathX509, pathJWKS}, "groupId": {ProjectID}}, want: []string{BucketX509}},
		{name: "unknown path", query: url.Values{"endpointPath": {"/api/atlas/v2/alerts"}}, want: []string{}},
		{name: "other user", query: url.Values{"userId": {ClientID}}, wantStatus: 401, wantCode: "USER_UNAUTHORIZED"},
		{name: "other organization", query: url.Values{"orgId": {OtherOrgID}}, wantStatus: 401, wantCode: "USER_UNAUTHORIZED"},
		{name: "other project", query: url.Values{"groupId": {OtherProjectID}}, wantStatus: 401, wantCode: "USER_UNAUTHORIZED"},
		{name: "unknown project", query: url.Values{"groupId": {strings.Repeat("f", 24)}}, wantStatus: 404, wantCode: "GROUP_NOT_FOUND"},
		{name: "malformed project", query: url.Values{"groupId": {"x"}}, wantStatus: 400, wantCode: "INVALID_GROUP_ID"},
		{name: "malformed organization", query: url.Values{"orgId": {"x"}}, wantStatus: 400, wantCode: "INVALID_ORG_ID"},
		{name: "two at once", query: url.Values{"orgId": {OrgID}, "groupId": {ProjectID}}, wantStatus: 400, wantCode: "VALIDATION_ERROR"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, Config{})
			got := f.bearer(ReadOnlyClientID, "GET", pathRateLimits+"?"+tt.query.Encode())
			if tt.wantCode != "" {
				if got.status != tt.wantStatus {
					t.Errorf("status %d", got.status)
				}
				checkError(t, got, tt.wantCode, "")
				return
			}
			var document struct {
				Results    []endpointSet
				TotalCount int
			}
			if err := json.Unmarshal([]byte(got.body), &document); err != nil || got.status != 200 {
				t.Fatalf("%d %s: %v", got.status, got.body, err)
			}
			ids := []string{}
			for _, set := range document.Results {
				ids = append(ids, set.ID)
			}
			if diff := cmp.Diff(tt.want, ids); diff != "" || document.TotalCount != len(ids) {
				t.Errorf("total %d, sets (-want +got):\n%s", document.TotalCount, diff)
			}
		})
	}
}

func TestRateLimitsDocument(t *testing.T) {
	f := newFixture(t, Config{Buckets: map[string]Bucket{BucketX509: {Capacity: 7, Refill: 500, Every: 30e9}}})
	got := f.bearer(ClientID, "GET", pathRateLimits+"?endpointPath="+url.QueryEscape(pathX509))
	want := `{"results":[{"endpointSetId":"x509Authentication_group","endpointSetName":"X509 Authentication","scope":"GROUP",` +
		`"endpoints":[{"method":"DELETE","path":"/api/atlas/v2/groups/{groupId}/userSecurity/customerX509"}],` +
		`"capacity":{"value":7,"defaultValue":1200},"refillRate":{"value":500},"refillDurationSeconds":{"value":30,"defaultValue":60}}],"totalCount":1}`
	if diff := cmp.Diff(want, got.body); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
}
