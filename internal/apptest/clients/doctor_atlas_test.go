package clients_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"rekey/internal/apptest"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/doctor"
)

// TestDoctorReadsTheAPI: answers of the API that the sandbox does not give.
func TestDoctorReadsTheAPI(t *testing.T) {
	t.Parallel()
	userSecurity := "/userSecurity"
	tests := []struct {
		name   string
		script func(s *apptest.StandIn)
		what   string
		status doctor.Status
		want   string
	}{
		{
			name: "role is missing",
			script: func(s *apptest.StandIn) {
				s.Script(userSecurity, apptest.Problem(http.StatusForbidden, "USER_UNAUTHORIZED").Always())
			},
			what: "security: x509.disable", status: doctor.Failed, want: `403.*→ give the account the role Project Owner`,
		},
		{
			name: "address is not on the access list",
			script: func(s *apptest.StandIn) {
				s.Script("/rateLimits", apptest.Problem(http.StatusForbidden, "IP_ADDRESS_NOT_ON_ACCESS_LIST").Always())
			},
			what: "legacy: key", status: doctor.Failed, want: `ACCESS_LIST.*→ add this machine's address`,
		},
		{
			name: "tokens are used up",
			script: func(s *apptest.StandIn) {
				s.Script(apptest.TokenPath, apptest.JSONReply(http.StatusTooManyRequests, `{"error":"rate_limited"}`).After("55"))
			},
			what: "security: token", status: doctor.Skipped, want: `429.*→ the API takes no call now`,
		},
		{
			name: "clock is off",
			script: func(s *apptest.StandIn) {
				late := apptest.JSONReply(http.StatusOK, `{"results":[]}`)
				late.Header = http.Header{"Date": {time.Now().Add(2 * time.Minute).UTC().Format(http.TimeFormat)}}
				for _, path := range []string{"/rateLimits", "/userSecurity", "/identityProviders", "/orgs"} {
					s.Script(path, late.Always())
				}
			},
			what: "clock", status: doctor.Warning, want: `behind the API's → synchronise the clock`,
		},
		{
			name: "page of a proxy",
			script: func(s *apptest.StandIn) {
				s.Script(apptest.TokenPath, apptest.Reply{Status: http.StatusNotFound, Header: http.Header{"Content-Type": {"text/html"}}, Body: "<html>"})
			},
			what: "security: token", status: doctor.Failed, want: `HTML → this is no answer of the API: see atlas.base_url`,
		},
		{
			name: "page of a proxy instead of a key",
			script: func(s *apptest.StandIn) {
				page := apptest.Reply{Status: http.StatusForbidden, Header: http.Header{"Content-Type": {"text/html"}}, Body: "<html>"}
				s.Script("/rateLimits", page.Always())
			},
			what: "legacy: key", status: doctor.Failed, want: `403.*→ this is no answer of the API: see atlas.base_url`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, s := apptest.StandInRig(t)
			tt.script(s)
			found := apptest.Examine(t, r, apptest.Plain(r, fmt.Sprintf("{embedded: {store_dir: %s, listen: \"\"}}", t.TempDir()), schedules))
			apptest.MustFind(t, found, "accounts", tt.what, tt.status, tt.want)
			for _, c := range s.Requests("/api/") {
				if c.Method != http.MethodGet && c.URI != apptest.TokenPath {
					t.Errorf("the API was asked for %s %s", c.Method, c.URI)
				}
			}
		})
	}
}

// TestDoctorUsesTheFleetsToken: it does not use up the requests for tokens that a fleet has.
func TestDoctorUsesTheFleetsToken(t *testing.T) {
	t.Parallel()
	r, s := apptest.StandInRig(t)
	srv := apptest.StartNATS(t, nil)
	r.Cfg.NATS.URL = srv.ClientURL()
	w := r.Launch(t)
	w.AwaitReady()
	w.Connected(t)
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String())
	s.Await(t, "customerX509", 1)
	apptest.Eventually(t, "the token to be shared", func() bool { return w.Count("KV_REKEY_TOKENS") > 0 })
	text := apptest.Plain(r, fmt.Sprintf("{url: %q}", srv.ClientURL()), "")
	apptest.MustFind(t, apptest.Examine(t, r, text), "accounts", "security: token", doctor.OK, `the fleet's`)
	if n := len(s.Requests(apptest.TokenPath)); n != 1 {
		t.Errorf("%d tokens were asked for, want the worker's alone", n)
	}
	apptest.MustFind(t, apptest.ExamineWith(t, r, text, doctor.Doctor{Fresh: true}), "accounts", "security: token", doctor.OK, `obtained`)
	if n := len(s.Requests(apptest.TokenPath)); n != 2 {
		t.Errorf("%d tokens were asked for, want one more", n)
	}
}

