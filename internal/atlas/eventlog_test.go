package atlas_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// TestEventLog: only what fits type, time and place counts, and it is said who did it.
func TestEventLog(t *testing.T) {
	since := time.Now().Add(-time.Minute)
	event := func(id, kind string, after time.Duration, more string) string {
		return fmt.Sprintf(`{"id":%q,"eventTypeName":%q,"created":%q%s}`, id, kind, since.Add(after).UTC().Format(time.RFC3339), more)
	}
	const deleted = "MONGODB_USER_DELETED"
	own := `,"groupId":"` + idA + `","publicKey":"abcdefgh"`
	tests := []struct {
		name     string
		events   []string
		want     string // id, by, own and named, of each.
		wantFail jobs.Reason
	}{
		{name: "own", events: []string{event("e1", deleted, time.Second, own+`,"dbUserUsername":"CN=a/b,O=c d"`)}, want: "e1 abcdefgh true true"},
		{name: "names no target", events: []string{event("e1", deleted, time.Second, own)}, want: "e1 abcdefgh true false"},
		{name: "another target", events: []string{event("e1", deleted, time.Second, own+`,"dbUserUsername":"other"`)}},
		{name: "another actor", events: []string{event("e1", deleted, time.Second, `,"username":"eve@example.com"`)}, want: "e1 eve@example.com false false"},
		{name: "delegate", events: []string{event("e1", deleted, time.Second, `,"delegatePrincipal":{"id":"ABCDEFGH"}`)}, want: "e1 ABCDEFGH true false"},
		{name: "without an actor", events: []string{event("e1", deleted, time.Second, "")}, want: "e1  false false"},
		{name: "before", events: []string{event("e1", deleted, -time.Hour, own)}},
		{name: "another type", events: []string{event("e1", "MONGODB_USER_ADDED", time.Second, own)}},
		{name: "another project", events: []string{event("e1", deleted, time.Second, `,"groupId":"`+idB+`"`)}},
		{name: "oldest first", events: []string{event("e2", deleted, 9*time.Second, own), event("e1", deleted, time.Second, own)}, want: "e1 abcdefgh true false, e2 abcdefgh true false"},
		{name: "hostile id", events: []string{event("<b>", deleted, time.Second, own)}, wantFail: jobs.ReasonProtocol},
		{name: "no time", events: []string{`{"id":"e1","eventTypeName":"` + deleted + `"}`}, wantFail: jobs.ReasonProtocol},
		{name: "a secret in it", events: []string{event("e1", deleted, time.Second, `,"username":"x `+privateKey+`"`)}, want: "e1 x [secret] false false"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newClient(t, config(challengingAPI(func(req *http.Request) *http.Response {
				if req.URL.Path != "/api/atlas/v2/groups/"+idA+"/events" || !strings.Contains(req.URL.RawQuery, "eventType="+deleted) {
					t.Errorf("reads %s", req.URL)
				}
				return reply(200, `{"results":[`+strings.Join(tt.events, ",")+`]}`)
			})))
			events, err := c.Events(t.Context(), job(t, kinds.DatabaseUserDelete, "key"), []string{deleted}, since)
			var got []string
			for _, e := range events {
				got = append(got, fmt.Sprintf("%s %s %t %t", e.ID, e.By, e.Own, e.Names))
			}
			if f, _ := errors.AsType[*jobs.Failure](err); strings.Join(got, ", ") != tt.want || (f == nil) != (tt.wantFail == "") || f != nil && f.Reason != tt.wantFail {
				t.Errorf("%v, %v, want %s or %s", got, err, tt.want, tt.wantFail)
			}
		})
	}
}

// challengingAPI asks a first request for its digest.
func challengingAPI(answer func(req *http.Request) *http.Response) transportFunc {
	return func(req *http.Request) (*http.Response, error) {
		if req.Header.Get("Authorization") == "" {
			return reply(401, "", "WWW-Authenticate", `Digest realm="MMS Public API", nonce="n", qop="auth", algorithm=MD5, stale=false`), nil
		}
		return answer(req), nil
	}
}

