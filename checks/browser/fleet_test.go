package browser_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"rekey/checks/repo"
)

// Tokens of the API's clients, and the secret of an account: none of them may be in a page.
const (
	operatorToken = "c4nary-token-of-an-operator-0123456789"
	viewerToken   = "c4nary-token-of-a-viewer-0123456789"
	accountSecret = "c4nary-secret-of-an-account"
)

// fleet is a worker with its console, on the sandbox.
type fleet struct {
	t     *testing.T
	open  string // The console without a login.
	login string // The console with one, and the API.
}

// newFleet runs a worker and a sandbox until the test ends.
func newFleet(t *testing.T) *fleet {
	t.Helper()
	repo.Tool(t, "chromium")
	worker, dir := repo.Worker(t), t.TempDir()
	nats, sandbox, web, api := address(t), address(t), address(t), address(t)
	config := fmt.Sprintf(`
nats: {embedded: {store_dir: %s, listen: %s}}
atlas:
  base_url: http://%s
  accounts:
    - {name: security, client_id: mdb_sa_id_5ec0000000000000000000a1, client_secret_env: REKEY_SANDBOX_CLIENT_SECRET}
http: {listen: %s}
api:
  listen: %s
  clients:
    - {name: operator, token_env: OPERATOR, may: [submit, read, cancel, retry, replay, drop, operate]}
    - {name: viewer, token_env: VIEWER, may: [read]}
`, filepath.Join(dir, "store"), nats, sandbox, web, api)
	file := filepath.Join(dir, "worker.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, open: "http://" + web, login: "http://" + api}
	f.start(worker, "sandbox", "--listen", sandbox)
	f.start(worker, "run", "-c", file)
	repo.Eventually(t, "the worker to be ready", func() bool {
		code, _ := f.ask(http.MethodGet, f.open+"/readyz", nil)
		return code == http.StatusOK
	})
	return f
}

// address is one of this machine that is free.
func address(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// start runs a command of the worker until the test ends.
func (f *fleet) start(worker string, args ...string) {
	f.t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(f.t.Context()), worker, args...)
	cmd.Env = append(os.Environ(), "REKEY_SANDBOX_CLIENT_SECRET="+accountSecret, "OPERATOR="+operatorToken, "VIEWER="+viewerToken)
	var wrote bytes.Buffer
	cmd.Stdout, cmd.Stderr = &wrote, &wrote
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			f.t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			f.t.Errorf("%s: %v", args[0], err)
		}
		if f.t.Failed() {
			f.t.Logf("%s wrote:\n%s", args[0], wrote.Bytes())
		}
	})
}

// ask sends a request in the name of the operator. The code 0 says that there was no answer.
func (f *fleet) ask(method, address string, body []byte) (code int, jobID string) {
	req, err := http.NewRequestWithContext(f.t.Context(), method, address, bytes.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+operatorToken)
	req.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close()
	var answer struct {
		JobID string `json:"job_id"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return response.StatusCode, "" // The answer is about no job.
	}
	return response.StatusCode, answer.JobID
}

// submit asks for a job by the API and returns its id.
func (f *fleet) submit(kind, params, reason string) string {
	f.t.Helper()
	code, id := f.ask(http.MethodPost, f.login+"/v1/jobs", fmt.Appendf(nil, `{"kind": %q, "account": "security", "params": {%s}, "reason": %q}`, kind, params, reason))
	if code != http.StatusAccepted || id == "" {
		f.t.Fatalf("%s was answered with the code %d", kind, code)
	}
	return id
}
