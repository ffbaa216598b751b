package vault_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/vault"
)

// kv answers for one path as the documentation of the KV engine, version 2, has it
// (developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2, openbao.org/api-docs/secret/kv/kv-v2): cas is the version that is replaced,
// and a version that was deleted is a 404 with its metadata. What it says of the mount is what Vault 1.21.4 said.
type kv struct {
	fields  map[string]any // Nil: deleted, or there never was one.
	version int
}

func (k *kv) answer(w http.ResponseWriter, r *http.Request) {
	metadata := map[string]any{"created_time": "2026-03-22T02:24:06.945319214Z", "deletion_time": "", "destroyed": false, "version": k.version}
	switch {
	case r.URL.Path == "/v1/sys/capabilities-self":
		reply(w, map[string]any{"data": map[string]any{"capabilities": []string{"create", "read"}, "secret/data/ci/atlas": []string{"create", "read"}}})
	case r.URL.Path == "/v1/sys/internal/ui/mounts/secret/data/ci/atlas":
		reply(w, map[string]any{"data": map[string]any{"type": "kv", "path": "secret/", "options": map[string]any{"version": "2"}}})
	case r.URL.Path != "/v1/secret/data/ci/atlas":
		w.WriteHeader(http.StatusNotFound)
		reply(w, map[string]any{"errors": []string{}})
	case r.Method == http.MethodGet && k.version == 0:
		w.WriteHeader(http.StatusNotFound)
		reply(w, map[string]any{"errors": []string{}})
	case r.Method == http.MethodGet && k.fields == nil:
		metadata["deletion_time"] = "2026-03-22T02:36:43.986212308Z"
		w.WriteHeader(http.StatusNotFound)
		reply(w, map[string]any{"data": map[string]any{"data": nil, "metadata": metadata}})
	case r.Method == http.MethodGet:
		reply(w, map[string]any{"data": map[string]any{"data": k.fields, "metadata": metadata}})
	default:
		k.put(w, r)
	}
}

func (k *kv) put(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Options struct{ CAS *int }
		Data    map[string]any
	}
	err := json.NewDecoder(r.Body).Decode(&in)
	if err != nil || in.Options.CAS == nil || *in.Options.CAS != k.version {
		w.WriteHeader(http.StatusBadRequest)
		reply(w, map[string]any{"errors": []string{"check-and-set parameter did not match the current version"}})
		return
	}
	k.fields, k.version = in.Data, k.version+1
	reply(w, map[string]any{"data": map[string]any{"created_time": "2026-03-22T02:24:06.945319214Z", "deletion_time": "", "destroyed": false, "version": k.version}})
}

func kvClient(t *testing.T, answer http.HandlerFunc) *vault.Client {
	t.Helper()
	s, url := newServer(t)
	s.answer = answer
	return newClient(t, func(c *vault.Config) { c.Paths = []string{"rekey"} }, url) // What events may read bounds no delivery.
}

// A write replaces the version that was read, and no other; what is beside the secret keeps its form.
func TestGetAndPut(t *testing.T) {
	t.Parallel()
	for _, before := range []kv{{}, {version: 3}, {version: 5, fields: map[string]any{"old": canary}}} {
		k := before
		c := kvClient(t, k.answer)
		fields, version, err := c.Get(t.Context(), "ci/atlas")
		if err != nil || version != before.version || len(fields) != len(before.fields) {
			t.Fatalf("Get() = %d fields of version %d, %v", len(fields), version, err)
		}
		put := map[string]any{"client_secret": canary, "number": json.Number("12345678901234567890")}
		if err := c.Put(t.Context(), "ci/atlas", put, version); err != nil {
			t.Fatal(err)
		}
		err = c.Put(t.Context(), "ci/atlas", put, version)
		answer, ok := errors.AsType[*vault.AnswerError](err)
		if !ok || !answer.Retryable() || answer.Status != http.StatusBadRequest || strings.Contains(err.Error(), canary) {
			t.Errorf("a write of an old version: %v", err)
		}
		if got, version, err := c.Get(t.Context(), "ci/atlas"); err != nil || version != before.version+1 || got["client_secret"] != canary {
			t.Errorf("Get() = version %d, %v", version, err)
		}
	}
}

