package deliver_test

import (
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/deliver"
	"rekey/internal/secret"
)

// kubernetesStore serves the cluster with a certificate of its own, as clusters have it. The store finds it like in a pod or, with
// a token in the environment, by its configuration.
func kubernetesStore(t *testing.T, c *cluster) deliver.Store {
	t.Helper()
	c.token = "canary-token"
	web := httptest.NewTLSServer(c)
	t.Cleanup(web.Close)
	ca := filepath.Join(t.TempDir(), "ca.crt")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return open(t, deliver.Config{
		Type: deliver.TypeKubernetes, Namespace: "ci", Secret: "atlas", Key: "client_secret",
		Server: web.URL, Token: secret.Ref{Env: "TOKEN"}, CAFile: ca,
	}, deliver.Env{LookupEnv: func(string) (string, bool) { return "canary-token", true }})
}

func TestKubernetesDeliver(t *testing.T) {
	t.Parallel()
	type data = map[string][]byte
	mine := map[string]string{"client_secret": "rekey", "client_secret.previous": "rekey", "other": "helm"}
	tests := []struct {
		name         string
		before, want data
	}{
		{"no Secret", nil, data{"client_secret": []byte(fresh)}},
		{"other keys", data{"other": []byte("x")}, data{"client_secret": []byte(fresh), "other": []byte("x")}},
		{"one secret", data{"client_secret": []byte(old), "other": []byte("x")}, data{"client_secret": []byte(fresh), "client_secret.previous": []byte(old), "other": []byte("x")}},
		{"two secrets", data{"client_secret": []byte(old), "client_secret.previous": []byte(older)}, data{"client_secret": []byte(fresh), "client_secret.previous": []byte(old)}},
		{"the same", data{"client_secret": []byte(fresh), "client_secret.previous": []byte(old)}, data{"client_secret": []byte(fresh), "client_secret.previous": []byte(old)}},
		{"only a previous one", data{"client_secret.previous": []byte(old)}, data{"client_secret": []byte(fresh), "client_secret.previous": []byte(old)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := &cluster{data: tt.before, owners: mine, version: 7}
			store := kubernetesStore(t, c)
			for range 2 { // The second changes nothing.
				if err := store.Deliver(t.Context(), credential(fresh)); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, c.data); diff != "" {
					t.Errorf("data (-want +got):\n%s", diff)
				}
			}
			if c.writes > 1 {
				t.Errorf("%d writes", c.writes)
			}
			if got, err := store.Delivered(t.Context(), credential(fresh)); !got || err != nil {
				t.Errorf("Delivered() = %v, %v", got, err)
			}
			if got, err := store.Delivered(t.Context(), credential(old)); got || err != nil {
				t.Errorf("Delivered() of the previous = %v, %v", got, err)
			}
		})
	}
}

const appliedAsText = `the field manager "helm" applies the key client_secret as text (stringData): take the key out of what it applies`

// conflict is what is said of a key that the manager helm has.
func conflict(key string) string {
	return `HTTP 409: another field manager has the key (.data.` + key + `: conflict with "helm"): make rekey its manager (docs/rotation.md, Stores), then take it out of what the other one applies`
}

func endless(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 5<<20)) } // The store hangs up.

