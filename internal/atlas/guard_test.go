package atlas_test

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rekey/internal/atlas"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/secret"
)

// heldAccount is a document of a service account with secrets.
func heldAccount(t *testing.T, id string, secrets ...kinds.HeldSecret) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"clientId": id, "secrets": secrets})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// documentAt is the document that a request asks for, of what no account of the configuration is.
func documentAt(t *testing.T, req *http.Request) string {
	t.Helper()
	id, unescaped := url.PathUnescape(path.Base(req.URL.EscapedPath()))
	text, err := json.Marshal(map[string]any{"id": id, "clientId": id, "username": id, "publicKey": "other", "secrets": []any{}})
	if err != nil || unescaped != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestGuard: what would take an account of the configuration from the worker, or its last secret from any account, is refused
// before the call, unless the configuration allows it.
func TestGuard(t *testing.T) {
	lives := func(id, masked string) kinds.HeldSecret {
		return kinds.HeldSecret{ID: id, Masked: masked, ExpiresAt: time.Now().Add(time.Hour)}
	}
	expired := kinds.HeldSecret{ID: idC, Masked: "mdb_sa_sk_…zzzz", ExpiresAt: time.Now().Add(-time.Hour)}
	ofSecret := map[string]any{"org_id": idA, "client_id": clientID, "secret_id": idB}
	ofOther := map[string]any{"org_id": idA, "client_id": leakedClient, "secret_id": idB}
	other := []kinds.HeldSecret{lives(idB, "mdb_sa_sk_****aaaa"), lives(idC, "mdb_sa_sk_****bbbb")}
	own := clientSecret[:4] + "****" + clientSecret[len(clientSecret)-4:]
	mine := []kinds.HeldSecret{lives(idB, own), lives(idC, "mdb_sa_sk_****bbbb")}
	tests := []struct {
		name      string
		kind      jobs.Kind
		params    map[string]any
		document  string
		status    int
		allow     string // The account that has allow_self.
		want      string
		wantReads int
	}{
		{name: "own account", kind: kinds.ServiceAccountDelete, params: map[string]any{"org_id": idA, "client_id": clientID}, want: "the account that service of this configuration is; allow_self: true of account service"},
		{name: "own account in capitals", kind: kinds.ServiceAccountDelete, params: map[string]any{"org_id": idA, "client_id": "mdb_sa_id_" + strings.ToUpper(clientID[10:])}, want: "the account that service of this configuration is"},
		{name: "own account, allowed", kind: kinds.ServiceAccountDelete, params: map[string]any{"org_id": idA, "client_id": clientID}, allow: "service"},
		{name: "own account, another one is allowed", kind: kinds.ServiceAccountDelete, params: map[string]any{"org_id": idA, "client_id": clientID}, allow: "key", want: "the account that service"},
		{name: "another account", kind: kinds.ServiceAccountDelete, params: map[string]any{"org_id": idA, "client_id": leakedClient}},
		{name: "own key", kind: kinds.APIKeyDelete, params: map[string]any{"org_id": idA, "api_key_id": idB}, document: `{"id":"` + idB + `","publicKey":"abcdefgh"}`, want: "the account that key of this configuration is", wantReads: 1},
		{name: "own key, allowed", kind: kinds.APIKeyDelete, params: map[string]any{"org_id": idA, "api_key_id": idB}, document: `{"id":"` + idB + `","publicKey":"abcdefgh"}`, allow: "key", wantReads: 1},
		{name: "another key", kind: kinds.APIKeyDelete, params: map[string]any{"org_id": idA, "api_key_id": idB}, document: `{"id":"` + idB + `","publicKey":"other"}`, wantReads: 1},
		{name: "key of which nothing is known", kind: kinds.APIKeyDelete, params: map[string]any{"org_id": idA, "api_key_id": idB}, document: `{"id":"` + idB + `"}`, want: "does not say which account it is", wantReads: 1},
		{name: "own secret", kind: kinds.ServiceAccountSecretDelete, params: ofSecret, document: heldAccount(t, clientID, mine...), want: "the secret, or what may be the secret, with which service of this configuration authenticates", wantReads: 1},
		{name: "own secret without a mask", kind: kinds.ServiceAccountSecretDelete, params: ofSecret, document: heldAccount(t, clientID, lives(idB, ""), lives(idC, "")), want: "with which service of this configuration authenticates", wantReads: 1},
		{name: "own secret, allowed", kind: kinds.ServiceAccountSecretDelete, params: ofSecret, document: heldAccount(t, clientID, mine...), allow: "service", wantReads: 1},
		{name: "own account's other secret", kind: kinds.ServiceAccountSecretDelete, params: ofSecret, document: heldAccount(t, clientID, other...), wantReads: 1},
		{name: "one of two secrets", kind: kinds.ServiceAccountSecretDelete, params: ofOther, document: heldAccount(t, leakedClient, other...), wantReads: 1},
		{name: "last secret", kind: kinds.ServiceAccountSecretDelete, params: ofOther, document: heldAccount(t, leakedClient, other[0]), want: "the last secret of " + leakedClient + " that has not expired; allow_self: true of account service in the configuration allows it; so does another secret of that account", wantReads: 1},
		{name: "last unexpired secret", kind: kinds.ServiceAccountSecretDelete, params: ofOther, document: heldAccount(t, leakedClient, other[0], expired), want: "the last secret of ", wantReads: 1},
		{name: "last secret without an end", kind: kinds.ServiceAccountSecretDelete, params: ofOther, document: `{"clientId":"` + leakedClient + `","secrets":[{"id":"` + idB + `"}]}`, want: "the last secret of ", wantReads: 1},
		{name: "last secret, allowed by the account that calls", kind: kinds.ServiceAccountSecretDelete, params: ofOther, document: heldAccount(t, leakedClient, other[0]), allow: "service", wantReads: 1},
		{name: "expired secret", kind: kinds.ServiceAccountSecretDelete, params: map[string]any{"org_id": idA, "client_id": leakedClient, "secret_id": idC}, document: heldAccount(t, leakedClient, expired), wantReads: 1},
		{name: "secret that is not there", kind: kinds.ServiceAccountSecretDelete, params: ofOther, document: heldAccount(t, leakedClient, expired), wantReads: 1},
		{name: "account without a list of secrets", kind: kinds.ServiceAccountSecretDelete, params: ofOther, document: `{"clientId":"` + leakedClient + `"}`, want: "does not say which secrets the account has", wantReads: 1},
		{name: "another account's document", kind: kinds.ServiceAccountSecretDelete, params: ofOther, document: heldAccount(t, clientID), want: "another clientId than what was asked for", wantReads: 1},
		{name: "another key's document", kind: kinds.APIKeyDelete, params: map[string]any{"org_id": idA, "api_key_id": idB}, document: `{"id":"` + idC + `","publicKey":"other"}`, want: "another id than what was asked for", wantReads: 1},
		{name: "account that a gateway does not know", kind: kinds.ServiceAccountSecretDelete, params: ofOther, status: 404, want: "HTTP 404", wantReads: 1},
		{name: "account that is not there", kind: kinds.ServiceAccountSecretDelete, params: ofOther, status: 404, document: adminProblem(404, "RESOURCE_NOT_FOUND", "x"), wantReads: 1},
		{name: "account that may not be read", kind: kinds.ServiceAccountSecretDelete, params: ofOther, status: 403, document: adminProblem(403, "USER_UNAUTHORIZED", "x"), want: "403", wantReads: 1},
		{name: "no document", kind: kinds.ServiceAccountSecretDelete, params: ofOther, document: "<html>", want: "cannot be read", wantReads: 1},
	}
	for _, tt := range tests {
		for _, dry := range []bool{false, true} {
			t.Run(tt.name+map[bool]string{true: ", dry run"}[dry], func(t *testing.T) {
				reads, changes := 0, 0
				cfg := config(transportFunc(func(req *http.Request) (*http.Response, error) {
					switch {
					case isTokenRequest(req):
						return issue(bearerToken, 3600), nil
					case req.Method == http.MethodGet:
						reads++
						document := tt.document
						if document == "" && tt.status == 0 {
							document = documentAt(t, req)
						}
						return reply(cmp.Or(tt.status, http.StatusOK), document, "Content-Type", "application/json"), nil
					}
					changes++
					return reply(204, ""), nil
				}))
				for i := range cfg.Accounts {
					cfg.Accounts[i].AllowSelf = cfg.Accounts[i].Name == tt.allow
				}
				j := jobWith(t, tt.kind, "service", tt.params)
				j.DryRun = dry
				_, err := newClient(t, cfg).Revoke(t.Context(), j)
				if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
					t.Errorf("the error is %v, want %q", err, tt.want)
				}
				if want := map[bool]int{true: 1}[tt.want == "" && !dry]; changes != want || !dry && reads != tt.wantReads {
					t.Errorf("%d calls that change something, want %d; %d reads, want %d", changes, want, reads, tt.wantReads)
				}
				if tt.want != "" && tt.status == 0 && strings.Contains(tt.want, "configuration") {
					if f := failureOf(t, jobs.Answer{}, err); f.Reason.Retryable() || f.MaybeEffective || !strings.Contains(f.Error(), "nothing was changed: DELETE /api/atlas/v2/orgs/") || strings.Contains(f.Error(), clientSecret) {
						t.Errorf("the failure is %+v", f)
					}
				}
			})
		}
	}
}