// TestDoctorSeesAMissingRole: the API says 401 to who lacks a role, as to who is not known.
func TestDoctorSeesAMissingRole(t *testing.T) {
	t.Parallel()
	box, url := apptest.StartSandbox(t)
	r := apptest.SandboxRig(t, box, url)
	value, ok := box.Secret(sandbox.ReadOnlyClientID)
	if !ok {
		t.Fatal("the sandbox has no such account")
	}
	r.Env["SECURITY_SECRET"], r.Cfg.Atlas.Accounts[0].ClientID = value, sandbox.ReadOnlyClientID
	dir := t.TempDir()
	text := apptest.Plain(r, fmt.Sprintf("{embedded: {store_dir: %s, listen: \"\"}}", dir), schedules)
	found := apptest.Examine(t, r, text)
	apptest.MustFind(t, found, "accounts", "security: token", doctor.OK, `obtained`)
	apptest.MustFind(t, found, "accounts", "security: x509.disable", doctor.Failed, `USER_UNAUTHORIZED.*→ give the account the role Project Owner`)
	apptest.MustFind(t, found, "accounts", "security: x509.disable proof", doctor.Warning, `may not read user_security: the best verdict will be recorded.*→ give the account the role Project Owner`)
	apptest.MustFind(t, found, "accounts", "security: roles", doctor.Warning, `member.*of 5ec0000000000000000000b1: jwks.revoke, idp.delete, role_mapping.delete, service_account.delete, api_key.delete, org_user.remove will be refused.*→.* enough for x509.disable, service_account_secret.delete, database_user.delete, database_user.scramble, project_user.remove`)
	tokens := 0
	for _, c := range box.Requests() {
		if c.Path == apptest.TokenPath {
			tokens++
		}
	}
	if tokens != 1 {
		t.Errorf("%d tokens were asked for, want 1", tokens)
	}
	// What is not allowed anyway needs no role.
	found = apptest.Examine(t, r, text+"\nintake: {limits: {allow: {kinds: [token.revoke]}}}\n")
	for _, f := range found {
		if f.What == "security: roles" {
			t.Errorf("found %+v, although no kind needs a role", f)
		}
	}
}

// TestDoctorReadsWatched: what is watched is read, and what is gone, has expired or cannot be read is a failure.
func TestDoctorReadsWatched(t *testing.T) {
	t.Parallel()
	r, s := apptest.StandInRig(t)
	s.Script("/databaseUsers/CN=late/certs", apptest.JSONReply(http.StatusOK, `{"results":[{"notAfter":"2090-01-01T00:00:00Z"},{"notAfter":"2080-01-01T00:00:00Z"}]}`).Always())
	s.Script("/databaseUsers/CN=none/certs", apptest.JSONReply(http.StatusOK, `{"results":[]}`).Always())
	s.Script("/databaseUsers/CN=other/certs", apptest.Problem(http.StatusForbidden, "USER_UNAUTHORIZED").Always())
	s.Script("/mcpConfigs/two/secrets", apptest.JSONReply(http.StatusOK, `{"results":[{"expiresAt":"2090-01-01T00:00:00Z"},{"expiresAt":"2020-01-01T00:00:00Z"}]}`).Always())
	s.Script("/mcpConfigs/old/secrets", apptest.JSONReply(http.StatusOK, `{"results":[{"expiresAt":"2020-01-01T00:00:00Z"}]}`).Always())
	watch := "expiry:\n  watch:\n"
	for _, name := range []string{"late", "none", "other"} {
		watch += fmt.Sprintf("    - {name: %s, account: security, project_id: %q, username: CN=%s}\n", name, apptest.HexID(1), name)
	}
	for _, name := range []string{"two", "old"} {
		watch += fmt.Sprintf("    - {name: %s, account: security, org_id: %q, mcp_config_id: %s}\n", name, apptest.HexID(1), name)
	}
	found := apptest.Examine(t, r, apptest.Plain(r, fmt.Sprintf("{embedded: {store_dir: %s, listen: \"\"}}", t.TempDir()), watch))
	apptest.MustFind(t, found, "accounts", "security: certificate late expires", doctor.OK, `until 2090-01-01`)
	apptest.MustFind(t, found, "accounts", "security: certificate none expires", doctor.Failed, `lists none.*→ make a new certificate`)
	apptest.MustFind(t, found, "accounts", "security: certificate other expires", doctor.Failed, `403.*→ correct expiry.watch`)
	apptest.MustFind(t, found, "accounts", "security: secret of MCP configuration two expires", doctor.OK, `until 2090-01-01`)
	apptest.MustFind(t, found, "accounts", "security: secret of MCP configuration old expires", doctor.Failed, `ended on 2020-01-01.*→ make a new secret`)
}