func TestKubernetesFailure(t *testing.T) {
	t.Parallel()
	const name = "kubernetes ci/atlas#client_secret: "
	fails := func(code int, message string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { status(w, code, message, nil) }
	}
	tests := []struct {
		name      string
		cluster   cluster
		want      string
		retryable bool
	}{
		{
			"another field manager",
			cluster{data: map[string][]byte{"client_secret": []byte(old)}, owners: map[string]string{"client_secret": "helm"}},
			"writing the Secret: " + conflict("client_secret"), false,
		},
		{"applied as text", cluster{data: map[string][]byte{"client_secret": []byte(old)}, asText: "client_secret"}, "writing the Secret: " + appliedAsText, false},
		{"being deleted", cluster{data: map[string][]byte{"client_secret": []byte(old)}, ending: true}, "reading the Secret: it is being deleted, and finalizers hold that up", true},
		{"forbidden", cluster{answer: fails(403, `secrets "atlas" is forbidden: User "x" cannot get resource`)}, `reading the Secret: HTTP 403: secrets "atlas" is forbidden: User "x" cannot get resource`, false},
		{"a token that has ended", cluster{answer: fails(401, "Unauthorized")}, "reading the Secret: HTTP 401: Unauthorized: the token in environment variable TOKEN has ended, or is for another cluster or audience", true},
		{"overload", cluster{answer: fails(429, "too many requests")}, "reading the Secret: HTTP 429: too many requests", true},
		{"no Secret in the answer", cluster{answer: func(w http.ResponseWriter, _ *http.Request) { answer(w, "canary") }}, "reading the Secret: the answer is no Secret", true},
		{"a redirect", cluster{answer: http.RedirectHandler("https://elsewhere.example.com", http.StatusFound).ServeHTTP}, "reading the Secret: HTTP 302", false},
		{"an endless answer", cluster{answer: endless}, "reading the Secret: the answer is larger than 4 MiB", true},
		{"the secret in the answer", cluster{answer: fails(500, "cannot keep "+fresh)}, "reading the Secret: HTTP 500: cannot keep [secret]", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			store := kubernetesStore(t, &tt.cluster)
			err := store.Deliver(t.Context(), credential(fresh))
			f, ok := errors.AsType[*deliver.Failure](err)
			if !ok || f.Retryable != tt.retryable || err.Error() != name+tt.want {
				t.Errorf("Deliver() = %v\nwant %s, retryable %v", err, name+tt.want, tt.retryable)
			}
			noCanary(t, err)
		})
	}
}

// A Secret that changes between the read and the write is not overwritten.
func TestKubernetesConflict(t *testing.T) {
	t.Parallel()
	c := &cluster{data: map[string][]byte{"client_secret": []byte(old)}, owners: map[string]string{"client_secret": "rekey"}, version: 1}
	c.answer = func(w http.ResponseWriter, r *http.Request) {
		c.answer = nil
		c.ServeHTTP(w, r)
		c.version++
	}
	store := kubernetesStore(t, c)
	err := store.Deliver(t.Context(), credential(fresh))
	if f, ok := errors.AsType[*deliver.Failure](err); !ok || !f.Retryable || !strings.Contains(err.Error(), "HTTP 409: Operation cannot be fulfilled") {
		t.Errorf("Deliver() = %v", err)
	}
	if err := store.Deliver(t.Context(), credential(fresh)); err != nil {
		t.Error(err)
	}
}

func TestKubernetesRetryAfter(t *testing.T) {
	t.Parallel()
	store := kubernetesStore(t, &cluster{answer: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "100")
		status(w, http.StatusTooManyRequests, "later", nil)
	}})
	before := time.Now()
	err := store.Deliver(t.Context(), credential(fresh))
	f, ok := errors.AsType[*deliver.Failure](err)
	if !ok || f.RetryAt.Before(before.Add(100*time.Second)) || f.RetryAt.After(time.Now().Add(100*time.Second)) {
		t.Errorf("Deliver() = %#v", f)
	}
}

func TestKubernetesInspect(t *testing.T) {
	t.Parallel()
	owned := cluster{data: map[string][]byte{"client_secret": []byte(old)}, owners: map[string]string{"client_secret": "rekey"}, version: 1}
	foreign := cluster{data: map[string][]byte{"client_secret.previous": []byte(old)}, owners: map[string]string{"client_secret.previous": "helm"}}
	for _, tt := range []struct {
		name      string
		cluster   cluster
		want, err string
	}{
		{"no Secret", cluster{}, "the Secret does not exist yet, and may be made", ""},
		{"a Secret", owned, "the Secret exists, and may be written", ""},
		{
			"a Secret of another manager", foreign, "",
			"kubernetes ci/atlas#client_secret: writing the Secret without keeping the result: " + conflict("client_secret.previous"),
		},
		{
			"a Secret of which another manager applies the key as text",
			cluster{data: map[string][]byte{}, asText: "client_secret"},
			"",
			"kubernetes ci/atlas#client_secret: writing the Secret without keeping the result: " + appliedAsText,
		},
		{
			"a Secret that is being deleted",
			cluster{data: map[string][]byte{}, ending: true},
			"",
			"kubernetes ci/atlas#client_secret: reading the Secret: it is being deleted, and finalizers hold that up",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inspect(t, kubernetesStore(t, &tt.cluster), tt.want, tt.err)
			if tt.cluster.writes != 0 {
				t.Error("it was written")
			}
		})
	}
}