// Version 1 of the engine takes a write for one of version 2, and shows it when asked so: at another path than its readers ask for.
func TestOtherEngine(t *testing.T) {
	t.Parallel()
	for name, mount := range map[string]map[string]any{"version 1": {"type": "kv", "options": map[string]any{"version": "1"}}, "another": {"type": "transit", "options": nil}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kept := map[string]any{}
			c := kvClient(t, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case strings.HasPrefix(r.URL.Path, "/v1/sys/internal/ui/mounts/"):
					reply(w, map[string]any{"data": mount})
				case r.URL.Path == "/v1/sys/capabilities-self":
					reply(w, map[string]any{"data": map[string]any{"capabilities": []string{"read"}, "secret/data/ci/atlas": []string{"read"}}})
				case r.Method == http.MethodGet && len(kept) > 0:
					reply(w, map[string]any{"data": kept})
				case r.Method == http.MethodGet:
					w.WriteHeader(http.StatusNotFound)
					reply(w, map[string]any{"errors": []string{}})
				default:
					if err := json.NewDecoder(r.Body).Decode(&kept); err != nil {
						t.Error(err)
					}
					w.WriteHeader(http.StatusNoContent)
				}
			})
			const want = "the engine at secret is not KV, version 2"
			_, capable := c.Capabilities(t.Context(), "ci/atlas")
			put := c.Put(t.Context(), "ci/atlas", map[string]any{"a": canary}, 0)
			if len(kept) > 0 {
				t.Error("it was written")
			}
			kept = map[string]any{"data": map[string]any{"a": canary}, "options": map[string]any{"cas": 0}}
			_, _, get := c.Get(t.Context(), "ci/atlas")
			for _, err := range []error{capable, put, get} {
				answer, ok := errors.AsType[*vault.AnswerError](err)
				if !ok || answer.Retryable() || err.Error() != want {
					t.Errorf("the error is %v, want %s", err, want)
				}
			}
		})
	}
}

func TestCapabilities(t *testing.T) {
	t.Parallel()
	may, err := kvClient(t, (&kv{}).answer).Capabilities(t.Context(), "ci/atlas")
	if diff := cmp.Diff([]string{"create", "read"}, may); diff != "" || err != nil {
		t.Errorf("Capabilities() %v (-want +got):\n%s", err, diff)
	}
}

func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		answer    http.HandlerFunc
		retryable bool
		wait      time.Duration
		want      string
	}{
		{"denied", refuses(403, "", "1 error occurred:\n\t* permission denied\n\n"), false, 0, "HTTP 403: 1 error occurred: * permission denied"},
		{"another mistake", refuses(400, "", "missing data"), false, 0, "HTTP 400: missing data"},
		{"sealed", refuses(503, "", "Vault is sealed"), true, 0, "HTTP 503: Vault is sealed"},
		{"limited", refuses(429, "120", "request path quota exceeded"), true, 120 * time.Second, "HTTP 429: Vault wants no request before "},
		{"a redirect", http.RedirectHandler("/elsewhere", http.StatusTemporaryRedirect).ServeHTTP, false, 0, "HTTP 307: a redirect"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := kvClient(t, tt.answer)
			before := time.Now()
			_, _, getErr := c.Get(t.Context(), "ci/atlas")
			for _, err := range []error{getErr, c.Put(t.Context(), "ci/atlas", map[string]any{"a": canary}, 1)} {
				answer, ok := errors.AsType[*vault.AnswerError](err)
				if !ok || answer.Retryable() != tt.retryable || !strings.HasPrefix(err.Error(), tt.want) || strings.ContainsAny(err.Error(), "\n\t") || strings.Contains(err.Error(), canary) {
					t.Errorf("%v, want %s", err, tt.want)
				}
				if ok && answer.RetryAt().IsZero() != (tt.wait == 0) || ok && tt.wait > 0 && answer.RetryAt().Before(before.Add(tt.wait)) {
					t.Errorf("not before %v", answer.RetryAt())
				}
			}
		})
	}
}

func refuses(code int, retryAfter, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(code)
		reply(w, map[string]any{"errors": []string{text}})
	}
}

// An answer is read up to a bound.
func TestLargeAnswer(t *testing.T) {
	t.Parallel()
	c := kvClient(t, func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]any{"data": map[string]any{"data": map[string]any{"a": strings.Repeat("x", 9<<20)}}})
	})
	if _, _, err := c.Get(t.Context(), "ci/atlas"); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("Get() = %v", err)
	}
}
