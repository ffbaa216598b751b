package atlas_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"rekey/internal/atlas"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/secret"
)

// TestSetAccounts changes the accounts under a client: one stays as it is and keeps its token, one comes, one goes.
func TestSetAccounts(t *testing.T) {
	api := &tokenAPI{lifetime: 3600}
	c := newClient(t, config(api))
	revokeWorks(t, c, job(t, kinds.JWKSRevoke, "service"))
	if err := c.SetAccounts([]atlas.Account{service("service"), service("new")}); err != nil {
		t.Fatal(err)
	}
	revokeWorks(t, c, job(t, kinds.JWKSRevoke, "service"))
	if api.issued != 1 {
		t.Errorf("the account that stays has asked for %d tokens, want 1", api.issued)
	}
	revokeWorks(t, c, job(t, kinds.JWKSRevoke, "new"))
	if got := revokeFails(t, c, job(t, kinds.JWKSRevoke, "key")).Reason; got != jobs.ReasonConfig {
		t.Errorf("a job of the account that is gone fails with %s, want %s", got, jobs.ReasonConfig)
	}
	if _, err := c.Resolve(kinds.JWKSRevoke, ""); err == nil || !strings.Contains(err.Error(), "service, new") {
		t.Errorf("a request without an account: %v", err)
	}
	// Under its old name it is another account now, with nothing known about it.
	changed := service("service")
	changed.ClientID = "mdb_sa_id_ffffffffffffffffffffffff"
	if err := c.SetAccounts([]atlas.Account{changed}); err != nil {
		t.Fatal(err)
	}
	revokeWorks(t, c, job(t, kinds.JWKSRevoke, "service"))
	if api.issued != 3 {
		t.Errorf("with the account that has changed, %d tokens were issued, want 3", api.issued)
	}
}

func TestNewAccountsAreChecked(t *testing.T) {
	missing := func(name string) atlas.Account {
		return atlas.Account{Name: name, PublicKey: "x", PrivateKey: secret.Ref{Env: "NOT_THERE"}}
	}
	cfg := config(nil)
	cfg.Accounts = append(cfg.Accounts, missing("known"))
	c := newClient(t, cfg)
	tests := []struct {
		name     string
		accounts []atlas.Account
		want     string
		wantSet  bool // They can be set all the same.
	}{
		{"good", []atlas.Account{service("a"), apiKey("b")}, "", true},
		{"none", nil, "", true},
		{"mistakes", []atlas.Account{{Name: "a"}, {Name: "a"}}, `account "a" is listed twice`, false},
		{"a secret that cannot be read", []atlas.Account{missing("a")}, "account a: reading a secret from environment variable NOT_THERE", true},
		{"one that could not be read before", []atlas.Account{missing("known")}, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := c.CheckNewAccounts(t.Context(), tt.accounts)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("CheckNewAccounts() = %v, want %q", err, tt.want)
			}
		})
		t.Run(tt.name+", set", func(t *testing.T) {
			fresh := newClient(t, config(nil))
			if err := fresh.SetAccounts(tt.accounts); (err == nil) != tt.wantSet {
				t.Errorf("SetAccounts() = %v", err)
			}
			if _, err := fresh.Resolve(kinds.JWKSRevoke, "key"); tt.wantSet == (err == nil) {
				t.Errorf("the old account is resolved with %v", err)
			}
		})
	}
}

func TestSetMaxRetryAfter(t *testing.T) {
	cfg := config(transportFunc(func(*http.Request) (*http.Response, error) { return reply(429, "", "Retry-After", "3600"), nil }))
	c := newClient(t, cfg)
	if revokeFails(t, c, job(t, kinds.X509Disable, "key")).RetryAfterCapped {
		t.Error("an hour is cut although six hours are believed")
	}
	c.SetMaxRetryAfter(time.Minute)
	f := revokeFails(t, c, job(t, kinds.JWKSRevoke, "key")) // Of another bucket: the first one is paused.
	if !f.RetryAfterCapped || time.Until(f.RetryAt) > time.Minute {
		t.Errorf("RetryAt is %s, capped %v", f.RetryAt, f.RetryAfterCapped)
	}
}
