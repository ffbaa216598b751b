package atlas_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rekey/internal/atlas"
	"rekey/internal/jobs"
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
				"X.509 API must be v2 or v1.0", "an account has no name", `account "a" is there twice`,
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
		{name: "named", accounts: []atlas.Account{service("a"), apiKey("b")}, kind: jobs.JWKSRevoke, account: "b", want: "b"},
		{name: "only one", accounts: []atlas.Account{apiKey("b")}, kind: jobs.JWKSRevoke, want: "b"},
		{name: "several", accounts: []atlas.Account{service("a"), apiKey("b")}, kind: jobs.JWKSRevoke, wantErr: "account: is required, as there are several accounts: a, b"},
		{name: "none", kind: jobs.JWKSRevoke, wantErr: "account: no account is configured"},
		{name: "none, but named", kind: jobs.JWKSRevoke, account: "a", wantErr: "account: no account is configured"},
		{name: "unknown", accounts: []atlas.Account{service("a"), apiKey("b")}, kind: jobs.JWKSRevoke, account: "canary", wantErr: "account: is not the name of an account; there is a, b"},
		{name: "token by service account", accounts: []atlas.Account{service("a")}, kind: jobs.TokenRevoke, want: "a"},
		{name: "token by key", accounts: []atlas.Account{service("a"), apiKey("b")}, kind: jobs.TokenRevoke, account: "b", wantErr: "account: token.revoke needs a service account; b is an API key"},
		{name: "token by the only key", accounts: []atlas.Account{apiKey("b")}, kind: jobs.TokenRevoke, wantErr: "account: token.revoke needs a service account; b is an API key"},
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
		{name: "unknown account", kind: jobs.JWKSRevoke, account: "nobody", want: `account "nobody" is not configured`},
		{name: "unknown kind", kind: "x", account: "service", want: `there is no call for jobs of kind "x"`},
		{name: "no client secret", kind: jobs.JWKSRevoke, account: "lost", want: "account lost: reading a secret from environment variable LOST: it is not set"},
		{name: "no client secret for Basic", kind: jobs.TokenRevoke, account: "lost", raw: map[string]any{"token": revokedToken}, want: "account lost: reading a secret from environment variable LOST: it is not set"},
		{name: "no private key", kind: jobs.JWKSRevoke, account: "lost key", want: "account lost key: reading a secret from environment variable LOST: it is not set"},
		{name: "token by key", kind: jobs.TokenRevoke, account: "key", want: "token.revoke needs a service account; key is an API key"},
		{name: "no token", kind: jobs.TokenRevoke, account: "service", want: "the job holds no token"},
		{name: "no token file", kind: jobs.TokenRevoke, account: "service", raw: tokenFile("/absent/x"), want: "reading the token from file /absent/x: no such file or directory"},
		{name: "directory", kind: jobs.TokenRevoke, account: "service", raw: tokenFile(dir), want: "reading the token from file " + dir + ": it is not a regular file"},
		{name: "empty", kind: jobs.TokenRevoke, account: "service", raw: tokenFile(file("empty", " \n")), want: "reading the token from file " + dir + "/empty: it does not hold one token and nothing else"},
		{name: "two tokens", kind: jobs.TokenRevoke, account: "service", raw: tokenFile(file("two", "canary\ncanary\n")), want: "reading the token from file " + dir + "/two: it does not hold one token and nothing else"},
		{name: "too long", kind: jobs.TokenRevoke, account: "service", raw: tokenFile(file("long", strings.Repeat("x", 16<<10+1))), want: "reading the token from file " + dir + "/long: it is larger than 16 KiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config(transportFunc(func(req *http.Request) (*http.Response, error) {
				t.Errorf("a request to %s was made", req.URL.Path)
				return reply(500, ""), nil
			}))
			lost := secret.Ref{Env: "LOST"}
			cfg.Accounts = append(cfg.Accounts,
				atlas.Account{Name: "lost", ClientID: clientID, ClientSecret: lost}, atlas.Account{Name: "lost key", PublicKey: "p", PrivateKey: lost})
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

// TestTokenFile: the file is read at the time of the call.
func TestTokenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	var got string
	c := newClient(t, config(transportFunc(func(req *http.Request) (*http.Response, error) {
		if err := req.ParseForm(); err != nil {
			return nil, err
		}
		got = req.PostForm.Get("token")
		return reply(200, ""), nil
	})))
	j := jobWith(t, jobs.TokenRevoke, "service", map[string]any{"token_file": path})
	for _, token := range []string{"first", "second"} {
		if err := os.WriteFile(path, []byte("\n "+token+" \r\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if revokeWorks(t, c, j); got != token {
			t.Errorf("token %q, want %q", got, token)
		}
	}
}

// TestRotatedSecret: the secret is read again for the next token.
func TestRotatedSecret(t *testing.T) {
	current := "first"
	cfg := config(transportFunc(func(req *http.Request) (*http.Response, error) {
		if _, password, _ := req.BasicAuth(); password != "second" {
			return reply(401, `{"error":"invalid_client"}`), nil
		}
		return reply(200, ""), nil
	}))
	cfg.LookupEnv = func(string) (string, bool) { return current, true }
	c := newClient(t, cfg)
	j := job(t, jobs.TokenRevoke, "service")
	if f := revokeFails(t, c, j); f.Reason != jobs.ReasonUnauthorized || f.Answer.Code != "invalid_client" {
		t.Errorf("got %+v (%v)", f, f)
	}
	current = "second"
	revokeWorks(t, c, j)
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
		{name: "refused", status: 401, want: "account key: its last authentication was refused: HTTP 401: No."},
		{name: "unavailable proves nothing", status: 503, want: "account key: its last authentication was refused: HTTP 401: No."},
		{name: "not found proves the key", status: 404, code: "X_NOT_FOUND"},
		{name: "forbidden is about the resource", status: 403, code: "USER_UNAUTHORIZED"},
		{name: "address", status: 403, code: "IP_ADDRESS_NOT_ON_ACCESS_LIST", want: "account key: its last authentication was refused: HTTP 403 IP_ADDRESS_NOT_ON_ACCESS_LIST: No."},
		{name: "conflict proves the key", status: 409},
		{name: "secret is lost", status: 200, lost: true, want: "account key: reading a secret from environment variable KEY: it is not set"},
		{name: "good again", status: 200},
	}
	for _, step := range steps {
		status, code = step.status, step.code
		_, err := c.Revoke(t.Context(), job(t, jobs.JWKSRevoke, "key"))
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
