package atlas_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/atlas"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/metrics"
	"rekey/internal/secret"
)

// noon is a moment between two seconds.
func noon() time.Time { return time.Date(2026, 11, 24, 12, 0, 0, 250_000_000, time.UTC) }

// serveSandbox serves a fresh sandbox, and returns its address.
func serveSandbox(t *testing.T, cfg sandbox.Config) (*sandbox.Sandbox, string) {
	t.Helper()
	box, err := sandbox.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(box)
	t.Cleanup(server.Close)
	return box, server.URL
}

// sandboxClient is a client of a fresh sandbox, with the accounts "service" and "key".
func sandboxClient(t *testing.T, cfg sandbox.Config) (*sandbox.Sandbox, *atlas.Client) {
	t.Helper()
	box, server := serveSandbox(t, cfg)
	c := newClient(t, atlas.Config{
		BaseURL: server, Recorder: metrics.Discard(), LookupEnv: box.Secret, // By client id and public key.
		Accounts: []atlas.Account{
			{Name: "service", ClientID: sandbox.ClientID, ClientSecret: secret.Ref{Env: sandbox.ClientID}},
			{Name: "key", PublicKey: sandbox.PublicKey, PrivateKey: secret.Ref{Env: sandbox.PublicKey}},
		},
	})
	return box, c
}

func sandboxJob(t *testing.T, kind jobs.Kind, account, token string) jobs.Job {
	t.Helper()
	return jobWith(t, kind, account, map[jobs.Kind]map[string]any{
		kinds.TokenRevoke:       {"token": token},
		kinds.JWKSRevoke:        {"federation_id": sandbox.FederationID, "identity_provider_id": sandbox.IdentityProviderID},
		kinds.IDPDelete:         {"federation_id": sandbox.FederationID, "identity_provider_id": sandbox.IdentityProviderID},
		kinds.RoleMappingDelete: {"federation_id": sandbox.FederationID, "org_id": sandbox.OrgID, "role_mapping_id": sandbox.RoleMappingID},
		kinds.X509Disable:       {"project_id": sandbox.ProjectID},
	}[kind])
}

// TestSandbox revokes everything there is, twice, by both ways of authentication.
func TestSandbox(t *testing.T) {
	for _, account := range []string{"service", "key"} {
		t.Run(account, func(t *testing.T) {
			box, c := sandboxClient(t, sandbox.Config{Secrets: map[string]string{sandbox.ClientID: "mdb_sa_sk_a/b+c d%"}})
			token := box.MintToken(sandbox.ClientID)
			var got []string
			for _, kind := range []jobs.Kind{kinds.TokenRevoke, kinds.JWKSRevoke, kinds.IDPDelete, kinds.RoleMappingDelete, kinds.X509Disable} {
				account := account
				if kind == kinds.TokenRevoke {
					account = "service"
				}
				for range 2 {
					answer, err := c.Revoke(t.Context(), sandboxJob(t, kind, account, token))
					if err != nil {
						f := failureOf(t, answer, err)
						got = append(got, fmt.Sprintf("%s %d %s %s", kind, f.Answer.Status, f.Reason, f.Answer.Code))
						continue
					}
					if answer.RequestID == "" {
						t.Errorf("%s: no request id", kind)
					}
					got = append(got, fmt.Sprintf("%s %d", kind, answer.Status))
				}
			}
			want := []string{
				"token.revoke 200", "token.revoke 200",
				"jwks.revoke 204", "jwks.revoke 204",
				"idp.delete 204", "idp.delete 404 not_found RESOURCE_NOT_FOUND",
				"role_mapping.delete 204", "role_mapping.delete 404 not_found RESOURCE_NOT_FOUND",
				"x509.disable 202", "x509.disable 202",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
			if box.TokenLive(token) {
				t.Error("the token still works")
			}
			if err := c.CheckAccounts(t.Context()); err != nil {
				t.Errorf("CheckAccounts() = %v", err)
			}
		})
	}
}

// TestSandboxConcurrent shares the token, and nonces that expire after some hundred requests.
func TestSandboxConcurrent(t *testing.T) {
	for _, account := range []string{"service", "key"} {
		t.Run(account, func(t *testing.T) {
			var ticks atomic.Int64
			box, c := sandboxClient(t, sandbox.Config{
				NonceLifetime: 200, Now: func() time.Time { return noon().Add(time.Duration(ticks.Add(1))) },
				Buckets: map[string]sandbox.Bucket{sandbox.BucketFederationUser: {Capacity: 10_000, Refill: 1, Every: time.Hour}},
			})
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					for range 30 {
						revokeWorks(t, c, sandboxJob(t, kinds.JWKSRevoke, account, ""))
					}
				})
			}
			wg.Wait()
			tokens, challenges := 0, 0
			for _, r := range box.Requests() {
				if r.Operation == sandbox.OperationToken {
					tokens++
				}
				if r.Status == http.StatusUnauthorized {
					challenges++
				}
			}
			if account == "key" && (challenges < 2 || challenges > 200) {
				t.Errorf("%d challenges for 480 calls", challenges)
			}
			if want := map[string]int{"service": 1, "key": 0}[account]; tokens != want {
				t.Errorf("%d requests for tokens, want %d", tokens, want)
			}
		})
	}
}

