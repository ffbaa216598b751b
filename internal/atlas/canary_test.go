package atlas_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"rekey/internal/atlas"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/redact"
	"rekey/internal/secret"
)

// parrot is an API that repeats all that it was sent and knows of the caller, wherever it can.
type parrot struct {
	status int
	oauth  bool // It speaks OAuth.
	tokens bool // It issues bearer tokens.
	broken bool // It answers in the transport's error.
	absurd bool // It asks for an absurd wait.
}

func (p parrot) RoundTrip(req *http.Request) (*http.Response, error) {
	if isTokenRequest(req) && p.tokens {
		return issue(bearerToken, 3600), nil
	}
	var form []byte
	if req.Body != nil {
		var err error
		if form, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
	}
	known := clientSecret
	switch scheme, rest, _ := strings.Cut(req.Header.Get("Authorization"), " "); {
	case scheme == "Digest":
		known = privateKey
	case scheme == "Bearer":
		known = rest
	case len(form) > 0 && strings.HasSuffix(req.URL.Path, "/oauth/revoke"):
		known = revokedToken
	case scheme == "":
		known = "nothing"
	}
	said := fmt.Sprintf("%s %s %v %s", known, req.URL, req.Header, form)
	if known == bearerToken || known == revokedToken {
		said += " " + clientSecret
	}
	if p.broken {
		return nil, &url.Error{Op: "Delete", URL: "https://" + known, Err: errors.New("malformed HTTP response " + said)}
	}
	document := map[string]any{"error": p.status, "errorCode": known, "detail": said, "parameters": []any{said, said}}
	if p.oauth {
		document = map[string]any{"error": known, "error_description": said}
	}
	body, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	resp := reply(p.status, string(body), "X-Request-Id", known, "X-Envoy-Request-Id", "id-"+known)
	if p.status == http.StatusUnauthorized {
		resp.Header.Set("WWW-Authenticate", `Digest realm="`+known+`", nonce="`+known+`", qop="auth"`)
	}
	if p.absurd {
		resp.Header.Set("Retry-After", "99999999999")
	}
	return resp, nil
}

// TestCanary plants secrets, lets the API repeat them, and finds them nowhere.
func TestCanary(t *testing.T) {
	parrots := []parrot{{broken: true}, {broken: true, tokens: true}}
	for _, status := range []int{200, 202, 204, 302, 400, 401, 403, 404, 409, 429, 500, 503} {
		for _, oauth := range []bool{false, true} {
			for _, tokens := range []bool{false, true} {
				parrots = append(parrots, parrot{status: status, oauth: oauth, tokens: tokens, absurd: true})
			}
		}
	}
	for _, p := range parrots {
		for _, kind := range kinds.Calling() {
			for _, account := range []string{"service", "key"} {
				core, logs := observer.New(zapcore.DebugLevel)
				rec, shared := newRecorder(), newStore()
				shared.mend(errors.New("no KV"))
				cfg := config(p)
				cfg.Logger, cfg.Recorder, cfg.Pace = zap.New(core), rec, shared
				c := newClient(t, cfg)
				stop := runs(t, c)
				answer, err := c.Revoke(t.Context(), job(t, kind, account))
				stop()
				f, _ := errors.AsType[*jobs.Failure](err)
				seen := fmt.Sprintf("%+v\n%v\n%+v\n%#v\n%v\n%v\n%v\n%+v", answer, err, err, f, rec.requests, rec.waits, c.CheckAccounts(t.Context()), c.Permit(t.Context(), job(t, kind, account)))
				for _, line := range logs.All() {
					seen += fmt.Sprintf("\n%s %v", line.Message, line.ContextMap())
				}
				checkCanary(t, fmt.Sprintf("%+v %s %s", p, kind, account), seen)
			}
		}
	}
}

func checkCanary(t *testing.T, name, seen string) {
	t.Helper()
	for _, plain := range []string{clientSecret, privateKey, revokedToken, bearerToken} {
		basic := base64.StdEncoding.EncodeToString([]byte(clientID + ":" + plain))
		for _, form := range []string{plain, url.QueryEscape(plain), plain[:12], basic, basic[:60]} {
			if strings.Contains(seen, form) {
				t.Errorf("%s: there is %q in\n%s", name, form, seen)
			}
		}
	}
}

