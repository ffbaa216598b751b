package atlas_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// TestAListIsSharedForTenSeconds: jobs that want to know what their targets mean read the list of these once, and once more when it is ten seconds old.
// An urgent job reads its target alone.
func TestAListIsSharedForTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lists, targets := 0, 0
		c := newClient(t, config(transportFunc(func(req *http.Request) (*http.Response, error) {
			switch {
			case isTokenRequest(req):
				return issue(bearerToken, 3600), nil
			case req.Method == http.MethodGet && strings.HasSuffix(req.URL.Path, "/roleMappings"):
				lists++
				return reply(200, `{"results": [{"id": "`+idC+`", "externalGroupName": "admins"}], "totalCount": 1}`, "Content-Type", asJSON), nil
			case req.Method == http.MethodGet:
				targets++
				return reply(200, `{"id": "`+idC+`", "externalGroupName": "admins"}`, "Content-Type", asJSON), nil
			}
			return reply(204, ""), nil
		})))
		revoke := func(lane jobs.Lane) {
			j := job(t, kinds.RoleMappingDelete, "service")
			j.Lane = lane
			kept := map[string]string{}
			j.KeepMeaning = func(_ context.Context, meaning map[string]string) error { kept = meaning; return nil }
			if revokeWorks(t, c, j); len(kept) == 0 {
				t.Errorf("the meaning of a %s job is not kept", lane)
			}
		}
		begun := time.Now()
		for _, tt := range []struct {
			at             time.Duration
			lane           jobs.Lane
			lists, targets int
		}{
			{0, jobs.LaneBulk, 1, 0},
			{0, jobs.LaneNormal, 1, 0},
			{9 * time.Second, jobs.LaneBulk, 1, 0},
			{9 * time.Second, jobs.LaneUrgent, 1, 1},
			{11 * time.Second, jobs.LaneBulk, 2, 1},
			{20 * time.Second, jobs.LaneBulk, 2, 1},
		} {
			<-time.After(tt.at - time.Since(begun))
			if revoke(tt.lane); lists != tt.lists || targets != tt.targets {
				t.Errorf("after %s the list was read %d times and targets %d times, want %d and %d", tt.at, lists, targets, tt.lists, tt.targets)
			}
		}
	})
}
