package api_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"rekey/internal/api"
	"rekey/internal/apptest"
	"rekey/internal/config"
	"rekey/internal/refused"
	"rekey/internal/secret"
)

// counts are what was recorded.
type counts struct {
	mu      sync.Mutex
	of      map[string]map[int]int
	refused []refused.Key
}

// APIRequest implements api.Recorder.
func (c *counts) APIRequest(route string, code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[route] == nil {
		c.of[route] = map[int]int{}
	}
	c.of[route][code]++
}

// Refused implements api.Auditor.
func (c *counts) Refused(k refused.Key, remote string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if host, _, err := net.SplitHostPort(remote); err != nil || host != "127.0.0.1" {
		k.Code += " from " + remote
	}
	c.refused = append(c.refused, k)
}

// audited are the refusals that were kept since it was asked last.
func (c *counts) audited() []refused.Key {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.refused
	c.refused = nil
	return list
}

func (c *counts) get(route string, code int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.of[route][code]
}

// rig is a server without a fleet: a request that is admitted is answered with 503.
type rig struct {
	*api.Server
	t      *testing.T
	dir    string
	cfg    config.API
	counts *counts
	logs   *observer.ObservedLogs
	base   string
	http   *http.Client
}

// soarToken is that of the client soar.
const soarToken = "soar-8f2c41d09b7e4a55"

