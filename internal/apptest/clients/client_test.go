package clients_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"rekey/internal/apptest"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/secret"
)

// The clients of every test, each with its token.
const (
	soar    = "soar"    // May do everything.
	viewer  = "viewer"  // May read.
	limited = "limited" // May do everything with x509.disable by the account security, and publish incidents.
	revoker = "revoker" // May read jobs of jwks.revoke.
	leaks   = "leaks"   // May contain leaks.
)

// withAPI lets a worker have the API, with the clients of every test.
func withAPI(t *testing.T, r *apptest.Rig) *apptest.Rig {
	t.Helper()
	r.Cfg.API.Listen = "127.0.0.1:0"
	for _, c := range []config.APIClient{
		{Name: soar, May: config.Permissions()},
		{Name: viewer, May: []config.Permission{config.MayRead}},
		{Name: limited, May: config.Permissions(), Kinds: []jobs.Kind{kinds.X509Disable}, Accounts: []string{apptest.Security}, Classes: []string{"incident"}},
		{Name: revoker, May: []config.Permission{config.MayRead}, Kinds: []jobs.Kind{kinds.JWKSRevoke}},
		{Name: leaks, May: []config.Permission{config.MaySubmit, config.MayRead}, Kinds: []jobs.Kind{kinds.LeakContain}},
	} {
		file := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(file, []byte(tokenOf(c.Name)), 0o600); err != nil {
			t.Fatal(err)
		}
		c.Token = secret.Ref{File: file}
		r.Cfg.API.Clients = append(r.Cfg.API.Clients, c)
	}
	return r
}

func tokenOf(client string) string { return client + "-token-5d2fa8e1c0" }

// answer is what the API answered.
type answer struct {
	status int
	header http.Header
	body   map[string]any
	text   string
}

// get is a member of the answer, "" where there is none.
func (a answer) get(name string) string {
	text, _ := a.body[name].(string)
	return text
}

// caller asks as a client.
type caller struct {
	t      *testing.T
	url    string
	client string
}

func as(w *apptest.Worker, client string) caller { return caller{w.T, "http://" + w.API, client} }

// do sends a request. body is a text, or a value that is encoded; nil for none.
func (c caller) do(method, path string, body any, header ...string) answer {
	c.t.Helper()
	a, err := c.attempt(method, path, body, header...)
	if err != nil {
		c.t.Fatal(err)
	}
	return a
}

func (c caller) attempt(method, path string, body any, header ...string) (answer, error) {
	var content io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		content = bytes.NewBufferString(b)
	default:
		content = bytes.NewBufferString(apptest.Encoded(b))
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, content)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+tokenOf(c.client))
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		if slices.Contains(header[:i], header[i]) { // The test gives two.
			req.Header.Add(header[i], header[i+1])
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	client := http.Client{Timeout: apptest.Patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	a := answer{status: resp.StatusCode, header: resp.Header, text: string(data)}
	if err == nil {
		err = json.Unmarshal(data, &a.body)
	}
	return a, err
}

// must fails the test unless the answer has a status.
func (a answer) must(t *testing.T, what string, status int) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("%s: %d %s, want %d", what, a.status, a.text, status)
	}
	return a
}

// outcome waits for the outcome of a job.
func (c caller) outcome(id string) answer {
	c.t.Helper()
	for range 5 { // 202: not known yet. A busy machine may take longer than one wait.
		if a := c.do("GET", "/v1/jobs/"+id+"?wait="+(10*time.Second).String(), nil); a.status != http.StatusAccepted {
			return a.must(c.t, "waiting for job "+id, http.StatusOK)
		}
	}
	c.t.Fatalf("job %s has no outcome yet", id)
	return answer{}
}
