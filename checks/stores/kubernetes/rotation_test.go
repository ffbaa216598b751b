package kubernetes

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"rekey/internal/apptest"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/config"
	"rekey/internal/deliver"
	"rekey/internal/jobs"
	"rekey/internal/secret"
)

// testRotation: a worker rotates a secret, and is killed before the server has the write, and once more before it has the answer. The consumer
// of the Secret never meets one that does not work, and at the end the new one is nowhere else.
func (c *cluster) testRotation(t *testing.T) {
	namespace := c.namespace(t)
	many := sandbox.Bucket{Capacity: 1000, Refill: 1000, Every: time.Minute}
	box, api := apptest.ServeSandbox(t, sandbox.Config{TokenLifetime: 10 * time.Second, Buckets: map[string]sandbox.Bucket{
		sandbox.BucketToken: many, sandbox.BucketTokenRevoke: many,
	}})
	old, _ := box.Secret(sandbox.RotatedSecretID)
	c.apply(t, namespace, "rekey", data{key: old})
	server, held := c.holding(t)
	r := c.rig(t, apptest.SandboxRig(t, box, api), namespace, server)
	c.consume(t, namespace, box)
	process, address := r.StartToKill(t)
	events := apptest.DialNATS(t, address)
	events.Publish("rotation", `{"kind":"service_account_secret.rotate","params":{"rotation":"ci"}}`)
	await(t, held)
	process.Kill()
	process, _ = r.StartToKill(t)
	await(t, held)
	process.Kill()
	events.Nc.Close()

	w := r.Start(t)
	got := w.ResultOf("rotation/ci")
	value, _ := box.Secret(got.Rotation.NewID)
	if got.Outcome != jobs.OutcomeRotated || value == "" {
		t.Fatalf("the job is %s", apptest.Encoded(got))
	}
	c.expect(t, namespace, data{key: value, previous: old})
	c.nowhereElse(t, w, namespace, apptest.Canaries{"new secret": value, "old secret": old})
}

// rig has a rotation that delivers to the Secret.
func (c *cluster) rig(t *testing.T, r *apptest.Rig, namespace, server string) *apptest.Rig {
	t.Helper()
	token := filepath.Join(t.TempDir(), "token")
	check(t, os.WriteFile(token, []byte(c.account(t, namespace, chartVerbs(t))), 0o600))
	r.LogFile = filepath.Join(t.TempDir(), "log")
	r.Cfg.Atlas.Timeout = 20 * time.Second
	r.Cfg.Rotations = []config.Rotation{{
		Name: "ci", Account: apptest.Security, OrgID: sandbox.OrgID, ClientID: sandbox.RotatedClientID,
		Lifetime: 720 * time.Hour, QuietFor: 4 * time.Second, WhenFull: config.WhenFullWait, Overdue: config.OverdueAlert,
		Deliver: []deliver.Config{{Type: deliver.TypeKubernetes, Namespace: namespace, Secret: name, Key: key, Server: server, Token: secret.Ref{File: token}}},
	}}
	return r
}

// holding is the address of a server that holds the first write, and the answer to the second, until the client is gone.
func (c *cluster) holding(t *testing.T) (address string, held <-chan struct{}) {
	t.Helper()
	forward := c.forward(t)
	at, writes := make(chan struct{}, 2), 0 // The client writes once at a time.
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPatch {
			writes++
		}
		switch {
		case r.Method != http.MethodPatch || writes > 2:
			forward.ServeHTTP(w, r)
			return
		case writes == 1:
			_, err := io.Copy(io.Discard, r.Body) // Else the server does not see that the client is gone.
			check(t, err)
		case writes == 2:
			forward.ServeHTTP(httptest.NewRecorder(), r)
		}
		at <- struct{}{}
		<-r.Context().Done()
	}), at
}

func await(t *testing.T, held <-chan struct{}) {
	t.Helper()
	select {
	case <-held:
	case <-time.After(apptest.Patience):
		t.Fatal("the worker does not write")
	}
}

// consume gets a token with what the Secret has, again and again, until the test is over.
func (c *cluster) consume(t *testing.T, namespace string, box *sandbox.Sandbox) {
	t.Helper()
	stop, done := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-done })
	go func() {
		defer close(done)
		ticker := time.NewTicker(300 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
				found, err := c.admin.CoreV1().Secrets(namespace).Get(context.Background(), name, metav1.GetOptions{})
				if err != nil {
					t.Error(err)
				} else if status := mint(box, string(found.Data[key])); status != http.StatusOK {
					t.Errorf("the consumer's secret is answered with %d", status)
				}
			}
		}
	}()
}

// mint gets a token, and returns the status.
func mint(box *sandbox.Sandbox, value string) int {
	form := strings.NewReader(url.Values{"grant_type": {"client_credentials"}}.Encode())
	req := httptest.NewRequest(http.MethodPost, "/api/oauth/token", form)
	req.SetBasicAuth(sandbox.RotatedClientID, value)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	box.ServeHTTP(w, req)
	return w.Code
}

// nowhereElse holds that secrets are nowhere but in the data of the Secret.
func (c *cluster) nowhereElse(t *testing.T, w *apptest.Worker, namespace string, canaries apptest.Canaries) {
	t.Helper()
	canaries.SearchEverything(t, w)
	log, err := os.ReadFile(w.Rig.LogFile)
	if err != nil || len(log) == 0 {
		t.Errorf("there is no log of the killed workers: %v", err)
	}
	canaries.Search(t, "the log of a killed worker", string(log))
	found, err := c.admin.CoreV1().Secrets(namespace).Get(t.Context(), name, metav1.GetOptions{})
	check(t, err)
	found.Data = nil
	text := apptest.Encoded(found)
	if !strings.Contains(text, `"f:client_secret.previous"`) {
		t.Errorf("the Secret does not say who manages it: %s", text)
	}
	canaries.Search(t, "the Secret beside its data", text)
}
