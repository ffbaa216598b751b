package sandbox

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Secrets that the tests choose.
const (
	testSecret     = "mdb_sa_sk_test+secret/1"
	testPrivateKey = "private-key-of-the-test"
)

// Paths of operations in the default world.
const (
	jwksPath  = "/api/atlas/v2/federationSettings/" + FederationID + "/identityProviders/" + IdentityProviderID + "/jwks"
	x509Path  = "/api/atlas/v2/groups/" + ProjectID + "/userSecurity/customerX509"
	x509PathV = "/api/atlas/v1.0/groups/" + ProjectID + "/userSecurity/customerX509"
)

// clock is a clock that only the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// fixture is a sandbox that is served, with a clock of its own.
type fixture struct {
	*Sandbox
	t     *testing.T
	url   string
	clock *clock
}

func newFixture(t *testing.T, cfg Config) *fixture {
	t.Helper()
	f := &fixture{t: t, clock: &clock{now: time.Date(2026, 5, 4, 3, 2, 1, 500, time.UTC)}}
	cfg.Now = f.clock.Now
	if cfg.Secrets == nil {
		cfg.Secrets = map[string]string{ClientID: testSecret, PublicKey: testPrivateKey}
	}
	var err error
	if f.Sandbox, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(f.Sandbox)
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

// request makes a request to the sandbox. Headers come in pairs.
func (f *fixture) request(method, path, body string, headers ...string) *http.Request {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), method, f.url+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

// reply is a response whose body was read.
type reply struct {
	status int
	header http.Header
	body   string
}

func (f *fixture) do(r *http.Request) reply {
	f.t.Helper()
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		f.t.Fatal(err)
	}
	return readReply(f.t, response)
}

func readReply(t *testing.T, response *http.Response) reply {
	t.Helper()
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header, string(body)}
}

// bearer calls the Admin API with a fresh token of the account and a version that is right.
func (f *fixture) bearer(account, method, path string) reply {
	f.t.Helper()
	return f.do(f.request(method, path, "", "Authorization", "Bearer "+f.MintToken(account), "Accept", "application/vnd.atlas.2025-03-12+json"))
}

// oauth calls an OAuth endpoint with Basic.
func (f *fixture) oauth(path, id, secret string, form url.Values) reply {
	f.t.Helper()
	r := f.request(http.MethodPost, path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(id, secret)
	return f.do(r)
}

// code returns the errorCode, or the OAuth error, of a body.
func (r reply) code(t *testing.T) string {
	t.Helper()
	if r.body == "" {
		return ""
	}
	var e struct {
		Error     any
		ErrorCode string
	}
	if err := json.Unmarshal([]byte(r.body), &e); err != nil {
		t.Fatalf("body %q: %v", r.body, err)
	}
	if text, ok := e.Error.(string); ok {
		return text
	}
	return e.ErrorCode
}

func TestNew(t *testing.T) {
	account := []ServiceAccount{{ClientID: ClientID}}
	tests := []struct {
		name string
		cfg  Config
		want []string // Parts of the error; none for success.
	}{
		{name: "zero config"},
		{name: "given secret", cfg: Config{Secrets: map[string]string{ClientID: "s"}}},
		{name: "secret of an unknown account", cfg: Config{Secrets: map[string]string{"stranger": "s"}}, want: []string{`"stranger"`, "not in the seed"}},
		{name: "empty secret", cfg: Config{Secrets: map[string]string{ClientID: ""}}, want: []string{"is empty"}},
		{name: "short token lifetime", cfg: Config{TokenLifetime: time.Millisecond}, want: []string{"token lifetime"}},
		{name: "negative nonce lifetime", cfg: Config{NonceLifetime: -1}, want: []string{"nonce lifetime"}},
		{name: "unknown bucket", cfg: Config{Buckets: map[string]Bucket{"x": {1, 1, 1}}}, want: []string{`"x"`, BucketX509}},
		{name: "bucket without refill", cfg: Config{Buckets: map[string]Bucket{BucketX509: {Capacity: 1, Every: 1}}}, want: []string{"must be positive"}},
		{name: "client id", cfg: Config{Seed: Seed{ServiceAccounts: []ServiceAccount{{ClientID: "mdb_sa_id_1"}}}}, want: []string{"client id"}},
		{name: "public key", cfg: Config{Seed: Seed{APIKeys: []APIKey{{PublicKey: "a:b"}}}}, want: []string{"public key"}},
		{name: "account twice", cfg: Config{Seed: Seed{ServiceAccounts: append(account, account...)}}, want: []string{"there twice"}},
		{
			name: "role without target",
			cfg:  Config{Seed: Seed{ServiceAccounts: []ServiceAccount{{ClientID: ClientID, Roles: []Role{{Name: RoleOrgOwner}}}}}},
			want: []string{"an organization or a project"},
		},
		{
			name: "several mistakes at once",
			cfg: Config{Seed: Seed{
				ServiceAccounts: account,
				Federations: []Federation{{ID: "short", Organizations: []ConnectedOrg{{
					OrgID: OrgID, IdentityProviderIDs: []string{IdentityProviderID}, RoleMappings: []RoleMapping{{ID: "UPPER"}},
				}}}},
				Projects: []Project{{ID: ProjectID}},
			}},
			want: []string{`federation: "short"`, `role mapping: "UPPER"`, "which is not in federation", "organization of project"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := New(tt.cfg)
			if len(tt.want) == 0 {
				if err != nil || s == nil {
					t.Fatalf("New: %v", err)
				}
				return
			}
			if err == nil {
				t.Fatal("New succeeded")
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not say %q", err, part)
				}
			}
		})
	}
}