func newRig(t *testing.T, change func(*rig)) *rig {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	r := &rig{t: t, dir: t.TempDir(), counts: &counts{of: map[string]map[int]int{}}, logs: logs, http: &http.Client{Transport: &http.Transport{}}}
	r.cfg = config.API{Listen: "127.0.0.1:0", Clients: []config.APIClient{
		{Name: "soar", Token: secret.Ref{File: r.file("soar", soarToken+"\n")}, May: config.Permissions()},
		{Name: "viewer", Token: secret.Ref{File: r.file("viewer", "viewer-1\nviewer-2\n")}, May: []config.Permission{config.MayRead}},
		{Name: "siem", Token: secret.Ref{File: r.file("siem", "siem-1")}, May: []config.Permission{config.MayEvents}},
	}}
	if change != nil {
		change(r)
	}
	server, err := api.New(api.Config{API: r.cfg, Lookup: func(string) (string, bool) { return "", false }, Recorder: r.counts, Auditor: r.counts, Logger: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.http.CloseIdleConnections()
		if err := server.Stop(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	r.Server, r.base = server, "http://"+server.Addr()
	if r.cfg.TLS.CertFile != "" {
		r.base = "https://" + server.Addr()
	}
	return r
}

// file writes a file of the rig and returns its path.
func (r *rig) file(name, content string) string {
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// ask sends a request, and checks that an answer that is not a success is a problem.
func (r *rig) ask(method, path, authorization string, header ...string) (int, http.Header, api.Problem) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.base+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := r.http.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	var p api.Problem
	if resp.StatusCode >= 300 {
		if got := resp.Header.Get("Content-Type"); got != "application/problem+json" {
			r.t.Errorf("%s %s: %d with content type %q", method, path, resp.StatusCode, got)
		}
		if err := json.NewDecoder(bytes.NewReader(body)).Decode(&p); err != nil || p.Status != resp.StatusCode || p.Detail == "" || p.Title == "" || p.Code == "" {
			r.t.Errorf("%s %s: %d with the body %s", method, path, resp.StatusCode, body)
		}
	}
	return resp.StatusCode, resp.Header, p
}

func TestAdmission(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	const status = "GET /v1/status"
	for _, tt := range []struct {
		name, method, path, authorization string
		header                            []string
		want                              int
		code                              api.Code
		route                             string
		client                            string // In the audit trail.
	}{
		{name: "no token", method: "GET", path: "/v1/status", want: 401, code: api.CodeUnauthorized, route: status},
		{name: "wrong token", method: "GET", path: "/v1/status", authorization: "Bearer " + soarToken + "x", want: 401, code: api.CodeUnauthorized, route: status},
		{name: "beginning of a token", method: "GET", path: "/v1/status", authorization: "Bearer " + soarToken[:8], want: 401, code: api.CodeUnauthorized, route: status},
		{name: "two tokens at once", method: "GET", path: "/v1/status", authorization: "Bearer viewer-1\u00a0viewer-2", want: 401, code: api.CodeUnauthorized, route: status},
		{name: "another scheme", method: "GET", path: "/v1/status", authorization: "Basic " + soarToken, want: 401, code: api.CodeUnauthorized, route: status},
		{name: "empty token", method: "GET", path: "/v1/status", authorization: "Bearer ", want: 401, code: api.CodeUnauthorized, route: status},
		{name: "two headers", method: "GET", path: "/v1/status", authorization: "Bearer " + soarToken, header: []string{"Authorization", "Bearer " + soarToken}, want: 401, code: api.CodeUnauthorized, route: status},
		{name: "known", method: "GET", path: "/v1/status", authorization: "Bearer " + soarToken, want: 503, code: api.CodeUnavailable, route: status},
		{name: "scheme in small letters", method: "GET", path: "/v1/status", authorization: "bearer " + soarToken, want: 503, code: api.CodeUnavailable, route: status},
		{name: "second token of the file", method: "GET", path: "/v1/status", authorization: "Bearer viewer-2", want: 503, code: api.CodeUnavailable, route: status},
		{name: "may not read", method: "GET", path: "/v1/status", authorization: "Bearer siem-1", want: 403, code: api.CodeForbidden, route: status, client: "siem"},
		{name: "no such path", method: "GET", path: "/v2/status", want: 404, code: api.CodeNotFound, route: "other"},
		{name: "a path with a way up", method: "POST", path: "/in/github/../gitlab", want: 404, code: api.CodeNotFound, route: "other"},
		{name: "a path with an empty part", method: "POST", path: "//in/github", want: 404, code: api.CodeNotFound, route: "other"},
		{name: "an encoded way up", method: "POST", path: "/v1/jobs/%2e%2e/jobs", authorization: "Bearer " + soarToken, want: 404, code: api.CodeNotFound, route: "other"},
		{name: "no such door", method: "POST", path: "/in/github", want: 404, code: api.CodeNotFound, route: "/in/{door}"},
		{name: "another method", method: "DELETE", path: "/v1/status", want: 405, code: api.CodeMethod, route: "other"},
		{name: "from another site", method: "POST", path: "/v1/jobs", header: []string{"Sec-Fetch-Site", "cross-site"}, want: 403, code: api.CodeCrossOrigin, route: "other"},
	} {
		before := r.counts.get(tt.route, tt.want)
		r.counts.audited()
		got, header, p := r.ask(tt.method, tt.path, tt.authorization, tt.header...)
		if got != tt.want || p.Code != tt.code {
			t.Errorf("%s: %d %s, want %d %s", tt.name, got, p.Code, tt.want, tt.code)
		}
		if (header.Get("WWW-Authenticate") != "") != (tt.want == 401) || (header.Get("Retry-After") != "") != (tt.want == 503) || (header.Get("Allow") != "") != (tt.want == 405) {
			t.Errorf("%s: header %v", tt.name, header)
		}
		if n := r.counts.get(tt.route, tt.want); n != before+1 {
			t.Errorf("%s: %d requests are counted, want one more than %d", tt.name, n, before)
		}
		var audited []refused.Key
		if tt.want == 401 || tt.want == 403 {
			audited = []refused.Key{{Client: tt.client, Route: tt.route, Status: tt.want, Code: string(tt.code)}}
		}
		if diff := cmp.Diff(audited, r.counts.audited()); diff != "" {
			t.Errorf("%s: kept for the audit trail (-want +got):\n%s", tt.name, diff)
		}
	}
	for _, entry := range r.logs.All() {
		for _, token := range []string{soarToken[:8], "viewer-", "siem-1"} {
			if text := entry.Message + " " + string(encoded(t, entry.ContextMap())); strings.Contains(text, token) {
				t.Errorf("the log shows a token: %s", text)
			}
		}
	}
	if refusals := r.logs.FilterMessage("request refused").FilterField(zap.String("client", "siem")).Len(); refusals != 1 {
		t.Errorf("%d refusals of client siem are in the log, want 1", refusals)
	}
}

func encoded(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestTokenIsReadAgain: a rotated token is used, and one that was taken away shuts its client out.
func TestTokenIsReadAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	status := func(token string) int {
		got, _, _ := r.ask("GET", "/v1/status", "Bearer "+token)
		return got
	}
	if got := status(soarToken); got != 503 {
		t.Fatalf("the first token: %d", got)
	}
	r.file("soar", "the-next-one")
	apptest.Eventually(t, "the next token", func() bool { return status("the-next-one") == 503 })
	if got := status(soarToken); got != 401 {
		t.Errorf("the token of before: %d", got)
	}
	if err := os.Remove(filepath.Join(r.dir, "soar")); err != nil {
		t.Fatal(err)
	}
	apptest.Eventually(t, "the refusal of a client without a token", func() bool { return status("the-next-one") == 401 })
}

func TestRate(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(r *rig) { r.cfg.Clients[0].Rate = 3 })
	for range 3 {
		if got, _, _ := r.ask("GET", "/v1/status", "Bearer "+soarToken); got != 503 {
			t.Fatalf("within the rate: %d", got)
		}
	}
	got, header, p := r.ask("GET", "/v1/status", "Bearer "+soarToken)
	if got != 429 || p.Code != api.CodeRateLimited || header.Get("Retry-After") != "20" {
		t.Errorf("above the rate: %d %s, Retry-After %q, want 20", got, p.Code, header.Get("Retry-After"))
	}
	if diff := cmp.Diff([]refused.Key{{Client: "soar", Route: "GET /v1/status", Status: 429, Code: "rate_limited"}}, r.counts.audited()); diff != "" {
		t.Errorf("kept for the audit trail (-want +got):\n%s", diff)
	}
	if got, _, _ := r.ask("GET", "/v1/status", "Bearer viewer-1"); got != 503 {
		t.Errorf("another client: %d", got)
	}
	// A reload that does not change the rate does not give it back.
	r.Use(r.cfg)
	if got, _, _ := r.ask("GET", "/v1/status", "Bearer "+soarToken); got != 429 {
		t.Errorf("after a reload: %d", got)
	}
	r.cfg.Clients = r.cfg.Clients[1:]
	r.Use(r.cfg)
	if got, _, _ := r.ask("GET", "/v1/status", "Bearer "+soarToken); got != 401 {
		t.Errorf("a client that was removed: %d", got)
	}
}

// TestTLS: HTTP/2, names of client certificates, and a certificate that is renewed while the server runs.
func TestTLS(t *testing.T) {
	t.Parallel()
	authority, stranger := apptest.NewAuthority(t), apptest.NewAuthority(t)
	cert := authority.Issue(t, "127.0.0.1")
	r := newRig(t, func(r *rig) {
		r.cfg.TLS = config.APITLS{CertFile: cert.CertFile, KeyFile: cert.KeyFile, ClientCAFile: authority.File}
		r.cfg.Clients = append(r.cfg.Clients, config.APIClient{Name: "cert", CertName: "soar.example.com", May: []config.Permission{config.MayRead}})
	})
	with := func(pairs ...tls.Certificate) *http.Client {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority.Pool, Certificates: pairs}, ForceAttemptHTTP2: true}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	for _, tt := range []struct {
		name  string
		pairs []tls.Certificate
		want  int
	}{
		{"no certificate", nil, 401},
		{"its name", []tls.Certificate{authority.Issue(t, "soar.example.com").Pair}, 503},
		{"another name", []tls.Certificate{authority.Issue(t, "other.example.com").Pair}, 401},
	} {
		r.http = with(tt.pairs...)
		if got, _, _ := r.ask("GET", "/v1/status", ""); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	if _, err := with(stranger.Issue(t, "soar.example.com").Pair).Get(r.base + "/v1/status"); err == nil {
		t.Error("the certificate of another authority is accepted")
	}
	resp, err := with().Get(r.base + "/v1/status")
	if err != nil || resp.ProtoMajor != 2 {
		t.Fatalf("%v, protocol %v; want HTTP/2", err, resp)
	}
	resp.Body.Close()
	before := resp.TLS.PeerCertificates[0].Raw
	renewed := authority.Issue(t, "127.0.0.1")
	for from, to := range map[string]string{renewed.KeyFile: cert.KeyFile, renewed.CertFile: cert.CertFile} {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	apptest.Eventually(t, "the renewed certificate", func() bool {
		resp, err := with().Get(r.base + "/v1/status")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return !bytes.Equal(resp.TLS.PeerCertificates[0].Raw, before)
	})
	for name, old := range map[string]*tls.Config{
		"TLS 1.1": {MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10},
		"CBC":     {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}},
	} {
		old.RootCAs = authority.Pool
		if conn, err := tls.Dial("tcp", r.Addr(), old); err == nil {
			conn.Close()
			t.Errorf("%s is accepted", name)
		}
	}
}
