package atlas_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"rekey/internal/atlas"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/pace"
	"rekey/internal/secret"
)

// Ids and secrets of the tests. The secrets are canaries: no output may contain them.
const (
	idA      = "aaaaaaaaaaaaaaaaaaaaaaaa"
	idB      = "bbbbbbbbbbbbbbbbbbbbbbbb"
	idC      = "cccccccccccccccccccccccc"
	clientID = "mdb_sa_id_0123456789abcdef01234567"
	// leakedClient is an account that is not configured.
	leakedClient = "mdb_sa_id_fedcba9876543210fedcba98"

	clientSecret = "canary/client+secret=0"
	privateKey   = "canary-private-key-1"
	bearerToken  = "canary.bearer.token-2"
	revokedToken = "canary.revoked.token-3"
)

// transportFunc is a RoundTripper made of a function.
type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		defer req.Body.Close()
	}
	return f(req)
}

// written tells the client's trace that the request has left, as a real transport does.
func written(req *http.Request) {
	trace := httptrace.ContextClientTrace(req.Context())
	trace.GetConn("127.0.0.1:443")
	trace.WroteHeaders()
}

// reply makes an answer; headers are given as pairs.
func reply(status int, body string, headers ...string) *http.Response {
	return replyBody(status, io.NopCloser(strings.NewReader(body)), headers...)
}

func replyBody(status int, body io.ReadCloser, headers ...string) *http.Response {
	resp := &http.Response{StatusCode: status, Header: http.Header{}, Body: body}
	for i := 0; i < len(headers); i += 2 {
		resp.Header.Add(headers[i], headers[i+1])
	}
	return resp
}

// issue answers a request for a token.
func issue(token string, lifetime int) *http.Response {
	return reply(200, fmt.Sprintf(`{"access_token":%q,"token_type":"Bearer","expires_in":%d}`, token, lifetime))
}

func isTokenRequest(req *http.Request) bool { return req.URL.Path == "/api/oauth/token" }

// adminProblem is an error document of the Admin API.
func adminProblem(status int, code, detail string, parameters ...any) string {
	text, err := json.Marshal(map[string]any{
		"error": status, "errorCode": code, "reason": http.StatusText(status), "detail": detail, "parameters": parameters,
	})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// recorder is an atlas.Recorder that remembers.
type recorder struct {
	mu       sync.Mutex
	requests []string // "operation code".
	waits    map[string]time.Duration
	tokens   map[string]float64
	limited  map[string]int // By "bucket foreseeable".
	delayed  map[string]int // By "bucket lane".
	paused   map[string]time.Duration
	shared   bool
}

func newRecorder() *recorder {
	return &recorder{
		waits: map[string]time.Duration{}, tokens: map[string]float64{}, limited: map[string]int{},
		delayed: map[string]int{}, paused: map[string]time.Duration{},
	}
}

func (r *recorder) Request(operation, code string, _ time.Duration, _ string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, operation+" "+code)
}

func (r *recorder) RetryAfter(operation string, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waits[operation] = d
}

func (r *recorder) BucketTokens(bucket string, n float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tokens[bucket] = n
}

func (r *recorder) RateLimited(bucket string, foreseeable bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.limited[fmt.Sprint(bucket, " ", foreseeable)]++
}

func (r *recorder) CallDelayed(bucket, lane string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delayed[bucket+" "+lane]++
}

func (r *recorder) Paused(bucket string, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.paused[bucket] += d
}

func (r *recorder) PaceShared(shared bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shared = shared
}

func (r *recorder) seen() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.requests...)
}

// environment holds the secrets of the accounts.
func environment(name string) (string, bool) {
	value, ok := map[string]string{"SECRET": clientSecret, "KEY": privateKey}[name]
	return value, ok
}

func service(name string) atlas.Account {
	return atlas.Account{Name: name, ClientID: clientID, ClientSecret: secret.Ref{Env: "SECRET"}}
}

func apiKey(name string) atlas.Account {
	return atlas.Account{Name: name, PublicKey: "abcdefgh", PrivateKey: secret.Ref{Env: "KEY"}}
}

// config is a good Config with one account of each sort, "service" and "key".
func config(transport http.RoundTripper) atlas.Config {
	return atlas.Config{
		BaseURL: "https://atlas.test", Accounts: []atlas.Account{service("service"), apiKey("key")},
		LookupEnv: environment, Recorder: newRecorder(), Logger: zap.NewNop(), Transport: transport, Version: "1.2.3",
	}
}

