package kinds

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPreviewFacts: what is shown of the documents of the API.
func TestPreviewFacts(t *testing.T) {
	t.Parallel()
	many := strings.TrimSuffix(strings.Repeat(`{"name":"c","stateName":"IDLE"},`, 21), ",")
	tests := []struct {
		name, document string
		look           Look
		want           []Fact
	}{
		{
			"identity provider", `{"id":"x","displayName":"Corp","protocol":"SAML","idpType":"WORKFORCE","associatedOrgs":[{"orgId":"o1","x":1},{"orgId":"o2"}],"associatedDomains":["example.com"],"status":"ACTIVE"}`,
			lookAtIDP,
			[]Fact{{"identity provider", "Corp SAML WORKFORCE"}, {"connected organizations", "2: o1, o2"}, {"domains", "1: example.com"}},
		},
		{"identity provider of which little is known", `{"displayName":null}`, lookAtIDP, []Fact{{"identity provider", ""}, {"connected organizations", "0"}, {"domains", "0"}}},
		{"project", `{"id":"p","name":"shop","orgId":"o1"}`, lookAtProject, []Fact{{"project", "shop"}, {"organization", "o1"}}},
		{"clusters", `{"results":[{"name":"a","stateName":"IDLE"},{"name":"b"}],"totalCount":2}`, lookAtClusters, []Fact{{"clusters", "2: a IDLE, b"}}},
		{"no flex clusters", `{"results":[],"totalCount":0}`, lookAtFlexClusters, []Fact{{"flex clusters", "0"}}},
		{"more clusters than are shown, and more than a page", `{"results":[` + many + `],"totalCount":900}`, lookAtClusters, []Fact{{"clusters", "900, of which these are 21: " + strings.TrimSuffix(strings.Repeat("c IDLE, ", 20), ", ") + ", …"}}},
		{
			"users", `{"results":[{"username":"CN=a","x509Type":"CUSTOMER"},{"username":"b","x509Type":"NONE"},{"username":"CN=c","x509Type":"MANAGED"}],"totalCount":9}`,
			lookAtCustomerX509,
			[]Fact{{"users with customer X.509", "1: CN=a (of the first 3 users)"}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.look.Facts([]byte(tt.document))
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("facts (-want +got), %v:\n%s", err, diff)
			}
			if got, err := tt.look.Facts([]byte("<html>")); err == nil || got != nil {
				t.Errorf("a page of a proxy is %v", got)
			}
		})
	}
}

// TestWhatIsAskedAbout: the kinds that reach beyond one credential have a preview.
func TestWhatIsAskedAbout(t *testing.T) {
	t.Parallel()
	var asked []Name
	for _, k := range All() {
		if len(k.Preview) > 0 {
			asked = append(asked, k.Name)
		}
	}
	if got, want := fmt.Sprint(asked), "[jwks.revoke x509.disable idp.delete service_account.delete]"; got != want {
		t.Errorf("asked about are %s, want %s", got, want)
	}
}
