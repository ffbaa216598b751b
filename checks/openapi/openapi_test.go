// Package openapi_test checks the document of the HTTP API with a validator, and talks to a worker as a client that knows nothing else.
package openapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"

	"rekey/checks/repo"
)

const token = "a-token-of-this-test"

// client is one that knows the document alone.
type client struct {
	t          *testing.T
	base       string
	validator  validator.Validator
	operations map[string]operation
}

type operation struct{ method, path string }

// do sends the request of an operation and checks request and answer against the document. body is a value, or nil.
func (c *client) do(id string, path, query map[string]string, body any) (int, map[string]any) {
	c.t.Helper()
	op, ok := c.operations[id]
	if !ok {
		c.t.Fatalf("the document has no operation %s", id)
	}
	url := c.base + op.path
	for name, value := range path {
		url = strings.ReplaceAll(url, "{"+name+"}", value)
	}
	separator := "?"
	for name, value := range query {
		url, separator = url+separator+name+"="+value, "&"
	}
	request := func() *http.Request {
		var content io.Reader
		if body != nil {
			data, err := json.Marshal(body)
			if err != nil {
				c.t.Fatal(err)
			}
			content = bytes.NewReader(data)
		}
		req, err := http.NewRequestWithContext(c.t.Context(), op.method, url, content)
		if err != nil {
			c.t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		if body != nil {
			req.Header.Set("Content-Type", "application/json")
		}
		return req
	}
	resp, err := http.DefaultClient.Do(request())
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(data))
	if ok, problems := c.validator.ValidateHttpResponse(request(), resp); !ok {
		for _, p := range problems {
			c.t.Errorf("%s: the answer %d %s is not as documented: %s: %s %v", id, resp.StatusCode, data, p.Message, p.Reason, p.SchemaValidationErrors)
		}
	}
	if resp.StatusCode < 300 {
		if ok, problems := c.validator.ValidateHttpRequest(request()); !ok {
			for _, p := range problems {
				c.t.Errorf("%s: the request is not as documented, and was accepted: %s: %s %v", id, p.Message, p.Reason, p.SchemaValidationErrors)
			}
		}
	}
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		c.t.Fatalf("%s: %v: %s", id, err, data)
	}
	return resp.StatusCode, fields
}

func TestDocument(t *testing.T) {
	base := startWorker(t)
	data := get(t, base+"/v1/openapi.json")
	document, err := libopenapi.NewDocument(data)
	if err != nil {
		t.Fatal(err)
	}
	v, problems := validator.NewValidator(document)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if ok, problems := v.ValidateDocument(); !ok {
		for _, p := range problems {
			t.Errorf("%s: %s %v", p.Message, p.Reason, p.SchemaValidationErrors)
		}
	}
	model, err := document.BuildV3Model()
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, base: base, validator: v, operations: map[string]operation{}}
	for path, item := range model.Model.Paths.PathItems.FromOldest() {
		for method, op := range item.GetOperations().FromOldest() {
			c.operations[op.OperationId] = operation{strings.ToUpper(method), path}
		}
	}
	talk(t, c)
}

