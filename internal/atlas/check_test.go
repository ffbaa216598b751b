package atlas_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"rekey/internal/atlas"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// found are ids that a search of the job has found.
func found(j jobs.Job, ids map[string]string) jobs.Job {
	j.Search = &jobs.Search{Done: true, Count: 1, Found: []map[string]string{ids}}
	return j
}

// look makes all checks of a job, and returns what they show, as "check: shows".
func look(t *testing.T, c *atlas.Client, j jobs.Job, notes map[string]map[string]string, meaning map[string]string) (shown map[string]kinds.Finding) {
	t.Helper()
	shown = map[string]kinds.Finding{}
	kind := kinds.Of(j.Kind)
	for _, check := range kind.Checks(j.Params.Has, true) {
		seen, err := c.Read(t.Context(), j, check)
		if err != nil {
			t.Fatalf("check %s: %v", check.Name, err)
		}
		seen.Value, seen.Notes, seen.Meaning, seen.Changed = func(name string) string {
			if id, ok := j.Search.Only()[name]; ok {
				return id
			}
			return j.Params.Get(name)
		}, notes[check.Name], meaning, j.AcceptedAt
		seen.At = time.Now()
		shown[check.Name] = check.Judge(seen)
		if notes != nil && shown[check.Name].Notes != nil {
			notes[check.Name] = shown[check.Name].Notes
		}
	}
	return shown
}

// all are what the checks show, if that is the same.
func all(shown map[string]kinds.Finding) kinds.Shows {
	var one kinds.Shows
	for _, f := range shown {
		if one != "" && f.Shows != one {
			return kinds.Shows(fmt.Sprint(shown))
		}
		one = f.Shows
	}
	return one
}