// TestSandboxRevokedBearer: another client revokes our own token between two calls.
func TestSandboxRevokedBearer(t *testing.T) {
	box, c := sandboxClient(t, sandbox.Config{})
	j := sandboxJob(t, kinds.JWKSRevoke, "service", "")
	revokeWorks(t, c, j)
	if err := box.Inject(sandbox.Fault{Operation: sandbox.OperationJWKSRevoke, Kind: "401", Times: 1}); err != nil {
		t.Fatal(err)
	}
	revokeWorks(t, c, j)
	var got []string
	for _, r := range box.Requests() {
		got = append(got, fmt.Sprintf("%s %d", r.Operation, r.Status))
	}
	want := []string{"token 200", "jwks.revoke 204", "jwks.revoke 401", "token 200", "jwks.revoke 204"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// TestSandboxFaults: what the sandbox can do wrong, as a failure.
func TestSandboxFaults(t *testing.T) {
	tests := []struct {
		name          string
		fault         sandbox.Fault
		want          jobs.Reason
		wantEffective bool
		wantWait      time.Duration // At least, and at most 1.5 s more.
	}{
		{name: "429", fault: sandbox.Fault{Kind: "429", RetryAfter: "7"}, want: jobs.ReasonRateLimited, wantWait: 6500 * time.Millisecond},
		{name: "503 with a date", fault: sandbox.Fault{Kind: "503", RetryAfter: "date:7s"}, want: jobs.ReasonUnavailable, wantWait: 6500 * time.Millisecond},
		{name: "500", fault: sandbox.Fault{Kind: "500"}, want: jobs.ReasonUnavailable, wantEffective: true},
		{name: "reset", fault: sandbox.Fault{Kind: sandbox.FaultReset}, want: jobs.ReasonUnavailable, wantEffective: true},
		{name: "reset after", fault: sandbox.Fault{Kind: sandbox.FaultResetAfter}, want: jobs.ReasonUnavailable, wantEffective: true},
		{name: "html", fault: sandbox.Fault{Kind: sandbox.FaultHTML}, want: jobs.ReasonUnavailable},
		{name: "html as success", fault: sandbox.Fault{Kind: sandbox.FaultHTML, Status: http.StatusOK}, want: jobs.ReasonProtocol, wantEffective: true},
		{name: "html 404", fault: sandbox.Fault{Kind: sandbox.FaultHTML, Status: http.StatusNotFound}, want: jobs.ReasonProtocol},
		{name: "cut", fault: sandbox.Fault{Kind: sandbox.FaultCut}, want: jobs.ReasonUnavailable, wantEffective: true},
		{name: "endless", fault: sandbox.Fault{Kind: sandbox.FaultEndless}, want: jobs.ReasonUnavailable, wantEffective: true},
		{name: "redirect", fault: sandbox.Fault{Kind: sandbox.FaultRedirect}, want: jobs.ReasonProtocol, wantEffective: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			box, c := sandboxClient(t, sandbox.Config{})
			tt.fault.Operation, tt.fault.Times = sandbox.OperationRoleMappingDelete, 1
			if err := box.Inject(tt.fault); err != nil {
				t.Fatal(err)
			}
			f := revokeFails(t, c, sandboxJob(t, kinds.RoleMappingDelete, "service", ""))
			if f.Reason != tt.want || f.MaybeEffective != tt.wantEffective {
				t.Errorf("got %+v (%v), want %s, maybe effective %v", f, f, tt.want, tt.wantEffective)
			}
			if wait := max(0, time.Until(f.RetryAt)); wait < tt.wantWait || wait > tt.wantWait+1500*time.Millisecond {
				t.Errorf("wait of %s, want %s", wait, tt.wantWait)
			}
			for _, r := range box.Requests() {
				if r.Operation == sandbox.OperationRedirected {
					t.Error("the redirect was followed")
				}
			}
		})
	}
}