func newClient(t *testing.T, cfg atlas.Config) *atlas.Client {
	t.Helper()
	c, err := atlas.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// job makes a job of a kind with good parameters.
func job(t *testing.T, kind jobs.Kind, account string) jobs.Job {
	t.Helper()
	raw := map[jobs.Kind]map[string]any{
		kinds.TokenRevoke:       {"token": revokedToken},
		kinds.JWKSRevoke:        {"federation_id": idA, "identity_provider_id": idB},
		kinds.IDPDelete:         {"federation_id": idA, "identity_provider_id": idB},
		kinds.RoleMappingDelete: {"federation_id": idA, "org_id": idB, "role_mapping_id": idC},
		kinds.X509Disable:       {"project_id": idA},

		kinds.ServiceAccountSecretDelete: {"org_id": idA, "client_id": leakedClient, "secret_id": idB},
		kinds.ServiceAccountDelete:       {"org_id": idA, "client_id": leakedClient},
		kinds.APIKeyDelete:               {"org_id": idA, "api_key_id": idB},
		kinds.DatabaseUserDelete:         {"project_id": idA, "auth_database": "$external", "username": "CN=a/b,O=c d"},
		kinds.DatabaseUserScramble:       {"project_id": idA, "username": "report/../é"},
		kinds.OrgUserRemove:              {"org_id": idA, "user_id": idB},
		kinds.ProjectUserRemove:          {"project_id": idA, "user_id": idB},
	}[kind]
	return jobWith(t, kind, account, raw)
}

func jobWith(t *testing.T, kind jobs.Kind, account string, raw map[string]any) jobs.Job {
	t.Helper()
	params, err := jobs.NewParams(kind, raw)
	if err != nil {
		t.Fatal(err)
	}
	return jobs.Job{ID: "j", Kind: kind, Account: account, Params: params}
}

// failureOf returns the failure of an attempt that must not succeed.
func failureOf(t *testing.T, answer jobs.Answer, err error) *jobs.Failure {
	t.Helper()
	failure, ok := errors.AsType[*jobs.Failure](err)
	if !ok {
		t.Fatalf("Revoke() = %+v, %v, want a *jobs.Failure", answer, err)
	}
	if answer != (jobs.Answer{}) {
		t.Errorf("Revoke() = %+v beside a failure", answer)
	}
	return failure
}

// revoke makes an attempt that must fail.
// permit is when the job may call: the zero time for now.
func permit(t *testing.T, c *atlas.Client, j jobs.Job) time.Time {
	t.Helper()
	at := c.Permit(t.Context(), j).At
	if !at.After(time.Now()) {
		return time.Time{}
	}
	return at
}

func revokeFails(t *testing.T, c *atlas.Client, j jobs.Job) *jobs.Failure {
	t.Helper()
	answer, err := c.Revoke(t.Context(), j)
	return failureOf(t, answer, err)
}

// revokeWorks makes an attempt that must succeed.
func revokeWorks(t *testing.T, c *atlas.Client, j jobs.Job) jobs.Answer {
	t.Helper()
	answer, err := c.Revoke(t.Context(), j)
	if err != nil {
		t.Fatalf("Revoke(%s) = %v", j.Kind, err)
	}
	return answer
}

// store is an atlas.PaceStore that lets clients hear each other at once.
type store struct {
	mu        sync.Mutex
	states    map[string]pace.State
	revisions map[string]uint64
	listeners []func(string, pace.State, uint64)
	saves     int
	loads     int
	broken    error
	// How far the workers' clocks are behind the shared one. Set before the store is used.
	least, most time.Duration
}

func newStore() *store {
	return &store{states: map[string]pace.State{}, revisions: map[string]uint64{}}
}

func (s *store) Load(_ context.Context, key string) (pace.State, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads++
	return s.states[key].Clone(), s.revisions[key], s.broken
}

func (s *store) Save(ctx context.Context, key string, state pace.State, revision uint64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := errors.Join(ctx.Err(), s.broken); err != nil {
		return 0, err
	}
	if s.revisions[key] != revision {
		return 0, nil
	}
	s.saves++
	s.states[key], s.revisions[key] = state.Clone(), revision+1
	for _, changed := range s.listeners {
		changed(key, state.Clone(), revision+1)
	}
	return revision + 1, nil
}

func (s *store) Watch(ctx context.Context, changed func(string, pace.State, uint64), known func()) error {
	s.mu.Lock()
	if s.broken != nil {
		defer s.mu.Unlock()
		return s.broken
	}
	for key, state := range s.states {
		changed(key, state.Clone(), s.revisions[key])
	}
	s.listeners = append(s.listeners, changed)
	s.mu.Unlock()
	known()
	<-ctx.Done()
	return ctx.Err()
}

func (s *store) Clock() (least, most time.Duration) { return s.least, s.most }

func (s *store) mend(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = err
}

// keys are the buckets that have a state.
func (s *store) keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.states))
}

// runs lets the client listen to the store, until the test is over or the function is called.
func runs(t *testing.T, c *atlas.Client) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
}

// pass lets time pass in a bubble.
func pass(d time.Duration) { <-time.After(d) }
