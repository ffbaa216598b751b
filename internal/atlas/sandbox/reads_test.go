package sandbox

import (
	"testing"
)

// TestOrganizationsAndTheirFederation: both documents name no more than ids.
func TestOrganizationsAndTheirFederation(t *testing.T) {
	tests := []struct {
		name, account, path string
		wantStatus          int
		want                string
	}{
		{name: "owner's organizations", account: ClientID, path: pathOrgs, wantStatus: 200, want: `{"results":[{"id":"` + OrgID + `"}],"totalCount":1}`},
		{name: "reader's organizations", account: ReadOnlyClientID, path: pathOrgs, wantStatus: 200, want: `{"results":[{"id":"` + OrgID + `"}],"totalCount":1}`},
		{name: "owner", account: ClientID, path: "/api/atlas/v2/orgs/" + OrgID + "/federationSettings", wantStatus: 200, want: `{"id":"` + FederationID + `"}`},
		{name: "reader", account: ReadOnlyClientID, path: "/api/atlas/v2/orgs/" + OrgID + "/federationSettings", wantStatus: 401},
		{name: "another's", account: ClientID, path: "/api/atlas/v2/orgs/" + OtherOrgID + "/federationSettings", wantStatus: 401},
		{name: "malformed id", account: ClientID, path: "/api/atlas/v2/orgs/x/federationSettings", wantStatus: 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := newFixture(t, Config{}).bearer(tt.account, "GET", tt.path)
			if got.status != tt.wantStatus || tt.want != "" && got.body != tt.want {
				t.Errorf("got %d %s, want %d %s", got.status, got.body, tt.wantStatus, tt.want)
			}
		})
	}
}