func TestSecret(t *testing.T) {
	s, err := New(Config{Secrets: map[string]string{ClientID: testSecret}})
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := s.Secret(ClientID); got != testSecret || !ok {
		t.Errorf("the given secret is %q, %t", got, ok)
	}
	first, ok := s.Secret(PublicKey)
	if len(first) < 20 || !ok {
		t.Errorf("the random secret is %q, %t", first, ok)
	}
	other, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if second, _ := other.Secret(PublicKey); second == first {
		t.Error("two sandboxes have the same random secret")
	}
	if _, ok := s.Secret("stranger"); ok {
		t.Error("an unknown account has a secret")
	}
}

func TestUnknownPaths(t *testing.T) {
	tests := []struct {
		name, method, path string
		wantStatus         int
		wantAllow          string
	}{
		{name: "elsewhere", method: "GET", path: "/", wantStatus: 404},
		{name: "other operation", method: "GET", path: "/api/atlas/v2/alerts", wantStatus: 404},
		{name: "empty id", method: "DELETE", path: "/api/atlas/v2/groups//userSecurity/customerX509", wantStatus: 404},
		{name: "other method", method: "PATCH", path: jwksPath, wantStatus: 405, wantAllow: "DELETE"},
		{name: "other method of OAuth", method: "GET", path: "/api/oauth/token", wantStatus: 405, wantAllow: "POST"},
		{name: "only v2 has JWKS", method: "DELETE", path: strings.Replace(jwksPath, "v2", "v1.0", 1), wantStatus: 404},
	}
	f := newFixture(t, Config{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := f.do(f.request(tt.method, tt.path, ""))
			if got.status != tt.wantStatus || got.header.Get("Allow") != tt.wantAllow {
				t.Errorf("got %d, Allow %q: %s", got.status, got.header.Get("Allow"), got.body)
			}
		})
	}
}

func TestRequests(t *testing.T) {
	f := newFixture(t, Config{})
	token := f.MintToken(ClientID)
	f.do(f.request("DELETE", jwksPath, "", "Authorization", "Bearer "+token, "Accept", "application/vnd.atlas.2025-02-19+json"))
	f.clock.add(time.Second)
	f.oauth("/api/oauth/revoke?token=in-query", ClientID, testSecret, url.Values{"token": {token}})
	f.oauth("/api/oauth/token", "stranger", "wrong", url.Values{"grant_type": {"client_credentials"}})
	last := f.do(f.request("GET", "/"+strings.Repeat("x", 2*maxPath), ""))

	at := f.clock.Now()
	want := []Request{
		{ID: "sandbox-00000001", At: at.Add(-time.Second), Operation: OperationJWKSRevoke, Method: "DELETE", Path: jwksPath, Status: 204, Auth: AuthBearer, Account: ClientID},
		{ID: "sandbox-00000002", At: at, Operation: OperationTokenRevoke, Method: "POST", Path: "/api/oauth/revoke", Status: 200, Auth: AuthBasic, Account: ClientID},
		{ID: "sandbox-00000003", At: at, Operation: OperationToken, Method: "POST", Path: "/api/oauth/token", Status: 401, Auth: AuthBasic},
		{ID: "sandbox-00000004", At: at, Operation: OperationUnknown, Method: "GET", Path: "/" + strings.Repeat("x", maxPath-1), Status: 404, Auth: AuthNone},
	}
	if diff := cmp.Diff(want, f.Requests()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if id := last.header.Get("X-Request-Id"); id != "sandbox-00000004" {
		t.Errorf("X-Request-Id is %q", id)
	}
}

func TestJournalIsBounded(t *testing.T) {
	var s Sandbox
	for range 3*maxRequests + 7 {
		s.journal.add(&Request{ID: time.Duration(s.journal.count).String()})
	}
	got := s.Requests()
	if len(got) != maxRequests || cap(s.journal.requests) > 2*maxRequests {
		t.Fatalf("the journal has %d requests and room for %d", len(got), cap(s.journal.requests))
	}
	first, last := time.Duration(2*maxRequests+7).String(), time.Duration(3*maxRequests+6).String()
	if got[0].ID != first || got[maxRequests-1].ID != last {
		t.Errorf("it has %s to %s, want %s to %s", got[0].ID, got[maxRequests-1].ID, first, last)
	}
}

func TestConcurrentUse(t *testing.T) {
	f := newFixture(t, Config{})
	if err := f.Inject(Fault{Operation: OperationAny, Kind: "503", Times: 20}); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 10 {
				r := f.request("DELETE", jwksPath, "", "Authorization", "Bearer "+f.MintToken(ClientID), "Accept", "application/vnd.atlas.2025-02-19+json")
				response, err := http.DefaultTransport.RoundTrip(r)
				if err != nil {
					t.Error(err)
					return
				}
				response.Body.Close()
				f.Requests()
				f.State()
			}
		})
	}
	group.Wait()
	if n := f.State().Federations[0].IdentityProviders[0].JWKSRevocations; n != 60 {
		t.Errorf("80 calls, of which 20 failed, revoked %d times", n)
	}
}
