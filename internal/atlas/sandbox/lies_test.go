package sandbox

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Paths of reads in the default world.
const (
	idpsPath     = "/api/atlas/v2/federationSettings/" + FederationID + "/identityProviders"
	mappingsPath = "/api/atlas/v2/federationSettings/" + FederationID + "/connectedOrgConfigs/" + OrgID + "/roleMappings"
	clustersPath = "/api/atlas/v2/groups/" + ProjectID + "/clusters"
	statusPath   = clustersPath + "/Cluster0/status"
	securityPath = "/api/atlas/v2/groups/" + ProjectID + "/userSecurity"
	userPath     = "/api/atlas/v2/groups/" + ProjectID + "/databaseUsers/admin/" + DatabaseUser
	orgEvents    = "/api/atlas/v2/orgs/" + OrgID + "/events"
	groupEvents  = "/api/atlas/v2/groups/" + ProjectID + "/events"
)

// lying is a fixture in which faults apply.
func lying(t *testing.T, faults ...string) *fixture {
	t.Helper()
	f := newFixture(t, Config{})
	for _, text := range faults {
		fault, err := ParseFault(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Inject(fault); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// get reads as the owner.
func (f *fixture) get(path string) reply {
	f.t.Helper()
	return f.bearer(ClientID, "GET", path)
}

// results are the elements of a list that the owner reads.
func (f *fixture) results(path string) []map[string]any {
	f.t.Helper()
	got := f.get(path)
	var page struct {
		Results []map[string]any `json:"results"`
	}
	if err := json.Unmarshal([]byte(got.body), &page); err != nil || got.status != 200 {
		f.t.Fatalf("%s: %d %s", path, got.status, got.body)
	}
	return page.Results
}

// texts are one field of each element.
func texts(list []map[string]any, field string) string {
	var all []string
	for _, one := range list {
		all = append(all, fmt.Sprint(one[field]))
	}
	return strings.Join(all, " ")
}

// TestReadsOfAProof are the reads that show whether something is dead, in a world where nothing has happened.
func TestReadsOfAProof(t *testing.T) {
	const other = "/api/atlas/v2/groups/" + OtherProjectID
	tests := []struct {
		name, account, path string
		wantStatus          int
		want                string // A part of the body.
	}{
		{name: "system", account: LeakedClientID, path: pathSystem, wantStatus: 200, want: `"appName":"MongoDB Atlas"`},
		{name: "system with a slash", account: LeakedClientID, path: pathSystem + "/", wantStatus: 200},
		{name: "projects", account: LeakedClientID, path: pathGroups, wantStatus: 200, want: ProjectID},
		{name: "no filter: SAML of the workforce", account: ClientID, path: idpsPath, wantStatus: 200, want: `{"results":[],"totalCount":0}`},
		{name: "OIDC of workloads", account: ClientID, path: idpsPath + "?protocol=OIDC&idpType=WORKLOAD", wantStatus: 200, want: `"issuerUri":"https://workload.idp.example.com"`},
		{name: "both", account: ClientID, path: idpsPath + "?protocol=SAML&protocol=OIDC&idpType=WORKFORCE&idpType=WORKLOAD", wantStatus: 200, want: `"totalCount":3`},
		{name: "providers for a reader", account: ReadOnlyClientID, path: idpsPath, wantStatus: 401, want: "USER_UNAUTHORIZED"},
		{name: "mappings", account: ClientID, path: mappingsPath, wantStatus: 200, want: `"externalGroupName":"database-admins","roleAssignments":[{"groupId":"` + ProjectID + `","role":"GROUP_DATABASE_ACCESS_ADMIN"}]`},
		{name: "mappings without a count", account: ClientID, path: mappingsPath + "?includeCount=false&itemsPerPage=1", wantStatus: 200, want: `]}]}`},
		{name: "clusters for a reader", account: ReadOnlyClientID, path: clustersPath, wantStatus: 200, want: `{"name":"Cluster0","stateName":"IDLE"}`},
		{name: "flex clusters", account: ClientID, path: "/api/atlas/v2/groups/" + ProjectID + "/flexClusters", wantStatus: 200, want: `"results":[]`},
		{name: "status", account: ClientID, path: statusPath, wantStatus: 200, want: `{"changeStatus":"APPLIED"}`},
		{name: "status of none", account: ClientID, path: clustersPath + "/x/status", wantStatus: 404, want: "CLUSTER_NOT_FOUND"},
		{name: "clusters of others", account: ClientID, path: other + "/clusters", wantStatus: 401},
		{name: "authority", account: ClientID, path: securityPath, wantStatus: 200, want: `"customerX509":{"cas":"-----BEGIN CERTIFICATE-----\n`},
		{name: "authority for a reader", account: ReadOnlyClientID, path: securityPath, wantStatus: 401},
		{name: "secrets by project", account: ClientID, path: "/api/atlas/v2/groups/" + ProjectID + "/serviceAccounts/" + LeakedClientID, wantStatus: 200, want: LeakedSecretID},
		{name: "no events", account: ReadOnlyClientID, path: orgEvents, wantStatus: 200, want: `{"results":[],"totalCount":0}`},
		{name: "events of others", account: ClientID, path: "/api/atlas/v2/orgs/" + OtherOrgID + "/events", wantStatus: 401},
		{name: "project events of others", account: ClientID, path: other + "/events", wantStatus: 401},
		{name: "events since no date", account: ClientID, path: orgEvents + "?minDate=yesterday", wantStatus: 400, want: "minDate"},
	}
	f := newFixture(t, Config{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := f.bearer(tt.account, "GET", tt.path); got.status != tt.wantStatus || !strings.Contains(got.body, tt.want) {
				t.Errorf("got %d %s, want %d with %s", got.status, got.body, tt.wantStatus, tt.want)
			}
		})
	}
}

// TestTokenSaysWhenItEnds: a token is a JWT whose exp is true.
func TestTokenSaysWhenItEnds(t *testing.T) {
	f := newFixture(t, Config{})
	parts := strings.Split(f.MintToken(ClientID), ".")
	if len(parts) != 3 {
		t.Fatalf("it has %d parts", len(parts))
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Subject string `json:"sub"`
		Expires int64  `json:"exp"`
	}
	if err := json.Unmarshal(text, &claims); err != nil {
		t.Fatal(err)
	}
	if want := f.clock.Now().Add(DefaultTokenLifetime).Unix(); err != nil || claims.Expires != want || claims.Subject != ClientID {
		t.Errorf("claims %s, %v; want exp %d", text, err, want)
	}
}

// TestRestartOfClusters: what looks IDLE at first has not begun.
func TestRestartOfClusters(t *testing.T) {
	for _, late := range []time.Duration{0, time.Minute} {
		t.Run(late.String(), func(t *testing.T) {
			f := lying(t)
			if late > 0 {
				f = lying(t, "x509.disable:late_restart:delay=1m")
			}
			f.bearer(ClientID, "DELETE", x509Path)
			for _, step := range []struct {
				after     time.Duration
				state     string
				change    string
				completed bool
			}{
				{0, "IDLE", "APPLIED", false},
				{DefaultRestartAfter + late, "UPDATING", "PENDING", false},
				{DefaultRestartFor, "IDLE", "APPLIED", true},
			} {
				f.clock.add(step.after)
				state, change := f.results(clustersPath), f.get(statusPath).body
				log := texts(f.results(groupEvents), "eventTypeName")
				if texts(state, "stateName") != step.state || !strings.Contains(change, step.change) || strings.Contains(log, "CLUSTER_UPDATE_COMPLETED") != step.completed {
					t.Errorf("after %s: %v, %s, events %s", step.after, state, change, log)
				}
			}
			if body := f.get(securityPath).body; !strings.Contains(body, `"customerX509":{}`) {
				t.Errorf("user security is %s", body)
			}
		})
	}
}

// TestDatabaseUserIsAppliedLater: the record goes before the clusters know.
func TestDatabaseUserIsAppliedLater(t *testing.T) {
	f := newFixture(t, Config{})
	f.bearer(ClientID, "DELETE", userPath)
	if got, status := f.get(userPath), f.get(statusPath); got.status != 404 || !strings.Contains(status.body, "PENDING") {
		t.Errorf("user %d, status %s", got.status, status.body)
	}
	f.clock.add(DefaultApplyFor)
	if status := f.get(statusPath); !strings.Contains(status.body, "APPLIED") {
		t.Errorf("status %s", status.body)
	}
}

// TestEvents: every change is in the log, with its actor; the target is named only where Atlas names it.
func TestEvents(t *testing.T) {
	f := newFixture(t, Config{})
	leaked := f.MintToken(LeakedClientID)
	secret, _ := f.Secret(LeakedSecretID)
	for _, path := range []string{
		jwksPath, idpsPath + "/" + IdentityProviderID, mappingsPath + "/" + RoleMappingID, userPath,
		"/api/atlas/v2/orgs/" + OrgID + "/serviceAccounts/" + SpareClientID, "/api/atlas/v2/orgs/" + OrgID + "/apiKeys/" + LeakedAPIKeyID,
		"/api/atlas/v2/groups/" + ProjectID + "/serviceAccounts/" + LeakedClientID + "/secrets/" + KeptSecretID,
		"/api/atlas/v2/groups/" + ProjectID + "/users/" + UserID, "/api/atlas/v2/orgs/" + OrgID + "/users/" + UserID,
	} {
		if got := f.bearer(ClientID, "DELETE", path); got.status != 204 {
			t.Fatalf("DELETE %s: %d %s", path, got.status, got.body)
		}
		f.clock.add(time.Second)
	}
	f.oauth("/api/oauth/revoke", LeakedClientID, secret, url.Values{"token": {leaked}})
	want := "OAUTH_TOKEN_REVOKED REMOVED_FROM_ORG SERVICE_ACCOUNT_SECRET_DELETED API_KEY_DELETED SERVICE_ACCOUNT_DELETED " +
		"ROLE_MAPPING_DELETED IDENTITY_PROVIDER_DELETED IDENTITY_PROVIDER_JWKS_REVOKED"
	org := f.results(orgEvents)
	if got := texts(org, "eventTypeName"); got != want {
		t.Errorf("of the organization: %s, want %s", got, want)
	}
	if got, want := texts(f.results(groupEvents), "eventTypeName"), "REMOVED_FROM_GROUP SERVICE_ACCOUNT_SECRET_DELETED MONGODB_USER_DELETED"; got != want {
		t.Errorf("of the project: %s, want %s", got, want)
	}
	wantMapping := map[string]any{
		"id": org[5]["id"], "created": "2026-05-04T03:02:03Z", "eventTypeName": "ROLE_MAPPING_DELETED", "orgId": OrgID, "isGlobalAdmin": false,
		"userId": org[5]["userId"], "username": ClientID, "remoteAddress": "127.0.0.1",
	}
	if diff := cmp.Diff(wantMapping, org[5]); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	if org[3]["targetPublicKey"] != LeakedPublicKey || f.results(groupEvents)[2]["dbUserUsername"] != DatabaseUser {
		t.Errorf("targets: %v", org[3])
	}
	filtered := orgEvents + "?eventType=ROLE_MAPPING_DELETED&eventType=IDENTITY_PROVIDER_JWKS_REVOKED&includeRaw=true&minDate=2026-05-04T03:02:01Z&maxDate=2026-05-04T03:02:03Z"
	if got := f.results(filtered); texts(got, "eventTypeName") != "ROLE_MAPPING_DELETED IDENTITY_PROVIDER_JWKS_REVOKED" || got[0]["raw"] == nil {
		t.Errorf("filtered: %v", got)
	}
	if got := f.results(filtered + "&itemsPerPage=1&pageNum=2"); texts(got, "eventTypeName") != "IDENTITY_PROVIDER_JWKS_REVOKED" {
		t.Errorf("second page: %v", got)
	}
	if got := f.results(groupEvents + "?excludedEventType=REMOVED_FROM_GROUP&excludedEventType=MONGODB_USER_DELETED"); len(got) != 1 {
		t.Errorf("without two types: %v", got)
	}
}

// TestLies: the answer is that of a success, and the truth is another.
func TestLies(t *testing.T) {
	mapping, idp := mappingsPath+"/"+RoleMappingID, idpsPath+"/"+IdentityProviderID
	const allIDPs = idpsPath + "?protocol=OIDC&idpType=WORKLOAD"
	tests := []struct {
		name, fault, change, read string
		wantFirst, wantLater      int // Statuses of the read, at once and after an hour.
		wantLog                   string
	}{
		{name: "truth", change: mapping, read: mapping, wantFirst: 404, wantLater: 404, wantLog: "ROLE_MAPPING_DELETED"},
		{name: "pretend", fault: "role_mapping.delete:pretend", change: mapping, read: mapping, wantFirst: 200, wantLater: 200, wantLog: "ROLE_MAPPING_DELETED"},
		{name: "pretend to others", fault: "any:pretend:account=" + PublicKey, change: mapping, read: mapping, wantFirst: 404, wantLater: 404, wantLog: "ROLE_MAPPING_DELETED"},
		{name: "lag", fault: "any:lag:delay=10m", change: idp, read: idp, wantFirst: 200, wantLater: 404, wantLog: "IDENTITY_PROVIDER_DELETED"},
		{name: "unlogged", fault: "any:unlogged", change: idp, read: idp, wantFirst: 404, wantLater: 404},
		{name: "restored", fault: "idp.delete:restore:delay=15m", change: idp, read: idp, wantFirst: 404, wantLater: 404, wantLog: "IDENTITY_PROVIDER_CREATED IDENTITY_PROVIDER_DELETED"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := lying(t)
			if tt.fault != "" {
				f = lying(t, tt.fault)
			}
			if got := f.bearer(ClientID, "DELETE", tt.change); got.status != 204 {
				t.Fatalf("the change: %d %s", got.status, got.body)
			}
			first := f.get(tt.read).status
			f.clock.add(time.Hour)
			if later := f.get(tt.read).status; first != tt.wantFirst || later != tt.wantLater {
				t.Errorf("the read: %d, then %d, want %d, then %d", first, later, tt.wantFirst, tt.wantLater)
			}
			if got := texts(f.results(orgEvents), "eventTypeName"); got != tt.wantLog {
				t.Errorf("events %q, want %q", got, tt.wantLog)
			}
		})
	}
	t.Run("restored under another id", func(t *testing.T) {
		f := lying(t, "any:restore:delay=15m:times=2")
		f.bearer(ClientID, "DELETE", idp)
		f.bearer(ClientID, "DELETE", mapping)
		f.clock.add(15 * time.Minute)
		back := f.results(allIDPs)
		if len(back) != 1 || back[0]["id"] == IdentityProviderID || back[0]["audience"] != "atlas-workload" {
			t.Errorf("identity providers %v", back)
		}
		if got := f.results(mappingsPath); len(got) != 2 || strings.Contains(texts(got, "id"), RoleMappingID) || !strings.Contains(texts(got, "externalGroupName"), "database-admins") {
			t.Errorf("role mappings %v", got)
		}
		if log := f.results(orgEvents); log[0]["publicKey"] != RestorerKey || log[0]["username"] != nil {
			t.Errorf("the newest event is %v", log[0])
		}
	})
	t.Run("X.509 put back", func(t *testing.T) {
		f := lying(t, "x509.disable:restore:delay=15m")
		before := f.get(securityPath).body
		f.bearer(ClientID, "DELETE", x509Path)
		off := f.get(securityPath).body
		f.clock.add(16 * time.Minute)
		if after := f.get(securityPath).body; after != before || off == before {
			t.Errorf("before %s, then %s, then %s", before, off, after)
		}
		if log := texts(f.results(groupEvents), "publicKey"); strings.Count(log, RestorerKey) != 1 || f.State().Projects[0].Restarts != 2 {
			t.Errorf("actors %s, %d restarts", log, f.State().Projects[0].Restarts)
		}
	})
	t.Run("a token that lives on for a while", func(t *testing.T) {
		f := lying(t, "token.revoke:lag:delay=5s")
		token := f.MintToken(ClientID)
		if got := f.oauth("/api/oauth/revoke", ClientID, testSecret, url.Values{"token": {token}}); got.status != 200 || !f.TokenLive(token) {
			t.Errorf("%d, live %t", got.status, f.TokenLive(token))
		}
		if f.clock.add(5 * time.Second); f.TokenLive(token) {
			t.Error("it lives for good")
		}
	})
}

// TestForeignNetwork: a live token is refused with 403, a dead one with 401.
func TestForeignNetwork(t *testing.T) {
	f := lying(t, "any:foreign:account="+LeakedClientID)
	token := f.MintToken(LeakedClientID)
	probe := func() int {
		return f.do(f.request("GET", pathSystem, "", "Authorization", "Bearer "+token, "Accept", "application/vnd.atlas.2023-01-01+json")).status
	}
	live := probe()
	secret, _ := f.Secret(LeakedClientID)
	f.oauth("/api/oauth/revoke", LeakedClientID, secret, url.Values{"token": {token}})
	if dead := probe(); live != 403 || dead != 401 {
		t.Errorf("live %d, dead %d", live, dead)
	}
	if got := f.get(pathSystem).status; got != 200 {
		t.Errorf("another account: %d", got)
	}
}

// TestLiesThatMakeNoSense are refused.
func TestLiesThatMakeNoSense(t *testing.T) {
	for _, text := range []string{
		"token.revoke:restore", "jwks.revoke:late_restart:delay=1s", "any:lag", "any:late_restart", "any:lag:delay=800h", "any:pretend:retry_after=2",
		"any:429:account=x", "any:pretend:status=500", "any:pretend:error_code=X",
	} {
		if fault, err := ParseFault(text); err == nil {
			t.Errorf("%s is %+v", text, fault)
		}
	}
}
