package vault_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rekey/internal/secret"
	"rekey/internal/vault"
)

const (
	canary = "s3cr3t-CANARY"
	token  = "hvs.canary-token"
)

// server answers as Vault's documentation of the KV engine, version 2, has it
// (developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2).
type server struct {
	mu       sync.Mutex // Guards requests.
	requests []*http.Request
	answer   http.HandlerFunc // Instead of the documented answer, when set.
}

func newServer(t *testing.T) (*server, string) {
	t.Helper()
	s := &server{}
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	return s, web.URL
}

// asked is how many requests have come in.
func (s *server) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

// ServeHTTP answers one request.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r)
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case s.answer != nil:
		s.answer(w, r)
	case r.Header.Get("X-Vault-Token") != token:
		w.WriteHeader(http.StatusForbidden)
		reply(w, map[string]any{"errors": []string{"2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"}})
	case r.URL.Path == "/v1/secret/data/rekey/leak" || r.URL.Path == "/v1/kv/team/data/rekey/leak":
		reply(w, map[string]any{"request_id": "1", "data": map[string]any{
			"data":     map[string]any{"token": canary, "number": 7, "empty": ""},
			"metadata": map[string]any{"created_time": "2026-03-22T02:24:06.945319214Z", "deletion_time": "", "destroyed": false, "version": 2},
		}})
	case r.URL.Path == "/v1/secret/data/rekey/deleted":
		w.WriteHeader(http.StatusNotFound)
		reply(w, map[string]any{"data": map[string]any{
			"data":     nil,
			"metadata": map[string]any{"created_time": "2026-03-22T02:24:06.945319214Z", "deletion_time": "2026-03-22T02:36:43.986212308Z", "destroyed": false, "version": 1},
		}})
	default:
		w.WriteHeader(http.StatusNotFound)
		reply(w, map[string]any{"errors": []string{}})
	}
}

func reply(w http.ResponseWriter, value any) {
	if err := json.NewEncoder(w).Encode(value); err != nil {
		panic(err) // Plain values always have a JSON form.
	}
}

func (s *server) last() *http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[len(s.requests)-1]
}

func newClient(t *testing.T, change func(*vault.Config), url string) *vault.Client {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := vault.Config{Address: url, Token: secret.Ref{File: file}}
	if change != nil {
		change(&cfg)
	}
	c, err := vault.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRead(t *testing.T) {
	s, url := newServer(t)
	t.Setenv("VAULT_TOKEN", "not-this-one")
	t.Setenv("VAULT_NAMESPACE", "nor-this")
	got, err := newClient(t, nil, url).Read(t.Context(), "rekey/leak#token")
	if err != nil || got.Reveal() != canary {
		t.Errorf("read %s, %v, want the secret", got.Fingerprint(), err)
	}
	if r := s.last(); r.Header.Get("X-Vault-Namespace") != "" || r.Method != http.MethodGet {
		t.Errorf("asked with %s and the namespace %q", r.Method, r.Header.Get("X-Vault-Namespace"))
	}
	got, err = newClient(t, func(c *vault.Config) { c.Mount, c.Namespace = "kv/team", "security" }, url).Read(t.Context(), "rekey/leak#token")
	if err != nil || got.Reveal() != canary || s.last().Header.Get("X-Vault-Namespace") != "security" {
		t.Errorf("from another mount and namespace: %s, %v", got.Fingerprint(), err)
	}
}

func TestReadFails(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, ref, want string
		change          func(*vault.Config)
		answer          http.HandlerFunc
	}{
		{name: "no such path", ref: "rekey/nothing#token", want: "rekey/nothing: there is nothing"},
		{name: "deleted", ref: "rekey/deleted#token", want: "no text in the field token"},
		{name: "no such field", ref: "rekey/leak#other", want: "no text in the field other"},
		{name: "a number", ref: "rekey/leak#number", want: "no text in the field number"},
		{name: "empty", ref: "rekey/leak#empty", want: "no text in the field empty"},
		{name: "another path", ref: "admin/root#token", want: "admin/root is not below one of vault.paths", change: func(c *vault.Config) { c.Paths = []string{"rekey/"} }},
		{name: "a path that begins alike", ref: "rekeys/leak#token", want: "not below", change: func(c *vault.Config) { c.Paths = []string{"rekey"} }},
		{name: "wrong token", ref: "rekey/leak#token", want: "HTTP 403: 2 errors occurred: * permission denied * invalid token", change: func(c *vault.Config) {
			c.Token, c.LookupEnv = secret.Ref{Env: "T"}, func(string) (string, bool) { return "hvs.wrong", true }
		}},
		{name: "no token", ref: "rekey/leak#token", want: "vault.token: reading a secret from file /nowhere", change: func(c *vault.Config) { c.Token = secret.Ref{File: "/nowhere"} }},
		{name: "sealed", ref: "rekey/leak#token", want: "HTTP 503: Vault is sealed", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			reply(w, map[string]any{"errors": []string{"Vault is sealed"}})
		}},
		{name: "a proxy's page", ref: "rekey/leak#token", want: "HTTP 502, with an answer that is not Vault's", answer: func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "<p>"+r.Header.Get("X-Vault-Token")+canary, http.StatusBadGateway)
		}},
		{name: "no answer", ref: "rekey/leak#token", want: "deadline exceeded", change: func(c *vault.Config) { c.Timeout = 50 * time.Millisecond }, answer: func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, url := newServer(t)
			s.answer = tt.answer
			got, err := newClient(t, tt.change, url).Read(t.Context(), tt.ref)
			if err == nil || !got.IsZero() || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("read %s with %v, want %q", got.Fingerprint(), err, tt.want)
			}
			if text := err.Error(); strings.Contains(text, canary) || strings.Contains(text, token) || strings.Contains(text, "\n") {
				t.Errorf("the error is no line without secrets: %q", text)
			}
			_, forbidden := errors.AsType[*vault.ForbiddenError](err)
			asked := s.asked()
			if want := strings.Contains(tt.want, "not below"); forbidden != want || want && asked > 0 {
				t.Errorf("forbidden: %v with %d requests, want %v", forbidden, asked, want)
			}
			if asked > 1 {
				t.Errorf("it was asked %d times: attempts are the job's", asked)
			}
		})
	}
}

func TestTheTokenIsReadAnew(t *testing.T) {
	t.Parallel()
	_, url := newServer(t)
	current := "hvs.expired"
	c := newClient(t, func(c *vault.Config) {
		c.Token, c.LookupEnv = secret.Ref{Env: "T"}, func(string) (string, bool) { return current, true }
	}, url)
	if _, err := c.Read(context.Background(), "rekey/leak#token"); err == nil {
		t.Error("an expired token works")
	}
	current = token
	if _, err := c.Read(t.Context(), "rekey/leak#token"); err != nil {
		t.Errorf("with the renewed token: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]vault.Config{
		"no address": {Token: secret.Ref{File: "/t"}}, "no token": {Address: "http://127.0.0.1:1"},
		"no such certificates": {Address: "https://127.0.0.1:1", Token: secret.Ref{File: "/t"}, CAFile: "/nowhere"},
	} {
		if _, err := vault.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
