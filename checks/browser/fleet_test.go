package browser_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"rekey/checks/repo"
)

// Tokens of the API's clients, the secret of an account, the path of a receiver's address, and what has leaked: none of them may be in a page.
const (
	operatorToken = "c4nary-token-of-an-operator-0123456789"
	viewerToken   = "c4nary-token-of-a-viewer-0123456789"
	accountSecret = "c4nary-secret-of-an-account"
	receiverPath  = "c4nary-path-of-a-receiver"
	leakedToken   = "c4nary-token-that-has-leaked-0123456789"
)

// configuration has one of each thing that has a page. The sandbox asks for a later attempt of jwks.revoke, and only pretends to do the first role_mapping.delete.
const configuration = `
worker: {name: worker-1}
nats: {url: "%s"}
seal: {keys: [{seed_file: %s}]}
atlas:
  base_url: http://%s
  accounts:
    - {name: security, client_id: mdb_sa_id_5ec0000000000000000000a1, client_secret_env: REKEY_SANDBOX_CLIENT_SECRET}
proof: {within: 1s}
http: {listen: %s}
api:
  listen: %s
  clients:
    - {name: operator, token_env: OPERATOR, may: [submit, read, cancel, retry, replay, drop, operate]}
    - {name: viewer, token_env: VIEWER, may: [read]}
schedules:
  - {name: weekly-x509, cron: "0 3 * * 0", time_zone: UTC, job: {kind: x509.disable, account: security, params: {project_id: 5ec0000000000000000000f2}}}
receivers:
  - {name: security-channel, type: webhook, url_env: RECEIVER, outcomes: [refused, exhausted]}
rotations:
  - {name: ci, account: security, org_id: 5ec0000000000000000000b1, client_id: mdb_sa_id_5ec0000000000000000000a6, lifetime: 720h, deliver: [{type: file, path: %s}]}
policies:
  - name: project-closed
    on: {subjects: ["rekey.v1.event.siem"]}
    when: event.data.action == "close"
    jobs:
      - kind: x509.disable
        params: {project_id: event.data.project}
        reason: '"the project is closed"'
`

// fleet is a worker with its console, on the sandbox, and a browser.
type fleet struct {
	t       *testing.T
	browser context.Context //nolint:containedctx // It is the browser, as chromedp wants it.
	store   string          // Of the NATS server.
	nats    *server.Server
	open    string // The console without a login.
	login   string // The console with one, and the API.
}

// newFleet runs a worker and a sandbox until the test ends.
func newFleet(t *testing.T) *fleet {
	t.Helper()
	worker, dir := repo.Worker(t), t.TempDir()
	sandbox, web, api := address(t), address(t), address(t)
	f := &fleet{t: t, browser: newBrowser(t), store: filepath.Join(dir, "store"), open: "http://" + web, login: "http://" + api}
	f.serve()
	f.run(worker, "keygen", filepath.Join(dir, "seal.key"))
	file := filepath.Join(dir, "worker.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, configuration, f.nats.ClientURL(), filepath.Join(dir, "seal.key"), sandbox, web, api, filepath.Join(dir, "ci")), 0o600); err != nil {
		t.Fatal(err)
	}
	f.start(worker, "sandbox", "--listen", sandbox, "--fault", "jwks.revoke:503:retry_after=3600", "--fault", "role_mapping.delete:pretend:times=1")
	f.start(worker, "run", "-c", file)
	repo.Eventually(t, "the worker to be ready", func() bool {
		code, _ := f.ask(http.MethodGet, f.open+"/readyz", nil)
		return code == http.StatusOK
	})
	return f
}

// serve runs the NATS server, at the address that it had before, until the test ends.
func (f *fleet) serve() {
	f.t.Helper()
	options := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: f.store, NoSigs: true, NoLog: true}
	if f.nats != nil {
		at, err := url.Parse(f.nats.ClientURL())
		if err == nil {
			options.Port, err = strconv.Atoi(at.Port())
		}
		if err != nil {
			f.t.Fatal(err)
		}
	} else {
		f.t.Cleanup(func() { f.stop() })
	}
	ns, err := server.NewServer(options)
	if err != nil {
		f.t.Fatal(err)
	}
	f.nats = ns
	ns.Start()
	if !ns.ReadyForConnections(actTimeout) {
		f.t.Fatal("the NATS server is not ready")
	}
}

// stop ends the NATS server.
func (f *fleet) stop() {
	f.nats.Shutdown()
	f.nats.WaitForShutdown()
}

// run runs a command of the worker that ends by itself.
func (f *fleet) run(worker string, args ...string) {
	f.t.Helper()
	if out, err := exec.CommandContext(f.t.Context(), worker, args...).CombinedOutput(); err != nil {
		f.t.Fatalf("%s: %v\n%s", args[0], err, out)
	}
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
	cmd.Env = append(os.Environ(), "REKEY_SANDBOX_CLIENT_SECRET="+accountSecret, "OPERATOR="+operatorToken, "VIEWER="+viewerToken, "RECEIVER=http://127.0.0.1:9/"+receiverPath)
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

// await waits until a job has its outcome, or a verdict on its target.
func (f *fleet) await(job, until string) {
	f.t.Helper()
	if code, _ := f.ask(http.MethodGet, f.login+"/v1/jobs/"+job+"?wait=30s&until="+until, nil); code != http.StatusOK {
		f.t.Fatalf("waiting for job %s was answered with the code %d", job, code)
	}
}

// publish sends an event by NATS.
func (f *fleet) publish(event string) {
	f.t.Helper()
	nc, err := nats.Connect(f.nats.ClientURL())
	if err != nil {
		f.t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Request("rekey.v1.event.incident", []byte(event), actTimeout); err != nil {
		f.t.Fatal(err)
	}
}
