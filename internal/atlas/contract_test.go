package atlas_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// accept is what ATLAS's documentation asks each operation to send, written out once more.
var accept = map[jobs.Kind]string{
	kinds.TokenRevoke:       "POST /api/oauth/revoke application/json",
	kinds.JWKSRevoke:        "DELETE /api/atlas/v2/federationSettings/" + idA + "/identityProviders/" + idB + "/jwks application/vnd.atlas.2025-02-19+json",
	kinds.IDPDelete:         "DELETE /api/atlas/v2/federationSettings/" + idA + "/identityProviders/" + idB + " application/vnd.atlas.2025-03-12+json",
	kinds.RoleMappingDelete: "DELETE /api/atlas/v2/federationSettings/" + idA + "/connectedOrgConfigs/" + idB + "/roleMappings/" + idC + " application/vnd.atlas.2024-10-23+json",
	kinds.X509Disable:       "DELETE /api/atlas/v2/groups/" + idA + "/userSecurity/customerX509 application/vnd.atlas.2023-01-01+json",

	kinds.ServiceAccountSecretDelete: "DELETE /api/atlas/v2/orgs/" + idA + "/serviceAccounts/" + leakedClient + "/secrets/" + idB + " application/vnd.atlas.2024-08-05+json",
	kinds.ServiceAccountDelete:       "DELETE /api/atlas/v2/orgs/" + idA + "/serviceAccounts/" + leakedClient + " application/vnd.atlas.2024-08-05+json",
	kinds.APIKeyDelete:               "DELETE /api/atlas/v2/orgs/" + idA + "/apiKeys/" + idB + " application/vnd.atlas.2023-01-01+json",
	kinds.DatabaseUserDelete:         "DELETE /api/atlas/v2/groups/" + idA + "/databaseUsers/$external/CN=a%2Fb%2CO=c%20d application/vnd.atlas.2023-01-01+json",
	kinds.DatabaseUserScramble:       "PATCH /api/atlas/v2/groups/" + idA + "/databaseUsers/admin/report%2F..%2F%C3%A9 application/vnd.atlas.2023-01-01+json",
	kinds.OrgUserRemove:              "DELETE /api/atlas/v2/orgs/" + idA + "/users/" + idB + " application/vnd.atlas.2025-02-19+json",
	kinds.ProjectUserRemove:          "DELETE /api/atlas/v2/groups/" + idA + "/users/" + idB + " application/vnd.atlas.2025-02-19+json",
}

// good are the statuses that are a success.
var good = map[jobs.Kind][]int{
	kinds.TokenRevoke:       {200},
	kinds.JWKSRevoke:        {204},
	kinds.IDPDelete:         {204},
	kinds.RoleMappingDelete: {204},
	kinds.X509Disable:       {202, 200, 204},

	kinds.ServiceAccountSecretDelete: {204},
	kinds.ServiceAccountDelete:       {204},
	kinds.APIKeyDelete:               {204},
	kinds.DatabaseUserDelete:         {204},
	kinds.DatabaseUserScramble:       {200},
	kinds.OrgUserRemove:              {204},
	kinds.ProjectUserRemove:          {204},
}

// endless never ends; cut ends in an error.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

type cut struct{ rest io.Reader }

