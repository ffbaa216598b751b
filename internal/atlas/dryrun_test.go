package atlas_test

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"rekey/internal/atlas"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// watched answers requests and remembers them as "METHOD path".
type watched struct {
	mu   sync.Mutex // Guards seen.
	seen []string
	read func(*http.Request) *http.Response // What a reading request is answered with.
}

func (w *watched) RoundTrip(req *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, req.Method+" "+req.URL.EscapedPath())
	switch {
	case isTokenRequest(req):
		return issue(bearerToken, 3600), nil
	case strings.HasPrefix(req.Header.Get("Authorization"), "Bearer"), strings.HasPrefix(req.Header.Get("Authorization"), "Digest"):
		return w.read(req), nil
	}
	return reply(401, "", "WWW-Authenticate", `Digest realm="MMS Public API", domain="", nonce="n1", algorithm=MD5, qop="auth", stale=false`), nil
}

// TestDryRunChangesNothing: every kind authenticates and looks, with both sorts of account,
// and no request that would change something leaves.
func TestDryRunChangesNothing(t *testing.T) {
	t.Parallel()
	idp := "GET /api/atlas/v2/federationSettings/" + idA + "/identityProviders/" + idB
	reads := map[jobs.Kind]string{
		kinds.JWKSRevoke: idp, kinds.IDPDelete: idp, kinds.X509Disable: "GET /api/atlas/v2/groups/" + idA + "/userSecurity",
		kinds.RoleMappingDelete: "GET /api/atlas/v2/federationSettings/" + idA + "/connectedOrgConfigs/" + idB + "/roleMappings/" + idC,

		kinds.ServiceAccountSecretDelete: "GET /api/atlas/v2/orgs/" + idA + "/serviceAccounts/" + leakedClient,
		kinds.ServiceAccountDelete:       "GET /api/atlas/v2/orgs/" + idA + "/serviceAccounts/" + leakedClient,
		kinds.APIKeyDelete:               "GET /api/atlas/v2/orgs/" + idA + "/apiKeys/" + idB,
		kinds.DatabaseUserDelete:         "GET /api/atlas/v2/groups/" + idA + "/databaseUsers/$external/CN=a%2Fb%2CO=c%20d",
		kinds.DatabaseUserScramble:       "GET /api/atlas/v2/groups/" + idA + "/databaseUsers/admin/report%2F..%2F%C3%A9",
		kinds.OrgUserRemove:              "GET /api/atlas/v2/orgs/" + idA + "/users/" + idB,
		kinds.ProjectUserRemove:          "GET /api/atlas/v2/groups/" + idA + "/users/" + idB,
	}
	shows := map[jobs.Kind]string{kinds.ServiceAccountSecretDelete: "the service account"}
	for _, kind := range kinds.Calling() {
		shows[kind] = cmp.Or(shows[kind], "the target")
	}
	// What cannot be looked at may be the worker's own.
	unguarded := slices.DeleteFunc(kinds.Calling()[1:], func(k jobs.Kind) bool { return kinds.Of(k).Ends != nil })
	const fetch = "POST /api/oauth/token"
	tests := []struct {
		name       string
		kinds      []jobs.Kind
		account    string
		change     func(*atlas.Config, *jobs.Job)
		status     int
		body       string
		want       func(jobs.Kind) []string
		wantDetail string
		wantReason jobs.Reason
	}{
		{name: "service account", kinds: kinds.Calling()[1:], account: "service", status: 200, want: func(k jobs.Kind) []string { return []string{fetch, reads[k]} }, wantDetail: " is there (HTTP 200)"},
		{name: "API key", kinds: kinds.Calling()[1:], account: "key", status: 200, want: func(k jobs.Kind) []string { return []string{reads[k], reads[k]} }, wantDetail: " is there (HTTP 200)"},
		{name: "token", kinds: kinds.Calling()[:1], account: "service", want: func(jobs.Kind) []string { return []string{fetch} }, wantDetail: "the account's credentials are good"},
		{name: "token of an API key", kinds: kinds.Calling()[:1], account: "key", want: func(jobs.Kind) []string { return nil }, wantReason: jobs.ReasonConfig},
		{
			name: "whole worker", kinds: kinds.Calling()[1:], account: "service", status: 200,
			change: func(cfg *atlas.Config, j *jobs.Job) { cfg.DryRun, j.DryRun = true, false },
			want:   func(k jobs.Kind) []string { return []string{fetch, reads[k]} }, wantDetail: " is there (HTTP 200)",
		},
		{
			name: "older path", kinds: []jobs.Kind{kinds.X509Disable}, account: "service", status: 200,
			change: func(cfg *atlas.Config, _ *jobs.Job) { cfg.X509API = atlas.X509APIv10 },
			want: func(jobs.Kind) []string {
				return []string{fetch, "GET /api/atlas/v1.0/groups/" + idA + "/userSecurity"}
			}, wantDetail: " is there (HTTP 200)",
		},
		{name: "not found", kinds: kinds.Calling()[1:], account: "service", status: 404, body: adminProblem(404, "RESOURCE_NOT_FOUND", "x"), want: func(k jobs.Kind) []string { return []string{fetch, reads[k]} }, wantDetail: " was not found (HTTP 404)"},
		{name: "cannot be read", kinds: unguarded, account: "service", status: 405, want: func(k jobs.Kind) []string { return []string{fetch, reads[k]} }, wantDetail: " could not be read (HTTP 405)"},
		{name: "forbidden", kinds: kinds.Calling()[1:], account: "service", status: 403, body: adminProblem(403, "USER_UNAUTHORIZED", "x"), want: func(k jobs.Kind) []string { return []string{fetch, reads[k]} }, wantReason: jobs.ReasonForbidden},
		{name: "unavailable", kinds: kinds.Calling()[1:], account: "service", status: 503, want: func(k jobs.Kind) []string { return []string{fetch, reads[k]} }, wantReason: jobs.ReasonUnavailable},
	}
	for _, tt := range tests {
		for _, kind := range tt.kinds {
			t.Run(tt.name+" "+string(kind), func(t *testing.T) {
				t.Parallel()
				w := &watched{read: func(req *http.Request) *http.Response {
					body := tt.body
					if tt.status == http.StatusOK {
						body = documentAt(t, req)
					}
					return reply(tt.status, body, "Content-Type", "application/json")
				}}
				cfg, j := config(w), job(t, kind, tt.account)
				j.DryRun = true
				if tt.change != nil {
					tt.change(&cfg, &j)
				}
				answer, err := newClient(t, cfg).Revoke(t.Context(), j)
				if !slices.Equal(w.seen, tt.want(kind)) {
					t.Errorf("requests %q, want %q", w.seen, tt.want(kind))
				}
				if tt.wantReason != "" {
					if failure := failureOf(t, answer, err); failure.Reason != tt.wantReason || failure.MaybeEffective {
						t.Errorf("failure %+v, want %s", failure, tt.wantReason)
					}
					return
				}
				if err != nil || !answer.DryRun || !strings.HasPrefix(answer.Detail, "dry run: ") ||
					!strings.Contains(answer.Detail, " was not sent; ") || !strings.HasSuffix(answer.Detail, tt.wantDetail) ||
					tt.status != 0 && !strings.Contains(answer.Detail, "; "+shows[kind]+" ") {
					t.Errorf("Revoke = %+v, %v; want %q", answer, err, tt.wantDetail)
				}
			})
		}
	}
}