// TestChecksOfEveryKind: before the call every target is alive, and afterwards it is dead, as an account of either sort sees it.
func TestChecksOfEveryKind(t *testing.T) {
	for _, account := range []string{"service", "key"} {
		t.Run(account, func(t *testing.T) {
			box, c := sandboxClient(t, sandbox.Config{RestartAfter: time.Nanosecond, RestartFor: time.Nanosecond, ApplyFor: time.Nanosecond})
			leaked, _ := box.Secret(sandbox.KeptSecretID)
			tests := []struct {
				kind          jobs.Kind
				params        map[string]any
				found         map[string]string
				before, after kinds.Shows // Empty: several, or nothing is read.
			}{
				{kind: kinds.TokenRevoke, params: map[string]any{"token": box.MintToken(sandbox.ClientID)}, before: kinds.ShowsAlive, after: kinds.ShowsDead},
				{kind: kinds.JWKSRevoke, params: map[string]any{"federation_id": sandbox.FederationID, "identity_provider_id": sandbox.LockedIdentityProviderID}},
				{kind: kinds.IDPDelete, params: map[string]any{"federation_id": sandbox.FederationID, "identity_provider_id": sandbox.IdentityProviderID}, before: kinds.ShowsAlive, after: kinds.ShowsDead},
				{kind: kinds.RoleMappingDelete, params: map[string]any{
					"federation_id": sandbox.FederationID, "org_id": sandbox.OrgID, "role_mapping_id": sandbox.RoleMappingID,
				}, before: kinds.ShowsAlive, after: kinds.ShowsDead},
				{kind: kinds.X509Disable, params: map[string]any{"project_id": sandbox.ProjectID}, after: kinds.ShowsDead},
				{kind: kinds.ServiceAccountSecretDelete, params: map[string]any{
					"project_id": sandbox.ProjectID, "client_id": sandbox.LeakedClientID, "secret_id": sandbox.LeakedSecretID,
				}, before: kinds.ShowsAlive, after: kinds.ShowsDead},
				{kind: kinds.ServiceAccountSecretDelete, params: map[string]any{"org_id": sandbox.OrgID, "secret": leaked}, found: map[string]string{
					"client_id": sandbox.LeakedClientID, "secret_id": sandbox.KeptSecretID,
				}, before: kinds.ShowsAlive, after: kinds.ShowsDead},
				{kind: kinds.ServiceAccountDelete, params: map[string]any{"org_id": sandbox.OrgID, "client_id": sandbox.SpareClientID}, before: kinds.ShowsAlive, after: kinds.ShowsDead},
				{kind: kinds.APIKeyDelete, params: map[string]any{"org_id": sandbox.OrgID, "public_key": sandbox.LeakedPublicKey}, found: map[string]string{
					"api_key_id": sandbox.LeakedAPIKeyID,
				}, before: kinds.ShowsAlive, after: kinds.ShowsDead},
				{kind: kinds.DatabaseUserDelete, params: map[string]any{
					"project_id": sandbox.ProjectID, "username": sandbox.DatabaseExternalUser, "auth_database": "$external",
				}, after: kinds.ShowsDead},
				{kind: kinds.DatabaseUserScramble, params: map[string]any{"project_id": sandbox.ProjectID, "username": sandbox.DatabaseUser}},
				{kind: kinds.ProjectUserRemove, params: map[string]any{"project_id": sandbox.ProjectID, "user_id": sandbox.UserID}, before: kinds.ShowsAlive, after: kinds.ShowsDead},
				{kind: kinds.OrgUserRemove, params: map[string]any{"org_id": sandbox.OrgID, "user_id": sandbox.UserID}, before: kinds.ShowsAlive, after: kinds.ShowsDead},
			}
			for _, tt := range tests {
				account := account
				if tt.kind == kinds.TokenRevoke {
					account = "service"
				}
				j := jobWith(t, tt.kind, account, tt.params)
				j.AcceptedAt = time.Now().Add(-time.Second)
				if tt.found != nil {
					j = found(j, tt.found)
				}
				var meaning map[string]string
				before := look(t, c, j, nil, nil)
				called := time.Now()
				j.KeepMeaning = func(_ context.Context, read map[string]string) error {
					meaning = read
					before = look(t, c, j, nil, meaning) //nolint:contextcheck // It is before the call, and has the test's context.
					called = time.Now()
					return nil
				}
				if _, err := c.Revoke(t.Context(), j); err != nil {
					t.Fatalf("%s: %v", tt.kind, err)
				}
				j.AcceptedAt = called
				if declared := kinds.Of(tt.kind).Proof.Meaning != nil; declared != (meaning != nil) {
					t.Errorf("%s: meaning %v", tt.kind, meaning)
				}
				after := look(t, c, j, nil, meaning)
				if tt.before != "" && all(before) != tt.before || tt.after != "" && all(after) != tt.after {
					t.Errorf("%s: before %v, after %v", tt.kind, before, after)
				}
				events, err := c.Events(t.Context(), j, kinds.Of(tt.kind).Proof.Events, called)
				if err != nil || len(events) == 0 || !events[len(events)-1].Own || events[len(events)-1].ID == "" {
					t.Errorf("%s: events %+v, %v", tt.kind, events, err)
				}
				if target := kinds.Of(tt.kind).Proof.TargetParam; target != "" && j.Params.Get(target) != "" && len(events) > 0 && !events[len(events)-1].Names {
					t.Errorf("%s: the event does not name its target: %+v", tt.kind, events)
				}
			}
			for _, a := range box.State().Accounts {
				if a.ID == sandbox.LeakedClientID && a.LiveTokens != 0 {
					t.Errorf("a check left %d tokens of the leaked secret", a.LiveTokens)
				}
			}
		})
	}
}

// api is an API of the tests: it issues tokens to the accounts, and answers the rest as the test says.
func api(answer func(req *http.Request) *http.Response) transportFunc {
	return func(req *http.Request) (*http.Response, error) {
		if _, secret, _ := req.BasicAuth(); isTokenRequest(req) && strings.Contains(secret, "canary") {
			return issue(bearerToken, 3600), nil
		}
		return answer(req), nil
	}
}

// readFirst makes the first check of a job.
func readFirst(t *testing.T, c *atlas.Client, j jobs.Job) (kinds.Seen, error) {
	t.Helper()
	kind := kinds.Of(j.Kind)
	return c.Read(t.Context(), j, kind.Checks(j.Params.Has, true)[0])
}

// replyAgain is an answer that was perhaps given before: a refused account tries again.
func replyAgain(once *http.Response) *http.Response {
	text, err := io.ReadAll(once.Body)
	if err != nil {
		return nil
	}
	once.Body = io.NopCloser(strings.NewReader(string(text)))
	again := *once
	again.Body = io.NopCloser(strings.NewReader(string(text)))
	return &again
}