func (c cut) Read(p []byte) (int, error) {
	n, err := c.rest.Read(p)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// bodyCase is a body that any answer can have.
type bodyCase struct {
	name        string
	contentType string
	body        func(status int) io.Reader
	empty       bool  // A success can have it.
	admin       bool  // It is the Admin API's error document.
	statuses    []int // Default all.
}

// few are the statuses that differ most.
var few = []int{200, 202, 204, 302, 400, 401, 403, 404, 409, 429, 500, 502, 503}

func bodyCases() []bodyCase {
	text := func(s string) func(int) io.Reader { return func(int) io.Reader { return strings.NewReader(s) } }
	problem := func(status int) io.Reader {
		return strings.NewReader(adminProblem(status, "SOME_CODE", "Some detail."))
	}
	return []bodyCase{
		{name: "empty", body: text(""), empty: true},
		{name: "white space", body: text(" \n"), empty: true},
		{name: "admin", contentType: "application/json", body: problem, admin: true},
		{name: "oauth", contentType: "application/json", body: text(`{"error":"invalid_request","error_description":"Some."}`)},
		{name: "html", contentType: "text/html; charset=utf-8", body: text("<html><h1>Sorry</h1></html>")},
		{name: "html without type", body: text("\n<!DOCTYPE html>")},
		{name: "cut", contentType: "application/json", body: func(s int) io.Reader { return cut{io.LimitReader(problem(s), 20)} }},
		{name: "endless", body: func(int) io.Reader { return endless{} }, statuses: few},
		{name: "too long", contentType: "application/json", statuses: few, body: func(s int) io.Reader {
			return io.MultiReader(strings.NewReader(strings.Repeat(" ", 1<<20)), problem(s))
		}},
	}
}

// among lists the statuses that can occur: the registered ones, those that proxies and clouds have
// made up, and the ends of the ranges.
func (b bodyCase) among() []int {
	if b.statuses != nil {
		return b.statuses
	}
	var all []int
	for status := 200; status <= 599; status++ {
		odd := []int{299, 399, 419, 420, 430, 440, 444, 449, 460, 463, 494, 495, 496, 497, 498, 499, 509, 561, 598, 599}
		if http.StatusText(status) != "" || slices.Contains(odd, status) || status >= 520 && status <= 530 {
			all = append(all, status)
		}
	}
	return all
}

// wantReason is the contract, status by status.
func wantReason(status int, b bodyCase) jobs.Reason {
	switch status {
	case 401:
		return jobs.ReasonUnauthorized
	case 403:
		return jobs.ReasonForbidden
	case 404, 410:
		if b.admin || b.empty {
			return jobs.ReasonNotFound
		}
		return jobs.ReasonProtocol
	case 408, 425:
		return jobs.ReasonUnavailable
	case 409:
		return jobs.ReasonConflict
	case 429:
		return jobs.ReasonRateLimited
	}
	switch status / 100 {
	case 4:
		return jobs.ReasonInvalid
	case 5:
		return jobs.ReasonUnavailable
	}
	return jobs.ReasonProtocol
}

func wantMaybeEffective(status int) bool {
	return status < 400 || status >= 500 && status != 503
}

// TestContract runs every operation against every status and every kind of body, and with an API key against those that differ most.
func TestContract(t *testing.T) {
	for _, kind := range kinds.Calling() {
		for _, account := range []string{"service", "key"} {
			if kind == kinds.TokenRevoke && account == "key" {
				continue
			}
			for _, b := range bodyCases() {
				t.Run(fmt.Sprintf("%s/%s/%s", kind, account, b.name), func(t *testing.T) {
					statuses := b.among()
					if account == "key" { // Both ways of authentication have one way of reading answers.
						statuses = few
					}
					for _, status := range statuses {
						checkContract(t, job(t, kind, account), status, b)
					}
				})
			}
		}
	}
}

// sent is an answer to the kind's request.
func sent(kind jobs.Kind, answer jobs.Answer) jobs.Answer {
	answer.Method, answer.Path, _ = strings.Cut(accept[kind], " ")
	answer.Path, _, _ = strings.Cut(answer.Path, " ")
	return answer
}

func checkContract(t *testing.T, j jobs.Job, status int, b bodyCase) {
	t.Helper()
	c := newClient(t, config(transportFunc(func(req *http.Request) (*http.Response, error) {
		if isTokenRequest(req) {
			return issue(bearerToken, 3600), nil
		}
		if req.Method == http.MethodGet && kinds.Of(j.Kind).Ends != nil {
			return reply(200, documentAt(t, req), "Content-Type", "application/json"), nil
		}
		if got := req.Method + " " + req.URL.EscapedPath() + " " + req.Header.Get("Accept"); got != accept[j.Kind] {
			t.Errorf("the request is %s, want %s", got, accept[j.Kind])
		}
		return replyBody(status, io.NopCloser(b.body(status)), "Content-Type", b.contentType, "X-Request-Id", "req-1"), nil
	})))
	answer, err := c.Revoke(t.Context(), j)
	if slices.Contains(good[j.Kind], status) && b.empty {
		if want := sent(j.Kind, jobs.Answer{Status: status, RequestID: "req-1"}); err != nil || answer != want {
			t.Errorf("status %d: Revoke() = %+v, %v, want %+v", status, answer, err, want)
		}
		return
	}
	f := failureOf(t, answer, err)
	if want := wantReason(status, b); f.Reason != want {
		t.Errorf("status %d: reason %s, want %s (%v)", status, f.Reason, want, f)
	}
	if want := wantMaybeEffective(status); f.MaybeEffective != want {
		t.Errorf("status %d: maybe effective %v, want %v", status, f.MaybeEffective, want)
	}
	wantCode := ""
	if b.admin {
		wantCode = "SOME_CODE"
	} else if b.name == "oauth" {
		wantCode = "invalid_request"
	}
	if want := sent(j.Kind, jobs.Answer{Status: status, Code: wantCode, RequestID: "req-1"}); f.Answer != want {
		t.Errorf("status %d: answer %+v, want %+v", status, f.Answer, want)
	}
	if !strings.HasPrefix(f.Err.Error(), fmt.Sprintf("HTTP %d", status)) || len(f.Err.Error()) > 500 {
		t.Errorf("status %d: error %q", status, f.Err)
	}
}

// TestContractToken runs the request for a token against every status and body: whatever it
// is answered, nothing was done to the target.
func TestContractToken(t *testing.T) {
	for _, b := range bodyCases() {
		t.Run(b.name, func(t *testing.T) {
			for _, status := range b.among() {
				c := newClient(t, config(transportFunc(func(req *http.Request) (*http.Response, error) {
					if !isTokenRequest(req) {
						t.Errorf("status %d: the call was made without a token", status)
					}
					return replyBody(status, io.NopCloser(b.body(status)), "Content-Type", b.contentType), nil
				})))
				f := revokeFails(t, c, job(t, kinds.JWKSRevoke, "service"))
				want := wantReason(status, b)
				if want == jobs.ReasonNotFound {
					want = jobs.ReasonProtocol // It is not the target that was not found.
				}
				if f.Reason != want || f.MaybeEffective || f.Answer.Status != status {
					t.Errorf("status %d: %+v, want reason %s and not maybe effective", status, f, want)
				}
				if !strings.HasPrefix(f.Err.Error(), "fetching a bearer token: HTTP ") {
					t.Errorf("status %d: error %q", status, f.Err)
				}
			}
		})
	}
}

// TestCodes are the answers that their errorCode explains better than their status.
func TestCodes(t *testing.T) {
	oauth := func(code string) string { return fmt.Sprintf(`{"error":%q,"error_description":"Some text."}`, code) }
	tests := []struct {
		name          string
		kind          jobs.Kind
		status        int
		body          string
		wantReason    jobs.Reason
		wantCode      string
		wantEffective bool
		wantUnproven  bool
	}{
		{name: "rate limit as 400", kind: kinds.IDPDelete, status: 400, body: adminProblem(400, "RATE_LIMITED", "x"), wantReason: jobs.ReasonRateLimited, wantCode: "RATE_LIMITED"},
		{name: "rate limit as 500", kind: kinds.IDPDelete, status: 500, body: adminProblem(500, "ORG_RATE_LIMITED_X", "x"), wantReason: jobs.ReasonRateLimited, wantCode: "ORG_RATE_LIMITED_X"},
		{name: "oauth rate limit as 400", kind: kinds.TokenRevoke, status: 400, body: oauth("rate_limited"), wantReason: jobs.ReasonRateLimited, wantCode: "rate_limited"},
		{name: "oauth client as 400", kind: kinds.TokenRevoke, status: 400, body: oauth("invalid_client"), wantReason: jobs.ReasonUnauthorized, wantCode: "invalid_client"},
		{name: "oauth denied as 400", kind: kinds.TokenRevoke, status: 400, body: oauth("access_denied"), wantReason: jobs.ReasonForbidden, wantCode: "access_denied"},
		{name: "oauth grant", kind: kinds.TokenRevoke, status: 400, body: oauth("invalid_grant"), wantReason: jobs.ReasonInvalid, wantCode: "invalid_grant"},
		{name: "oauth server error with 200", kind: kinds.TokenRevoke, status: 200, body: oauth("server_error"), wantReason: jobs.ReasonUnavailable, wantCode: "server_error", wantEffective: true},
		{name: "oauth error with 200", kind: kinds.TokenRevoke, status: 200, body: oauth("invalid_request"), wantReason: jobs.ReasonProtocol, wantCode: "invalid_request", wantEffective: true},
		{name: "oauth client with 302", kind: kinds.TokenRevoke, status: 302, body: oauth("invalid_client"), wantReason: jobs.ReasonProtocol, wantCode: "invalid_client", wantEffective: true},
		{name: "oauth 404 is not about the token", kind: kinds.TokenRevoke, status: 404, body: oauth("not_found"), wantReason: jobs.ReasonProtocol, wantCode: "not_found"},
		{name: "not found as 400", kind: kinds.RoleMappingDelete, status: 400, body: adminProblem(400, "ROLE_MAPPING_NOT_FOUND", "x"), wantReason: jobs.ReasonNotFound, wantCode: "ROLE_MAPPING_NOT_FOUND"},
		{name: "not found without code", kind: kinds.RoleMappingDelete, status: 404, body: `{"error":404,"detail":"x"}`, wantReason: jobs.ReasonNotFound},
		{name: "not found as 500 is no proof", kind: kinds.RoleMappingDelete, status: 500, body: adminProblem(500, "X_NOT_FOUND", "x"), wantReason: jobs.ReasonUnavailable, wantCode: "X_NOT_FOUND", wantEffective: true},
		{name: "gone", kind: kinds.IDPDelete, status: 410, body: adminProblem(410, "RESOURCE_GONE", "x"), wantReason: jobs.ReasonNotFound, wantCode: "RESOURCE_GONE"},
		{name: "our version is gone", kind: kinds.IDPDelete, status: 410, body: adminProblem(410, "VERSION_GONE", "x"), wantReason: jobs.ReasonInvalid, wantCode: "VERSION_GONE"},
		{name: "other JSON with 404", kind: kinds.IDPDelete, status: 404, body: `{"message":"no Route matched"}`, wantReason: jobs.ReasonProtocol},
		{name: "JSON of other types with 404", kind: kinds.IDPDelete, status: 404, body: `{"error":{"code":404},"errorCode":7}`, wantReason: jobs.ReasonProtocol},
		{name: "404 without a body is no evidence", kind: kinds.IDPDelete, status: 404, wantReason: jobs.ReasonNotFound, wantUnproven: true},
		{name: "array with 404", kind: kinds.IDPDelete, status: 404, body: `[{"error":404}]`, wantReason: jobs.ReasonProtocol},
		{name: "code that is no code", kind: kinds.IDPDelete, status: 409, body: adminProblem(409, "a b\nc", "x"), wantReason: jobs.ReasonConflict},
		{name: "prose with 202", kind: kinds.X509Disable, status: 202, body: "queued by the gateway", wantReason: jobs.ReasonProtocol, wantEffective: true},
		{name: "prose with 200", kind: kinds.X509Disable, status: 200, body: "OK", wantReason: jobs.ReasonProtocol, wantEffective: true},
		{name: "half a document with 202", kind: kinds.X509Disable, status: 202, body: `{"customerX509":`, wantReason: jobs.ReasonProtocol, wantEffective: true},
		{name: "an array with 202", kind: kinds.X509Disable, status: 202, body: `[]`, wantReason: jobs.ReasonProtocol, wantEffective: true},
		{name: "error document with 202", kind: kinds.X509Disable, status: 202, body: adminProblem(409, "CONFLICT", "x"), wantReason: jobs.ReasonProtocol, wantCode: "CONFLICT", wantEffective: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newClient(t, config(transportFunc(func(req *http.Request) (*http.Response, error) {
				if isTokenRequest(req) {
					return issue(bearerToken, 3600), nil
				}
				return reply(tt.status, tt.body), nil
			})))
			f := revokeFails(t, c, job(t, tt.kind, "service"))
			if f.Reason != tt.wantReason || f.Answer.Code != tt.wantCode || f.MaybeEffective != tt.wantEffective || f.Unproven != tt.wantUnproven {
				t.Errorf("got %+v (%v), want %s, code %q, maybe effective %v", f, f, tt.wantReason, tt.wantCode, tt.wantEffective)
			}
		})
	}
}

// TestSuccessBodies are bodies that a success may have.
func TestSuccessBodies(t *testing.T) {
	tests := []struct {
		name, body string
		kind       jobs.Kind
		status     int
	}{
		{name: "user security document", kind: kinds.X509Disable, status: 202, body: `{"customerX509":{"cas":""},"ldap":{}}`},
		{name: "no error in JSON", kind: kinds.TokenRevoke, status: 200, body: `{}`},
		{name: "null error", kind: kinds.TokenRevoke, status: 200, body: `{"error":null}`},
		{name: "some text", kind: kinds.TokenRevoke, status: 200, body: `OK`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newClient(t, config(transportFunc(func(req *http.Request) (*http.Response, error) {
				if isTokenRequest(req) {
					return issue(bearerToken, 3600), nil
				}
				return reply(tt.status, tt.body, "Content-Type", "text/plain"), nil
			})))
			if got := revokeWorks(t, c, job(t, tt.kind, "service")); got.Status != tt.status {
				t.Errorf("status %d, want %d", got.Status, tt.status)
			}
		})
	}
}
