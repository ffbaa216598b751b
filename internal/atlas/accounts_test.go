package atlas_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rekey/internal/atlas"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/secret"
)

func TestNew(t *testing.T) {
	tests := []struct {
		name   string
		change func(*atlas.Config)
		want   []string // Lines of the error; none for a good Config.
	}{
		{name: "good", change: func(*atlas.Config) {}},
		{name: "bare", change: func(cfg *atlas.Config) { *cfg = atlas.Config{Recorder: newRecorder()} }},
		{name: "no recorder", change: func(cfg *atlas.Config) { cfg.Recorder = nil }, want: []string{"a recorder is required"}},
		{name: "bad URL", change: func(cfg *atlas.Config) { cfg.BaseURL = "cloud.mongodb.com" }, want: []string{"the base URL must be like https://cloud.mongodb.com"}},
		{name: "password in URL", change: func(cfg *atlas.Config) { cfg.BaseURL = "https://u:canary@x" }, want: []string{"the base URL must have no user, query and fragment"}},
		{name: "X.509 API", change: func(cfg *atlas.Config) { cfg.X509API = "v3" }, want: []string{"X.509 API must be v2 or v1.0"}},
		{name: "negative", change: func(cfg *atlas.Config) { cfg.Timeout = -time.Second }, want: []string{"timeout, longest Retry-After and concurrency must not be negative"}},
		{
			name: "all at once",
			change: func(cfg *atlas.Config) {
				cfg.X509API = "v3"
				cfg.Accounts = []atlas.Account{
					{},
					service("a"), apiKey("a"),
					{Name: "neither"},
					{Name: "both", ClientID: "x", PublicKey: "y"},
					{Name: "no secret", ClientID: "x"},
					{Name: "no key", PublicKey: "x"},
					{Name: "wrong secret", PublicKey: "x", PrivateKey: secret.Ref{Env: "K"}, ClientSecret: secret.Ref{Env: "S"}},
				}
			},
			want: []string{
				"X.509 API must be v2 or v1.0", "an account has no name", `account "a" is listed twice`,
				`account "neither" needs either a client id or a public key`, `account "both" needs either a client id or a public key`,
				`account "no secret" needs a client secret and no private key`, `account "no key" needs a private key and no client secret`,
				`account "wrong secret" needs a private key and no client secret`,
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config(nil)
			tt.change(&cfg)
			_, err := atlas.New(cfg)
			got := ""
			if err != nil {
				got = err.Error()
			}
			want := strings.Join(tt.want, "\n")
			if want != "" {
				want = "building the Atlas client: " + want
			}
			if got != want {
				t.Errorf("New() = %q, want %q", got, want)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	tests := []struct {
		name     string
		accounts []atlas.Account
		kind     jobs.Kind
		account  string
		want     string
		wantErr  string
	}{
		{name: "named", accounts: []atlas.Account{service("a"), apiKey("b")}, kind: kinds.JWKSRevoke, account: "b", want: "b"},
		{name: "only one", accounts: []atlas.Account{apiKey("b")}, kind: kinds.JWKSRevoke, want: "b"},
		{name: "several", accounts: []atlas.Account{service("a"), apiKey("b")}, kind: kinds.JWKSRevoke, wantErr: "account: is required, as there are several accounts: a, b"},
		{name: "none", kind: kinds.JWKSRevoke, wantErr: "account: there is none: the worker has no account configured (atlas.accounts)"},
		{name: "none, but named", kind: kinds.JWKSRevoke, account: "a", wantErr: "account: is not the name of an account: the worker has no account configured (atlas.accounts)"},
		{name: "unknown", accounts: []atlas.Account{service("a"), apiKey("b")}, kind: kinds.JWKSRevoke, account: "canary", wantErr: "account: is not the name of an account; there is a, b"},
		{name: "token by service account", accounts: []atlas.Account{service("a")}, kind: kinds.TokenRevoke, want: "a"},
		{name: "token by key", accounts: []atlas.Account{service("a"), apiKey("b")}, kind: kinds.TokenRevoke, account: "b", wantErr: "account: token.revoke needs a service account; b is an API key"},
		{name: "token by the only key", accounts: []atlas.Account{apiKey("b")}, kind: kinds.TokenRevoke, wantErr: "account: token.revoke needs a service account; b is an API key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config(nil)
			cfg.Accounts = tt.accounts
			got, err := newClient(t, cfg).Resolve(tt.kind, tt.account)
			if got != tt.want {
				t.Errorf("Resolve() = %q, want %q", got, tt.want)
			}
			if tt.wantErr == "" && err == nil {
				return
			}
			if _, ok := errors.AsType[*jobs.Malformed](err); !ok || err.Error() != tt.wantErr {
				t.Errorf("Resolve() = %v, want *jobs.Malformed %q", err, tt.wantErr)
			}
		})
	}
}

// TestConfigFailures are attempts that end before any request.
func TestConfigFailures(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tokenFile := func(path string) map[string]any { return map[string]any{"token_file": path} }
	tests := []struct {
		name    string
		kind    jobs.Kind
		account string
		raw     map[string]any
		want    string
	}{
		{name: "unknown account", kind: kinds.JWKSRevoke, account: "stranger", want: `account "stranger" is not configured`},
		{name: "unknown kind", kind: "x", account: "service", want: `there is no call for jobs of kind "x"`},
		{name: "no client secret", kind: kinds.JWKSRevoke, account: "lost", want: "account lost: reading a secret from environment variable LOST: it is not set"},
		{name: "no client secret for Basic", kind: kinds.TokenRevoke, account: "lost", raw: map[string]any{"token": revokedToken}, want: "account lost: reading a secret from environment variable LOST: it is not set"},
		{name: "no private key", kind: kinds.JWKSRevoke, account: "lost key", want: "account lost key: reading a secret from environment variable LOST: it is not set"},
		{name: "client secret with a zero-width space", kind: kinds.JWKSRevoke, account: "odd", want: "account odd: what is in environment variable ODD must be visible ASCII: character 7 is U+200B, a zero-width space"},
		{name: "private key in curly quotes", kind: kinds.JWKSRevoke, account: "odd key", want: "account odd key: what is in environment variable CURLY must be visible ASCII: character 1 is U+201C, a curly quote"},
		{name: "two client secrets", kind: kinds.JWKSRevoke, account: "two", want: "account two: reading a secret from environment variable TWO: line 2 holds something as well: it must be one line, the secret and nothing else"},
		{name: "token by key", kind: kinds.TokenRevoke, account: "key", want: "token.revoke needs a service account; key is an API key"},
		{name: "no token file", kind: kinds.TokenRevoke, account: "service", raw: tokenFile("/absent/x"), want: "reading the token from file /absent/x: no such file or directory"},
		{name: "directory", kind: kinds.TokenRevoke, account: "service", raw: tokenFile(dir), want: "reading the token from file " + dir + ": it is not a regular file"},
		{name: "empty", kind: kinds.TokenRevoke, account: "service", raw: tokenFile(file("empty", " \n")), want: "reading the token from file " + dir + "/empty: it is empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config(transportFunc(func(req *http.Request) (*http.Response, error) {
				t.Errorf("a request to %s was made", req.URL.Path)
				return reply(500, ""), nil
			}))
			lost := secret.Ref{Env: "LOST"}
			cfg.Accounts = append(cfg.Accounts,
				atlas.Account{Name: "lost", ClientID: clientID, ClientSecret: lost}, atlas.Account{Name: "lost key", PublicKey: "p", PrivateKey: lost},
				atlas.Account{Name: "odd", ClientID: clientID, ClientSecret: secret.Ref{Env: "ODD"}},
				atlas.Account{Name: "odd key", PublicKey: "p", PrivateKey: secret.Ref{Env: "CURLY"}},
				atlas.Account{Name: "two", ClientID: clientID, ClientSecret: secret.Ref{Env: "TWO"}})
			cfg.LookupEnv = func(name string) (string, bool) {
				odd := map[string]string{"ODD": "canary\u200bcanary", "CURLY": "\u201ccanary\u201d", "TWO": "canary\ncanary"}[name]
				if odd != "" {
					return odd, true
				}
				return environment(name)
			}
			j := jobs.Job{Kind: tt.kind, Account: tt.account}
			if tt.raw != nil {
				j = jobWith(t, tt.kind, tt.account, tt.raw)
			}
			f := revokeFails(t, newClient(t, cfg), j)
			if f.Reason != jobs.ReasonConfig || f.MaybeEffective || f.Err.Error() != tt.want {
				t.Errorf("got %+v (%v), want config: %s", f, f, tt.want)
			}
		})
	}
}