const asJSON = "application/json"

// TestReadOfATarget: what does not come from the API itself, or is about the caller, shows nothing of the target.
func TestReadOfATarget(t *testing.T) {
	tests := []struct {
		name       string
		answer     *http.Response
		wantStatus int
		wantReason jobs.Reason
	}{
		{name: "gone", answer: reply(404, adminProblem(404, "RESOURCE_NOT_FOUND", "x")), wantStatus: 404},
		{name: "there", answer: reply(200, `{"id":"`+idC+`"}`), wantStatus: 200},
		{name: "another one", answer: reply(200, `{"id":"`+idB+`"}`), wantReason: jobs.ReasonProtocol},
		{name: "JSON of something else", answer: reply(200, `{"hello":1}`), wantReason: jobs.ReasonProtocol},
		{name: "no role", answer: reply(401, adminProblem(401, "USER_UNAUTHORIZED", "x")), wantStatus: 401},
		{name: "forbidden", answer: reply(403, adminProblem(403, "ORG_REQUIRES_X", "x")), wantStatus: 403},
		{name: "404 of a gateway", answer: reply(404, ""), wantReason: jobs.ReasonProtocol},
		{name: "404 of a proxy", answer: reply(404, "<html>"), wantReason: jobs.ReasonProtocol},
		{name: "404 of another API", answer: reply(404, `{"message":"no route"}`), wantReason: jobs.ReasonProtocol},
		{name: "403 of a proxy", answer: reply(403, ""), wantReason: jobs.ReasonForbidden},
		{name: "wrong network", answer: reply(403, adminProblem(403, "IP_ADDRESS_NOT_ON_ACCESS_LIST", "x")), wantReason: jobs.ReasonForbidden},
		{name: "bad credentials", answer: reply(401, `{"error":401}`), wantReason: jobs.ReasonUnauthorized},
		{name: "no JSON", answer: reply(200, "ok"), wantReason: jobs.ReasonProtocol},
		{name: "an error with 200", answer: reply(200, adminProblem(404, "RESOURCE_NOT_FOUND", "x")), wantReason: jobs.ReasonProtocol},
		{name: "too long", answer: reply(200, `{"a":"`+strings.Repeat("x", 1<<20)+`"}`), wantReason: jobs.ReasonProtocol},
		{name: "rate limit", answer: reply(429, "", "Retry-After", "9"), wantReason: jobs.ReasonRateLimited},
		{name: "server", answer: reply(500, adminProblem(500, "UNEXPECTED_ERROR", "x")), wantReason: jobs.ReasonUnavailable},
		{name: "version", answer: reply(406, adminProblem(406, "INVALID_VERSION_DATE", "x")), wantReason: jobs.ReasonInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newClient(t, config(api(func(*http.Request) *http.Response { return replyAgain(tt.answer) })))
			seen, err := readFirst(t, c, job(t, kinds.RoleMappingDelete, "service"))
			if f, _ := errors.AsType[*jobs.Failure](err); seen.Status != tt.wantStatus || (f == nil) != (tt.wantReason == "") || f != nil && (f.Reason != tt.wantReason || f.MaybeEffective) {
				t.Errorf("%+v, %v, want %d or %s", seen, err, tt.wantStatus, tt.wantReason)
			}
		})
	}
}

// TestCheckPausesTheBucketOfTheCall: a check that the API limits holds up the jobs of its bucket, too, as the API wants it.
func TestCheckPausesTheBucketOfTheCall(t *testing.T) {
	c := newClient(t, config(api(func(*http.Request) *http.Response { return reply(429, "", "Retry-After", "30") })))
	j := job(t, kinds.RoleMappingDelete, "service")
	_, err := readFirst(t, c, j)
	if f, _ := errors.AsType[*jobs.Failure](err); f == nil || time.Until(f.RetryAt) < 25*time.Second {
		t.Errorf("failure %+v", f)
	}
	if at := permit(t, c, j); time.Until(at) < 25*time.Second {
		t.Errorf("a job of the bucket may call at %s", at)
	}
	if at := permit(t, c, job(t, kinds.X509Disable, "service")); !at.IsZero() {
		t.Errorf("a job of another bucket may call at %s", at)
	}
}

