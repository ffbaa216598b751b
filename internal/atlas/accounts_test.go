package atlas_test

import (
	"context"
	"errors"
	"fmt"
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
		{name: "none", kind: kinds.JWKSRevoke, wantErr: "account: no account is configured"},
		{name: "none, but named", kind: kinds.JWKSRevoke, account: "a", wantErr: "account: no account is configured"},
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
	j := jobWith(t, kinds.TokenRevoke, "service", map[string]any{"token_file": path})
	for _, token := range []string{"first-token", "second-token"} {
		if err := os.WriteFile(path, []byte("\n "+token+" \r\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if revokeWorks(t, c, j); got != token {
			t.Errorf("token %q, want %q", got, token)
		}
	}
}

// TestNoToken: whatever is no bearer token is refused before any call, whichever way it comes. The API would say 200.
func TestNoToken(t *testing.T) {
	dir := t.TempDir()
	const jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.c2ln"
	tests := []struct {
		name, text, want string
		file             string // What is said of a file, where that is something else; "-" for nothing: there it is a token.
	}{
		{name: "client secret", text: "mdb_sa_sk_canary1", want: "is the secret of a service account (mdb_sa_sk_…), and no bearer token: "},
		{name: "client id", text: clientID, want: "is the id of a service account"},
		{name: "private key", text: "0f1e2d3c-4b5a-4678-9abc-def012345678", want: "is a UUID"},
		{name: "connection string", text: "mongodb+srv://u:canary@cluster0.example.net", want: "is a connection string with a password"},
		{name: "placeholder", text: "REDACTED", want: "is a placeholder"},
		{name: "fragment", text: jwt[:30], want: "is a part of a token: it was cut off"},
		{name: "short", text: "canary", want: "has 6 characters, which is too short"},
		{name: "header", text: "Bearer " + jwt, want: "is a header Authorization with its scheme"},
		{name: "JSON", text: `{"access_token":"` + jwt + `"}`, want: "is a JSON document"},
		{name: "another vendor's", text: "ghp_canarycanarycanarycanarycanarycanary", want: "is a GitHub token"},
		{name: "zero-width space", text: "canary\u200bcanary", want: "must be visible ASCII: character 7 is U+200B, a zero-width space"},
		{name: "byte order mark", text: "\ufeffcanary-canary", want: "must be visible ASCII: character 1 is U+FEFF, a byte order mark", file: "-"},
		{name: "two lines", text: "canary-canary\ncanary", want: "must be visible ASCII: character 14 is U+000A, a line feed", file: "is no token: line 2 holds something as well: it must be one line, the secret and nothing else"},
		{name: "PEM", text: "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----", want: "is a PEM block"},
		{name: "UTF-16", text: "\xff\xfec\x00a\x00n\x00a\x00r\x00y\x00", want: "must be visible ASCII: character 1 is the byte 0xFF, which is no UTF-8", file: "is no token: it is UTF-16: save it as UTF-8"},
		{name: "too long", text: strings.Repeat("canary", 3000), want: "must have 1 to 16384 bytes", file: "is no token: it is larger than 17 KiB"},
	}
	for _, tt := range tests {
		path := filepath.Join(dir, "token")
		if err := os.WriteFile(path, []byte(tt.text+"\r\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		inFile := "params.token_file: what is in " + path + " "
		ways := map[string]struct {
			raw  map[string]any
			want string
		}{
			"token":        {map[string]any{"token": tt.text}, "params.token: " + tt.want},
			"token_sealed": {map[string]any{"token_sealed": "rekey-seal.v1.X." + tt.text}, "params.token_sealed: what is sealed in it " + tt.want},
			"token_ref":    {map[string]any{"token_ref": "vault:leak#token"}, "params.token_ref: what is in vault:leak#token " + tt.want},
			"token_file":   {map[string]any{"token_file": path}, inFile + tt.want},
		}
		if way := ways["token_file"]; tt.file != "" {
			way.want = inFile + tt.file
			ways["token_file"] = way
		}
		for name, way := range ways {
			for _, dry := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/%v", tt.name, name, dry), func(t *testing.T) {
					checkNoToken(t, tt.text, way.raw, way.want, dry, name == "token_file" && tt.file == "-")
				})
			}
		}
	}
}

// opened is a Sealer and a store that give back the same text.
type opened string

func (o opened) Seal(secret.Value) (string, error) { return "", nil }
func (o opened) Open(string) (secret.Value, error) { return secret.New(string(o)), nil }
func (o opened) Read(context.Context, string) (secret.Value, error) {
	return secret.New(string(o)), nil
}

func checkNoToken(t *testing.T, text string, raw map[string]any, want string, dry, good bool) {
	t.Helper()
	calls := 0
	cfg := config(transportFunc(func(req *http.Request) (*http.Response, error) {
		calls++
		if isTokenRequest(req) {
			return issue(bearerToken, 3600), nil
		}
		return reply(200, ""), nil
	}))
	cfg.Stores = map[string]atlas.SecretStore{"vault": opened(text)}
	params, err := jobs.CarriedParams(kinds.TokenRevoke, raw)
	if raw["token_sealed"] != nil {
		params, err = jobs.CarriedParams(kinds.TokenRevoke, map[string]any{"token_sealed": "rekey-seal.v1.X.y"})
	}
	if err == nil {
		params, err = params.Open(opened(text))
	}
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, cfg)
	answer, err := c.Revoke(t.Context(), jobs.Job{ID: "j", Kind: kinds.TokenRevoke, Account: "service", Params: params, DryRun: dry})
	if good {
		if err != nil || calls != 1 {
			t.Errorf("%v after %d calls, want that it is revoked", err, calls)
		}
		return
	}
	f := failureOf(t, answer, err)
	if f.Reason != jobs.ReasonInvalid || f.MaybeEffective || calls != 0 || !strings.HasPrefix(f.Err.Error(), want) || strings.Contains(f.Err.Error(), "canary") {
		t.Errorf("got %v after %d calls, want %s and none", f, calls, want)
	}
	if err := c.CheckAccounts(t.Context()); err != nil {
		t.Errorf("the account: %v", err)
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
	j := job(t, kinds.TokenRevoke, "service")
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
