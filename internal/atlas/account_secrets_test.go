package atlas_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rekey/internal/atlas"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/secret"
)

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