func TestKubernetesBack(t *testing.T) {
	t.Parallel()
	c := &cluster{data: map[string][]byte{"client_secret": []byte(fresh), "client_secret.previous": []byte(old)}, owners: map[string]string{"client_secret": "rekey", "client_secret.previous": "rekey"}, version: 1}
	testBack(t, kubernetesStore(t, c), "")
	if diff := cmp.Diff(map[string][]byte{"client_secret": []byte(old)}, c.data); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
}

// The token is read for each request: the kubelet renews it. A certificate of another authority is not trusted.
func TestKubernetesTokenAndAuthority(t *testing.T) {
	t.Parallel()
	c := &cluster{token: "canary-2"}
	web := httptest.NewTLSServer(c)
	t.Cleanup(web.Close)
	token := "canary-1"
	cfg := deliver.Config{Type: deliver.TypeKubernetes, Namespace: "ci", Secret: "atlas", Key: "k", Server: web.URL, Token: secret.Ref{Env: "TOKEN"}}
	env := deliver.Env{LookupEnv: func(string) (string, bool) { return token, true }}
	_, err := open(t, cfg, env).Delivered(t.Context(), credential(fresh))
	if f, ok := errors.AsType[*deliver.Failure](err); !ok || !f.Retryable || !strings.Contains(err.Error(), "certificate signed by unknown authority") {
		t.Errorf("Delivered() = %v", err)
	}
	cfg.CAFile = filepath.Join(t.TempDir(), "ca.crt")
	store := open(t, cfg, env)
	if _, err := store.Delivered(t.Context(), credential(fresh)); err == nil || !strings.Contains(err.Error(), "reading the CA file "+cfg.CAFile) {
		t.Errorf("Delivered() = %v", err)
	}
	if err := os.WriteFile(cfg.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Delivered(t.Context(), credential(fresh)); err == nil || !strings.Contains(err.Error(), "HTTP 401: Unauthorized: the token in environment variable TOKEN has ended") {
		t.Errorf("Delivered() = %v", err)
	}
	token = "canary-2"
	if got, err := store.Delivered(t.Context(), credential(fresh)); got || err != nil {
		t.Errorf("Delivered() = %v, %v", got, err)
	}
}

// A pod finds its own cluster; elsewhere the configuration names one.
func TestKubernetesPod(t *testing.T) {
	t.Parallel()
	cfg := deliver.Config{Type: deliver.TypeKubernetes, Namespace: "ci", Secret: "atlas", Key: "k"}
	_, err := deliver.New([]deliver.Config{cfg}, deliver.Env{LookupEnv: func(string) (string, bool) { return "", false }})
	if err == nil || err.Error() != "store 1: type kubernetes needs server and token_file outside of a cluster: KUBERNETES_SERVICE_HOST is not set" {
		t.Errorf("New() = %v", err)
	}
	store := open(t, cfg, deliver.Env{LookupEnv: func(name string) (string, bool) {
		return map[string]string{"KUBERNETES_SERVICE_HOST": "::1", "KUBERNETES_SERVICE_PORT": "1"}[name], true
	}})
	if _, err := store.Delivered(t.Context(), credential(fresh)); err == nil || !strings.Contains(err.Error(), "/var/run/secrets/kubernetes.io/serviceaccount/token") {
		t.Errorf("Delivered() = %v", err)
	}
}