// TestListOfACheck: a list is whole, or it shows nothing.
func TestListOfACheck(t *testing.T) {
	page := func(n, total int) string {
		elements := []string{}
		for i := range n {
			elements = append(elements, fmt.Sprintf(`{"id":"%d of NUMBER"}`, i))
		}
		return fmt.Sprintf(`{"results":[%s],"totalCount":%d}`, strings.Join(elements, ","), total)
	}
	tests := []struct {
		name  string
		pages []string // The last one is that of all further numbers.
		want  int      // Elements; -1 for a failure.
	}{
		{"empty", []string{page(0, 0)}, 0},
		{"one page", []string{page(3, 3)}, 3},
		{"two pages", []string{page(100, 120), page(20, 120)}, 120},
		{"smaller pages than asked for", []string{page(10, 15), page(5, 15)}, 15},
		{"without a count", []string{page(100, 0), page(3, 0)}, 103},
		{"ends before its end", []string{page(10, 50), page(0, 50)}, -1},
		{"endless", []string{page(100, 0)}, -1},
		{"the same page again", []string{strings.ReplaceAll(page(100, 150), "NUMBER", "1")}, -1},
		{"an element was added before the next page", []string{`{"results":[{"id":"a"},{"id":"b"}],"totalCount":3}`, `{"results":[{"id":"b"},{"id":"c"}],"totalCount":3}`}, 3},
		{"no list", []string{`{"results":null}`}, -1},
		{"another type", []string{`{"results":{}}`}, -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			read := 0
			c := newClient(t, config(api(func(req *http.Request) *http.Response {
				if want := fmt.Sprint(read + 1); req.URL.Query().Get("pageNum") != want || len(req.URL.Query()["protocol"]) != 2 {
					t.Errorf("the query is %s, want page %s", req.URL.RawQuery, want)
				}
				read++
				return reply(200, strings.ReplaceAll(tt.pages[min(read, len(tt.pages))-1], "NUMBER", fmt.Sprint(read)))
			})))
			seen, err := c.Read(t.Context(), job(t, kinds.IDPDelete, "service"), kinds.Of(kinds.IDPDelete).Proof.Checks[1])
			if got := len(seen.Elements); (err != nil) != (tt.want < 0) || err == nil && got != tt.want {
				t.Errorf("%d elements, %v, want %d", got, err, tt.want)
			}
		})
	}
}

// TestCheckOfTheOlderPath: what an account reads of itself is where the configuration says that the call is.
func TestCheckOfTheOlderPath(t *testing.T) {
	for version, want := range map[string]string{
		atlas.X509APIv10: "/api/atlas/v1.0/groups/" + idA + "/userSecurity application/json",
		atlas.X509APIv2:  "/api/atlas/v2/groups/" + idA + "/userSecurity application/vnd.atlas.2023-01-01+json",
	} {
		cfg := config(api(func(req *http.Request) *http.Response {
			if got := req.URL.Path + " " + req.Header.Get("Accept"); got != want {
				t.Errorf("reads %s, want %s", got, want)
			}
			return reply(http.StatusOK, `{"customerX509":{}}`)
		}))
		cfg.X509API = version
		if seen, err := readFirst(t, newClient(t, cfg), job(t, kinds.X509Disable, "service")); err != nil || seen.Status != http.StatusOK {
			t.Errorf("%s: %+v, %v", version, seen, err)
		}
	}
}

// TestLogIsReadBeforeTheState: a restart that begins between the two reads is in the log, and the state of before it looks like that of
// after it.
func TestLogIsReadBeforeTheState(t *testing.T) {
	var order []string
	c := newClient(t, config(api(func(req *http.Request) *http.Response {
		switch last := path.Base(req.URL.Path); last {
		case "events", "clusters":
			order = append(order, last)
		}
		return reply(http.StatusOK, `{"results":[],"totalCount":0}`)
	})))
	check := kinds.Of(kinds.X509Disable).Proof.Checks[1]
	check.Age = time.Hour
	for range 2 { // The second time, the state must not come out of a cache.
		if _, err := c.Read(t.Context(), job(t, kinds.X509Disable, "service"), check); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(order, []string{"events", "clusters", "clusters"}) && !slices.Equal(order, []string{"events", "clusters", "events", "clusters"}) {
		t.Errorf("read in the order %q", order)
	}
}
