package kinds_test

import (
	"testing"

	"rekey/internal/kinds"
)

// TestWatchedEnds: an end that the API does not say is no end that is far off.
func TestWatchedEnds(t *testing.T) {
	for _, tt := range []struct {
		name, document string
		mcp            bool
		want           int
		wrong          bool
	}{
		{name: "two certificates", document: `{"results":[{"_id":1,"notAfter":"2027-01-01T00:00:00Z"},{"_id":2,"notAfter":"2028-01-01T00:00:00Z"}],"totalCount":2}`, want: 2},
		{name: "two secrets", mcp: true, document: `{"results":[{"id":"1","expiresAt":"2027-01-01T00:00:00Z"},{"id":"2","expiresAt":"2028-01-01T00:00:00Z"}]}`, want: 2},
		{name: "none", document: `{"results":[],"totalCount":0}`},
		{name: "no list", document: `{}`, wrong: true},
		{name: "a certificate without end", document: `{"results":[{"_id":1,"expiresAt":"2027-01-01T00:00:00Z"}]}`, wrong: true},
		{name: "a secret without end", mcp: true, document: `{"results":[{"id":"1","notAfter":"2027-01-01T00:00:00Z"}]}`, wrong: true},
		{name: "an end of another form", document: `{"results":[{"_id":1,"notAfter":"soon"}]}`, wrong: true},
		{name: "no JSON", document: `<html>`, wrong: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := kinds.Watched{ProjectID: "5ec0000000000000000000f1", Username: "CN=a"}
			if tt.mcp {
				w = kinds.Watched{ProjectID: "5ec0000000000000000000f1", MCPConfigID: "m"}
			}
			got, err := w.Ends([]byte(tt.document))
			if (err != nil) != tt.wrong || len(got) != tt.want {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

// TestWatchedList: where each is listed, and what its reads draw on.
func TestWatchedList(t *testing.T) {
	const org, project = "5ec0000000000000000000b1", "5ec0000000000000000000f1"
	for _, tt := range []struct {
		watched                 kinds.Watched
		path, version, set, who string
	}{
		{kinds.Watched{ProjectID: project, Username: "CN=a/b"}, "groups/" + project + "/databaseUsers/CN=a%2Fb/certs", "2023-01-01", "x509_project", project},
		{kinds.Watched{ProjectID: project, MCPConfigID: "m"}, "groups/" + project + "/mcpConfigs/m/secrets", "2025-03-12", "service_accounts_project", project},
		{kinds.Watched{OrgID: org, MCPConfigID: "m"}, "orgs/" + org + "/mcpConfigs/m/secrets", "2025-03-12", "service_accounts_org", org},
	} {
		r, set := tt.watched.List()
		if r.Path != "/api/atlas/v2/"+tt.path || r.Version != tt.version || set.Name != tt.set || tt.watched.Entity() != tt.who {
			t.Errorf("%+v is %+v of %s, and draws on the bucket of %s", tt.watched, r, set.Name, tt.watched.Entity())
		}
	}
}