// TestGuardOfAddedAccounts: an account that a reload has added is guarded from then on, also against a job that had passed.
func TestGuardOfAddedAccounts(t *testing.T) {
	box, c := sandboxClient(t, sandbox.Config{})
	kept := []atlas.Account{{Name: "service", ClientID: sandbox.ClientID, ClientSecret: secret.Ref{Env: sandbox.ClientID}}}
	j := jobWith(t, kinds.ServiceAccountDelete, "service", map[string]any{"org_id": sandbox.OrgID, "client_id": sandbox.SpareClientID})
	added := atlas.Account{Name: "spare", ClientID: sandbox.SpareClientID, ClientSecret: secret.Ref{Env: sandbox.SpareClientID}}
	before := len(box.State().Accounts)
	if err := c.SetAccounts(append(kept, added)); err != nil {
		t.Fatal(err)
	}
	if f := revokeFails(t, c, j); !strings.Contains(f.Error(), "the account that spare of this configuration is") {
		t.Errorf("the failure is %v", f)
	}
	if got := len(box.State().Accounts); got != before {
		t.Errorf("there are %d accounts, want %d", got, before)
	}
	added.AllowSelf = true
	if err := c.SetAccounts(append(kept, added)); err != nil {
		t.Fatal(err)
	}
	revokeWorks(t, c, j)
}