// talk uses every operation.
func talk(t *testing.T, c *client) {
	t.Helper()
	must := func(want, got int, fields map[string]any) map[string]any {
		t.Helper()
		if got != want {
			t.Fatalf("%d %v, want %d", got, fields, want)
		}
		return fields
	}
	status, fields := c.do("submitJob", nil, nil, map[string]any{"kind": "x509.disable", "params": map[string]string{"project_id": "5ec0000000000000000000f1"}, "reason": "a test"})
	id := fmt.Sprint(must(202, status, fields)["job_id"])
	status, fields = c.do("getJob", map[string]string{"id": id}, map[string]string{"wait": "30s", "until": "outcome"}, nil)
	if must(200, status, fields); fields["outcome"] != "revoked" {
		t.Errorf("the job ended as %v", fields["outcome"])
	}
	status, fields = c.do("submitJob", nil, nil, map[string]any{"kind": "jwks.revoke", "params": map[string]string{"federation_id": "5ec0000000000000000000c1", "identity_provider_id": strings.Repeat("0", 24)}})
	refused := fmt.Sprint(must(202, status, fields)["job_id"])
	status, fields = c.do("getJob", map[string]string{"id": refused}, map[string]string{"wait": "30s"}, nil)
	if must(200, status, fields); fields["outcome"] != "refused" {
		t.Errorf("a job without its target ended as %v", fields["outcome"])
	}
	status, fields = c.do("listJobs", nil, map[string]string{"state": "done", "q": "test", "since": "1h", "limit": "10"}, nil)
	must(200, status, fields)
	status, fields = c.do("cancelJob", map[string]string{"id": id}, nil, map[string]string{"reason": "a test"})
	must(409, status, fields)
	status, fields = c.do("listDeadLetters", nil, nil, nil)
	letters, _ := must(200, status, fields)["dead_letters"].([]any)
	if len(letters) != 1 {
		t.Fatalf("%d dead letters", len(letters))
	}
	number := fmt.Sprint(letters[0].(map[string]any)["number"])
	status, fields = c.do("replayDeadLetter", map[string]string{"n": number}, nil, nil)
	must(200, status, fields)
	status, fields = c.do("getJob", map[string]string{"id": refused}, map[string]string{"wait": "30s"}, nil)
	must(200, status, fields)
	status, fields = c.do("listDeadLetters", nil, map[string]string{"limit": "1"}, nil)
	letters, _ = must(200, status, fields)["dead_letters"].([]any)
	number = fmt.Sprint(letters[0].(map[string]any)["number"])
	status, fields = c.do("dropDeadLetter", map[string]string{"n": number}, nil, map[string]string{"reason": "a test"})
	must(200, status, fields)
	status, fields = c.do("retryJob", map[string]string{"id": refused}, nil, nil)
	must(200, status, fields)
	status, fields = c.do("publishEvent", map[string]string{"class": "siem"}, nil, map[string]any{"alert": "none"})
	must(202, status, fields)
	status, fields = c.do("getStatus", nil, nil, nil)
	must(200, status, fields)
	status, fields = c.do("getOpenAPI", nil, nil, nil)
	must(200, status, fields)
	status, fields = c.do("submitJob", nil, nil, map[string]any{"kind": "x509.disable", "params": map[string]string{"project_id": "none"}})
	must(422, status, fields)
	status, fields = c.do("getJob", map[string]string{"id": strings.Repeat("0", 26)}, nil, nil)
	must(404, status, fields)
}

// startWorker runs a worker against the sandbox and returns the address of its API.
func startWorker(t *testing.T) string {
	t.Helper()
	binary, dir := repo.Worker(t), t.TempDir()
	sandbox, health, api := free(t), free(t), free(t)
	t.Setenv("REKEY_SANDBOX_CLIENT_SECRET", "mdb_sa_sk_for_this_test_only")
	t.Setenv("REKEY_SANDBOX_PRIVATE_KEY", "00000000-0000-4000-8000-000000000000")
	files := map[string]string{"token": token, "worker.yaml": fmt.Sprintf(`
nats: {embedded: {listen: "", store_dir: ./data}}
atlas:
  base_url: http://%s
  accounts: [{name: security, client_id: mdb_sa_id_5ec0000000000000000000a1, client_secret_env: REKEY_SANDBOX_CLIENT_SECRET}]
http: {listen: "%s"}
api:
  listen: "%s"
  clients: [{name: soar, token_file: token, may: [submit, read, cancel, retry, replay, drop, events]}]
`, sandbox, health, api)}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(t, dir, binary, "sandbox", "--listen", sandbox)
	run(t, dir, binary, "run", "-c", "worker.yaml")
	repo.Eventually(t, "the worker", func() bool {
		resp, err := http.Get("http://" + health + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return "http://" + api
}

// run runs a command until the test ends.
func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), name, args...)
	cmd.Dir = dir
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Logf("%s: %v\n%s", args[0], err, output.String())
		}
	})
}

func free(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func get(t *testing.T, url string) []byte {
	t.Helper()
	client := http.Client{Timeout: time.Minute}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v %d %s", err, resp.StatusCode, data)
	}
	return data
}