// TestEventLogIsShared: looks of one organization that are due together make one read, for all kinds.
func TestEventLogIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads atomic.Int64
		c := newClient(t, config(api(func(req *http.Request) *http.Response {
			reads.Add(1)
			pass(time.Second)
			if req.URL.Path == "/api/atlas/v2/orgs" {
				return reply(200, `{"results":[{"id":"`+idB+`"}],"totalCount":1}`)
			}
			return reply(200, `{"results":[],"totalCount":0}`)
		})))
		since := time.Now()
		pass(time.Second)
		together := func() {
			var looks sync.WaitGroup
			for range 10 {
				for _, kind := range []jobs.Kind{kinds.JWKSRevoke, kinds.IDPDelete, kinds.RoleMappingDelete} {
					looks.Go(func() {
						if _, err := c.Events(t.Context(), job(t, kind, "service"), kinds.Of(kind).Proof.Events, since); err != nil {
							t.Error(err)
						}
					})
				}
			}
			looks.Wait()
		}
		// A token, the organizations and the log; the organizations are asked for by all that do not know them yet.
		together()
		reads.Store(0)
		pass(5 * time.Second)
		if together(); reads.Load() != 1 {
			t.Errorf("%d reads", reads.Load())
		}
		// What has happened since the read needs another one.
		reads.Store(0)
		if _, err := c.Events(t.Context(), job(t, kinds.RoleMappingDelete, "service"), kinds.Of(kinds.RoleMappingDelete).Proof.Events, time.Now()); err != nil || reads.Load() != 1 {
			t.Errorf("%d reads, %v", reads.Load(), err)
		}
	})
}

// TestListsAreShared: looks at hundreds of targets in one list read it once, and so do jobs that want to know what their targets mean; a
// list that is older than the success of a job is read again.
func TestListsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads, calls atomic.Int64
		c := newClient(t, config(api(func(req *http.Request) *http.Response {
			pass(time.Second)
			if req.Method == http.MethodDelete {
				calls.Add(1)
				return reply(204, "")
			}
			reads.Add(1)
			return reply(200, `{"results":[`+`{"id":"`+idC+`","externalGroupName":"admins","roleAssignments":[]}`+`],"totalCount":1}`)
		})))
		check := kinds.Of(kinds.RoleMappingDelete).Proof.Checks[1]
		together := func(age time.Duration) {
			var looks sync.WaitGroup
			for range 100 {
				looks.Go(func() {
					check := check
					check.Age = age
					if seen, err := c.Read(t.Context(), job(t, kinds.RoleMappingDelete, "service"), check); err != nil || len(seen.Elements) != 1 {
						t.Errorf("%+v, %v", seen, err)
					}
				})
			}
			looks.Wait()
		}
		if together(time.Hour); reads.Load() != 1 {
			t.Errorf("%d reads for 100 watched targets", reads.Load())
		}
		pass(time.Second)
		if together(time.Second); reads.Load() != 2 {
			t.Errorf("%d reads after a success", reads.Load())
		}
		var jobsDone sync.WaitGroup
		var known atomic.Int64
		for range 50 {
			jobsDone.Go(func() {
				j := job(t, kinds.RoleMappingDelete, "service")
				j.Lane = jobs.LaneBulk
				j.KeepMeaning = func(_ context.Context, meaning map[string]string) error {
					if meaning["group"] == "admins" {
						known.Add(1)
					}
					return nil
				}
				if _, err := c.Revoke(t.Context(), j); err != nil {
					t.Error(err)
				}
			})
		}
		if jobsDone.Wait(); reads.Load() > 3 || calls.Load() != 50 || known.Load() != 50 {
			t.Errorf("%d reads for %d calls, %d meanings", reads.Load(), calls.Load(), known.Load())
		}
	})
}

// TestEventTypesThatTheAPIRefuses: types of other kinds must not cost a kind its evidence.
func TestEventTypesThatTheAPIRefuses(t *testing.T) {
	var asked [][]string
	c := newClient(t, config(api(func(req *http.Request) *http.Response {
		types := req.URL.Query()["eventType"]
		if asked = append(asked, types); len(types) > 1 {
			return reply(400, adminProblem(400, "INVALID_ENUM_VALUE", "x"))
		}
		return reply(200, `{"results":[],"totalCount":0}`)
	})))
	for range 2 {
		if _, err := c.Events(t.Context(), job(t, kinds.RoleMappingDelete, "service"), []string{"ROLE_MAPPING_DELETED"}, time.Now()); err != nil {
			t.Error(err)
		}
	}
	if len(asked) != 3 || len(asked[0]) < 5 || len(asked[2]) != 1 {
		t.Errorf("asked for %v", asked)
	}
}

// TestEventLogWithoutRole says which role is missing.
func TestEventLogWithoutRole(t *testing.T) {
	c := newClient(t, config(api(func(*http.Request) *http.Response { return reply(401, adminProblem(401, "USER_UNAUTHORIZED", "x")) })))
	_, err := c.Events(t.Context(), job(t, kinds.RoleMappingDelete, "service"), []string{"ROLE_MAPPING_DELETED"}, time.Now())
	if f, _ := errors.AsType[*jobs.Failure](err); f == nil || f.Reason != jobs.ReasonForbidden || !strings.Contains(f.Err.Error(), "Organization Member") {
		t.Errorf("failure %v", err)
	}
}