// TestGuardByTheClockOfTheAPI: whether the other secret has expired is a matter of the API's clock, and not of this machine's.
func TestGuardByTheClockOfTheAPI(t *testing.T) {
	for _, tt := range []struct {
		name             string
		ends, apiIsAhead time.Duration // Of the other secret, by our clock.
		want             string
	}{
		{"expired, and our clock is behind", time.Hour, 24 * time.Hour, "the last secret of "},
		{"lives, and our clock is ahead", -time.Hour, -24 * time.Hour, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Now()
			document := heldAccount(t, leakedClient, kinds.HeldSecret{ID: idB}, kinds.HeldSecret{ID: idC, ExpiresAt: now.Add(tt.ends)})
			c := newClient(t, config(transportFunc(func(req *http.Request) (*http.Response, error) {
				switch {
				case isTokenRequest(req):
					return issue(bearerToken, 3600), nil
				case req.Method == http.MethodGet:
					return reply(200, document, "Content-Type", "application/json", "Date", now.Add(tt.apiIsAhead).UTC().Format(http.TimeFormat)), nil
				}
				return reply(204, ""), nil
			})))
			_, err := c.Revoke(t.Context(), jobWith(t, kinds.ServiceAccountSecretDelete, "service", map[string]any{"org_id": idA, "client_id": leakedClient, "secret_id": idB}))
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v, want %q", err, tt.want)
			}
		})
	}
}

// TestGuardOfBothSecrets: two jobs that end one secret each do not pass because of each other.
func TestGuardOfBothSecrets(t *testing.T) {
	box, c := sandboxClient(t, sandbox.Config{})
	of := func(id string) jobs.Job {
		j := jobWith(t, kinds.ServiceAccountSecretDelete, "service", map[string]any{"org_id": sandbox.OrgID, "client_id": sandbox.LeakedClientID, "secret_id": id})
		j.ID = id
		return j
	}
	revokeWorks(t, c, of(sandbox.LeakedSecretID))
	if f := revokeFails(t, c, of(sandbox.KeptSecretID)); !strings.Contains(f.Error(), "the last secret of "+sandbox.LeakedClientID) {
		t.Errorf("the failure is %v", f)
	}
	for _, a := range box.State().Accounts {
		if a.ID == sandbox.LeakedClientID && len(a.SecretIDs) != 1 {
			t.Errorf("its secrets are %v", a.SecretIDs)
		}
	}
}

// TestReadsAndRateLimit: a job whose call has to wait for the rate limit does not spend its next token on a read before it again, whatever
// came of that.
func TestReadsAndRateLimit(t *testing.T) {
	tests := []struct {
		name   string
		kind   jobs.Kind
		answer func(req *http.Request) *http.Response
	}{
		{"guard", kinds.ServiceAccountSecretDelete, func(req *http.Request) *http.Response { return reply(200, documentAt(t, req)) }},
		{"guard without a target", kinds.ServiceAccountSecretDelete, func(*http.Request) *http.Response { return reply(404, adminProblem(404, "RESOURCE_NOT_FOUND", "x")) }},
		{"meaning without a role", kinds.RoleMappingDelete, func(*http.Request) *http.Response { return reply(403, adminProblem(403, "X", "x")) }},
		{"meaning of a document that says none", kinds.RoleMappingDelete, func(req *http.Request) *http.Response { return reply(200, documentAt(t, req)) }},
		{"meaning without a target", kinds.RoleMappingDelete, func(*http.Request) *http.Response { return reply(404, adminProblem(404, "RESOURCE_NOT_FOUND", "x")) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sent []string
				limited := true
				c := newClient(t, config(transportFunc(func(req *http.Request) (*http.Response, error) {
					sent = append(sent, req.Method)
					switch {
					case isTokenRequest(req):
						return issue(bearerToken, 3600), nil
					case req.Method == http.MethodGet:
						return tt.answer(req), nil
					case limited:
						limited = false
						return reply(429, "", "Retry-After", "5"), nil
					}
					return reply(204, ""), nil
				})))
				j := job(t, tt.kind, "service")
				j.Lane, j.KeepMeaning = jobs.LaneUrgent, func(context.Context, map[string]string) error { return nil }
				if f := revokeFails(t, c, j); f.Reason != jobs.ReasonRateLimited {
					t.Fatalf("the failure is %v", f)
				}
				<-time.After(6 * time.Second) // The pause of the bucket.
				revokeWorks(t, c, j)
				if got := strings.Join(sent, " "); got != "POST GET DELETE DELETE" {
					t.Errorf("it sent %s", got)
				}
			})
		})
	}
}