// TestEverySecretIsHidden: an answer may repeat what it was never given: the secret of another account, or of another part of
// the configuration. Ids that people need stay.
func TestEverySecretIsHidden(t *testing.T) {
	const vaultToken, natsPassword, other = "hvs-like-canary-7", "canary?nats&pw", "canary-of-another-account"
	vars := map[string]string{"SECRET": clientSecret, "KEY": privateKey, "VAULT": vaultToken, "NATS": natsPassword, "OTHER": other}
	lookup := func(name string) (string, bool) { value, ok := vars[name]; return value, ok }
	secrets := map[string]string{"own": clientSecret, "another account's": privateKey, "Vault": vaultToken, "NATS": natsPassword, "third account's": other, "the job's": revokedToken}
	for name, plain := range secrets {
		forms := map[string]string{
			"plain": plain, "query": url.QueryEscape(plain), "path": url.PathEscape(plain), "base64": base64.StdEncoding.EncodeToString([]byte(plain)),
			"Basic": base64.StdEncoding.EncodeToString([]byte(clientID + ":" + plain)), "cut": plain[:12],
		}
		for form, text := range forms {
			t.Run(name+"/"+form, func(t *testing.T) {
				const ids = " of project 5ec0000000000000000000f1 for " + clientID
				cfg := config(transportFunc(func(*http.Request) (*http.Response, error) {
					return reply(409, adminProblem(409, "SOME_CODE", "found "+text+ids), "X-Request-Id", "id-"+plain), nil
				}))
				cfg.LookupEnv = lookup
				cfg.Accounts = append(cfg.Accounts, atlas.Account{Name: "third", ClientID: clientID, ClientSecret: secret.Ref{Env: "OTHER"}})
				cfg.Known = redact.NewKnown(lookup)
				var places []redact.Place
				for env := range vars {
					places = append(places, redact.Place{Key: env, Ref: secret.Ref{Env: env}})
				}
				cfg.Known.Use(places)
				f := revokeFails(t, newClient(t, cfg), job(t, kinds.TokenRevoke, "service"))
				said := f.Err.Error()
				if !strings.HasSuffix(said, ids) || strings.Contains(said, text[len(text)-8:]) || f.Answer.RequestID != "" {
					t.Errorf("%s, request id %q", said, f.Answer.RequestID)
				}
			})
		}
	}
}

// TestErrorsOfAStoreAreHidden: what a store says may repeat a secret as well.
func TestErrorsOfAStoreAreHidden(t *testing.T) {
	cfg := config(transportFunc(func(*http.Request) (*http.Response, error) { return reply(200, ""), nil }))
	cfg.Stores = map[string]atlas.SecretStore{"vault": brokenStore{}}
	f := revokeFails(t, newClient(t, cfg), jobWith(t, kinds.TokenRevoke, "service", map[string]any{"token_ref": "vault:leak#token"}))
	if want := "params.token_ref: permission denied for [secret] and mongodb://u:[secret]@h"; f.Err.Error() != want {
		t.Errorf("error %q, want %q", f.Err, want)
	}
	if !errors.Is(f.Err, errBrokenStore) {
		t.Error("its cause is lost")
	}
}

var errBrokenStore = errors.New("permission denied for " + privateKey + " and mongodb://u:canary@h")

type brokenStore struct{}

func (brokenStore) Read(context.Context, string) (secret.Value, error) {
	return secret.Value{}, errBrokenStore
}

// TestPrintClient: a client that is printed by mistake shows no secret.
func TestPrintClient(t *testing.T) {
	c := newClient(t, config(parrot{tokens: true, status: 204}))
	_, err := c.Revoke(t.Context(), job(t, kinds.JWKSRevoke, "service"))
	checkCanary(t, "client", fmt.Sprintf("%v %+v %#v %v", c, c, c, err))
}