// TestFileThatDoesNotAnswer: an attempt whose file system does not answer ends with its time, and other files can be read.
func TestFileThatDoesNotAnswer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(revokedToken), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		answers := make(chan struct{})
		cfg := config(transportFunc(func(req *http.Request) (*http.Response, error) {
			t.Errorf("a request to %s was made", req.URL.Path)
			return reply(500, ""), nil
		}))
		cfg.TokenFiles = func(string) error { <-answers; return nil }
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("a minute is over"))
		defer cancel()
		_, err := newClient(t, cfg).Revoke(ctx, jobWith(t, kinds.TokenRevoke, "service", map[string]any{"token_file": path}))
		if err == nil || !strings.HasSuffix(err.Error(), "it does not answer: a minute is over") {
			t.Errorf("got %v", err)
		}
		close(answers)
	})
}

func TestCheckAccounts(t *testing.T) {
	status, code := 200, ""
	lost := false
	cfg := config(transportFunc(func(req *http.Request) (*http.Response, error) {
		if status == 200 {
			return reply(204, ""), nil
		}
		return reply(status, adminProblem(status, code, "No.")), nil
	}))
	cfg.Accounts = []atlas.Account{apiKey("key")}
	cfg.LookupEnv = func(string) (string, bool) { return privateKey, !lost }
	c := newClient(t, cfg)
	steps := []struct {
		name   string
		status int
		code   string
		lost   bool
		want   string
	}{
		{name: "good", status: 200},
		{name: "refused", status: 401, want: "account key: its last authentication was refused: HTTP 401: No. (the key was not checked: the server names no way to authenticate)"},
		{name: "unavailable proves nothing", status: 503, want: "account key: its last authentication was refused: HTTP 401: No. (the key was not checked: the server names no way to authenticate)"},
		{name: "not found proves the key", status: 404, code: "X_NOT_FOUND"},
		{name: "forbidden is about the resource", status: 403, code: "USER_UNAUTHORIZED"},
		{name: "address", status: 403, code: "IP_ADDRESS_NOT_ON_ACCESS_LIST", want: "account key: its last authentication was refused: HTTP 403 IP_ADDRESS_NOT_ON_ACCESS_LIST: No."},
		{name: "conflict proves the key", status: 409},
		{name: "secret is lost", status: 200, lost: true, want: "account key: reading a secret from environment variable KEY: it is not set"},
		{name: "good again", status: 200},
	}
	for _, step := range steps {
		status, code = step.status, step.code
		_, err := c.Revoke(t.Context(), job(t, kinds.JWKSRevoke, "key"))
		if (err == nil) != (status == 200) {
			t.Errorf("%s: Revoke() = %v", step.name, err)
		}
		lost = step.lost
		got := ""
		if err := c.CheckAccounts(t.Context()); err != nil {
			got = err.Error()
		}
		if got != step.want {
			t.Errorf("%s: CheckAccounts() = %q, want %q", step.name, got, step.want)
		}
		lost = false
	}
}
