package atlas_test

import (
	"errors"
	"testing"
	"time"

	"rekey/internal/atlas"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/metrics"
	"rekey/internal/secret"
)

// TestWatchedEnd: the last secret of an MCP configuration counts, whether it has expired or not, and reading it takes a role where it is.
func TestWatchedEnd(t *testing.T) {
	const empty, expired = "5ec000000000000000000803", "5ec000000000000000000804"
	past, near, far := noon().Add(-time.Hour).Truncate(time.Second), noon().Add(time.Hour).Truncate(time.Second), noon().Add(1000*time.Hour).Truncate(time.Second)
	seed := sandbox.DefaultSeed()
	seed.MCPConfigs = []sandbox.MCPConfig{
		{ID: sandbox.OrgMCPConfigID, OrgID: sandbox.OrgID, Ends: []time.Time{far, near}},
		{ID: sandbox.ProjectMCPConfigID, ProjectID: sandbox.ProjectID, Ends: []time.Time{past, near}},
		{ID: empty, OrgID: sandbox.OrgID},
		{ID: expired, OrgID: sandbox.OrgID, Ends: []time.Time{past}},
	}
	tests := []struct {
		name    string
		account string
		watched kinds.Watched
		want    time.Time
		lacks   bool // A role.
		reason  jobs.Reason
	}{
		{name: "organization", account: "reader", watched: kinds.Watched{OrgID: sandbox.OrgID, MCPConfigID: sandbox.OrgMCPConfigID}, want: far},
		{name: "project", account: "reader", watched: kinds.Watched{ProjectID: sandbox.ProjectID, MCPConfigID: sandbox.ProjectMCPConfigID}, want: near},
		{name: "no secret", account: "reader", watched: kinds.Watched{OrgID: sandbox.OrgID, MCPConfigID: empty}},
		{name: "expired", account: "reader", watched: kinds.Watched{OrgID: sandbox.OrgID, MCPConfigID: expired}, want: past},
		{name: "not there", account: "reader", watched: kinds.Watched{ProjectID: sandbox.ProjectID, MCPConfigID: sandbox.OrgMCPConfigID}, reason: jobs.ReasonNotFound},
		{name: "no role in the organization", account: "other", watched: kinds.Watched{OrgID: sandbox.OrgID, MCPConfigID: sandbox.OrgMCPConfigID}, lacks: true},
		{name: "no role in the project", account: "other", watched: kinds.Watched{ProjectID: sandbox.ProjectID, MCPConfigID: sandbox.ProjectMCPConfigID}, lacks: true},
		{name: "no such account", account: "none", reason: jobs.ReasonConfig},
	}
	box, server := serveSandbox(t, sandbox.Config{Seed: seed, Now: noon})
	c := newClient(t, atlas.Config{
		BaseURL: server, Recorder: metrics.Discard(), LookupEnv: box.Secret,
		Accounts: []atlas.Account{
			{Name: "reader", ClientID: sandbox.RotatedClientID, ClientSecret: secret.Ref{Env: sandbox.RotatedClientID}},
			{Name: "other", ClientID: sandbox.OtherClientID, ClientSecret: secret.Ref{Env: sandbox.OtherClientID}},
		},
	})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := c.WatchedEnd(t.Context(), tt.account, tt.watched)
			if failure, failed := errors.AsType[*jobs.Failure](err); failed != (tt.lacks || tt.reason != "") {
				t.Fatalf("got %s, %v", got, err)
			} else if failed && (atlas.LacksRole(failure) != tt.lacks || !tt.lacks && failure.Reason != tt.reason) {
				t.Errorf("failed with %s: %v", failure.Reason, err)
			}
			if !got.Equal(tt.want) {
				t.Errorf("the last one ends at %s, want %s", got, tt.want)
			}
		})
	}
}