func TestErrorText(t *testing.T) {
	long := strings.Repeat("long ", 200)
	tests := []struct {
		name, detail, want string
	}{
		{name: "plain", detail: "Cannot find it.", want: "Cannot find it."},
		{name: "control characters", detail: "a\x00b\x1b[31mc\nd\te\u200bf\u202eg", want: "ab[31mc d efg"},
		{name: "long", detail: long, want: long[:299] + "…"},
		{name: "long with wide runes", detail: strings.Repeat("ü", 400), want: strings.Repeat("ü", 299) + "…"},
		{name: "secret of ours", detail: "token " + revokedToken + " is bad", want: "token [secret] is bad"},
		{name: "broken up by control characters", detail: "token " + revokedToken[:9] + "\x00" + revokedToken[9:] + " is bad", want: "token [secret] is bad"},
		{name: "cut", detail: "token " + revokedToken[:11] + "… is bad", want: "token [secret]… is bad"},
		{name: "form-encoded", detail: "secret " + url.QueryEscape(clientSecret) + " is bad", want: "secret [secret] is bad"},
		{name: "twice", detail: revokedToken + revokedToken, want: "[secret][secret]"},
		{name: "behind the cut", detail: strings.Repeat("x", 290) + " " + revokedToken, want: strings.Repeat("x", 290) + " [secret]"},
		{name: "foreign client secret", detail: "mdb_sa_sk_AbC-1_2 is bad", want: "[secret] is bad"},
		{name: "foreign JWT", detail: "eyJhbGciOiJFUzUxMiJ9.eyJpc3MiOi.c2ln is bad", want: "[secret] is bad"},
		{name: "foreign header", detail: "Authorization: Basic bWRiX3NhX2lkXzAxMjM6c2VjcmV0", want: "Authorization: Basic [secret]"},
		{name: "not a secret", detail: "Bearer authentication is required, basic is not", want: "Bearer authentication is required, basic is not"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newClient(t, config(transportFunc(func(*http.Request) (*http.Response, error) {
				return reply(409, adminProblem(409, "SOME_CODE", tt.detail)), nil
			})))
			f := revokeFails(t, c, job(t, kinds.TokenRevoke, "service"))
			if want := "HTTP 409 SOME_CODE: " + tt.want; f.Err.Error() != want {
				t.Errorf("error %q, want %q", f.Err, want)
			}
		})
	}
}

func TestRequestID(t *testing.T) {
	tests := []struct {
		name    string
		headers []string
		want    string
	}{
		{name: "none"},
		{name: "usual", headers: []string{"X-Request-Id", "b6a1-7.x:y/z=+_"}, want: "b6a1-7.x:y/z=+_"},
		{name: "first of several", headers: []string{"X-Correlation-Id", "c", "X-MongoDB-Request-Id", "m", "X-Envoy-Request-Id", "e"}, want: "e"},
		{name: "unsafe characters", headers: []string{"X-Request-Id", "a b\"<c>\u00fc"}, want: "abc"},
		{name: "only unsafe characters", headers: []string{"X-Request-Id", "<>", "X-Envoy-Request-Id", "e"}, want: "e"},
		{name: "long", headers: []string{"X-Request-Id", strings.Repeat("x", 500)}, want: strings.Repeat("x", 128)},
		{name: "secret", headers: []string{"X-Request-Id", "id-" + revokedToken}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status := 200
			c := newClient(t, config(transportFunc(func(*http.Request) (*http.Response, error) {
				return reply(status, "", tt.headers...), nil
			})))
			if got := revokeWorks(t, c, job(t, kinds.TokenRevoke, "service")).RequestID; got != tt.want {
				t.Errorf("request id of a success %q, want %q", got, tt.want)
			}
			status = 500
			if got := revokeFails(t, c, job(t, kinds.TokenRevoke, "service")).Answer.RequestID; got != tt.want {
				t.Errorf("request id of a failure %q, want %q", got, tt.want)
			}
		})
	}
}

var _ atlas.Recorder = (*recorder)(nil)
