package atlas_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"rekey/internal/atlas"
	"rekey/internal/jobs"
	"rekey/internal/secret"
)

// Ids and secrets of the tests. The secrets are canaries: no output may contain them.
const (
	idA      = "aaaaaaaaaaaaaaaaaaaaaaaa"
	idB      = "bbbbbbbbbbbbbbbbbbbbbbbb"
	idC      = "cccccccccccccccccccccccc"
	clientID = "mdb_sa_id_0123456789abcdef01234567"

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
}

func newRecorder() *recorder {
	return &recorder{waits: map[string]time.Duration{}, tokens: map[string]float64{}}
}

func (r *recorder) Request(operation, code string, _ time.Duration) {
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
		jobs.TokenRevoke:       {"token": revokedToken},
		jobs.JWKSRevoke:        {"federation_id": idA, "identity_provider_id": idB},
		jobs.IDPDelete:         {"federation_id": idA, "identity_provider_id": idB},
		jobs.RoleMappingDelete: {"federation_id": idA, "org_id": idB, "role_mapping_id": idC},
		jobs.X509Disable:       {"project_id": idA},
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

// store is an atlas.PauseStore that lets clients hear each other at once.
type store struct {
	mu        sync.Mutex
	announced []string
	listeners []func(string, time.Time)
	broken    error
}

func (s *store) Announce(ctx context.Context, bucket string, until time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.broken != nil {
		return s.broken
	}
	s.announced = append(s.announced, bucket)
	for _, apply := range s.listeners {
		apply(bucket, until)
	}
	return nil
}

func (s *store) Watch(ctx context.Context, apply func(string, time.Time)) error {
	s.mu.Lock()
	if s.broken != nil {
		defer s.mu.Unlock()
		return s.broken
	}
	s.listeners = append(s.listeners, apply)
	s.mu.Unlock()
	<-ctx.Done()
	return ctx.Err()
}

func (s *store) mend(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = err
}

// pass lets time pass in a bubble.
func pass(d time.Duration) { <-time.After(d) }
