package app_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"rekey/internal/atlas/sandbox"
	"rekey/internal/doctor"
)

// TestDoctorReadsTheAPI: answers of the API that the sandbox does not give.
func TestDoctorReadsTheAPI(t *testing.T) {
	t.Parallel()
	userSecurity := "/userSecurity"
	tests := []struct {
		name   string
		script func(s *standIn)
		what   string
		status doctor.Status
		want   string
	}{
		{
			name:   "role is missing",
			script: func(s *standIn) { s.script(userSecurity, problem(http.StatusForbidden, "USER_UNAUTHORIZED").always()) },
			what:   "security: x509.disable", status: doctor.Failed, want: `403.*→ give the account the role Project Owner`,
		},
		{
			name: "address is not on the access list",
			script: func(s *standIn) {
				s.script("/rateLimits", problem(http.StatusForbidden, "IP_ADDRESS_NOT_ON_ACCESS_LIST").always())
			},
			what: "legacy: key", status: doctor.Failed, want: `ACCESS_LIST.*→ add this machine's address`,
		},
		{
			name: "tokens are used up",
			script: func(s *standIn) {
				s.script(tokenPath, jsonReply(http.StatusTooManyRequests, `{"error":"rate_limited"}`).after("55"))
			},
			what: "security: token", status: doctor.Skipped, want: `429.*→ the API takes no call now`,
		},
		{
			name: "clock is off",
			script: func(s *standIn) {
				late := jsonReply(http.StatusOK, `{"results":[]}`)
				late.header = http.Header{"Date": {time.Now().Add(2 * time.Minute).UTC().Format(http.TimeFormat)}}
				for _, path := range []string{"/rateLimits", "/userSecurity", "/identityProviders", "/orgs"} {
					s.script(path, late.always())
				}
			},
			what: "clock", status: doctor.Warning, want: `behind the API's → synchronise the clock`,
		},
		{
			name: "page of a proxy",
			script: func(s *standIn) {
				s.script(tokenPath, reply{status: http.StatusNotFound, header: http.Header{"Content-Type": {"text/html"}}, body: "<html>"})
			},
			what: "security: token", status: doctor.Failed, want: `HTML → this is no answer of the API: see atlas.base_url`,
		},
		{
			name: "page of a proxy instead of a key",
			script: func(s *standIn) {
				page := reply{status: http.StatusForbidden, header: http.Header{"Content-Type": {"text/html"}}, body: "<html>"}
				s.script("/rateLimits", page.always())
			},
			what: "legacy: key", status: doctor.Failed, want: `403.*→ this is no answer of the API: see atlas.base_url`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, s := standInRig(t)
			tt.script(s)
			found := examine(t, r, plain(r, fmt.Sprintf("{embedded: {store_dir: %s, listen: \"\"}}", t.TempDir()), schedules))
			mustFind(t, found, "accounts", tt.what, tt.status, tt.want)
			for _, c := range s.requests("/api/") {
				if c.method != http.MethodGet && c.uri != tokenPath {
					t.Errorf("the API was asked for %s %s", c.method, c.uri)
				}
			}
		})
	}
}

// TestDoctorUsesTheFleetsToken: it does not use up the requests for tokens that a fleet has.
func TestDoctorUsesTheFleetsToken(t *testing.T) {
	t.Parallel()
	r, s := standInRig(t)
	srv := startNATS(t, nil)
	r.cfg.NATS.URL = srv.ClientURL()
	w := r.launch(t)
	w.awaitReady()
	w.connected(t)
	w.publish("incident", x509Disable(hexID(1)).String())
	s.await(t, "customerX509", 1)
	eventually(t, "the token to be shared", func() bool { return w.count("KV_REKEY_TOKENS") > 0 })
	text := plain(r, fmt.Sprintf("{url: %q}", srv.ClientURL()), "")
	mustFind(t, examine(t, r, text), "accounts", "security: token", doctor.OK, `the fleet's`)
	if n := len(s.requests(tokenPath)); n != 1 {
		t.Errorf("%d tokens were asked for, want the worker's alone", n)
	}
	mustFind(t, examineWith(t, r, text, doctor.Doctor{Fresh: true}), "accounts", "security: token", doctor.OK, `obtained`)
	if n := len(s.requests(tokenPath)); n != 2 {
		t.Errorf("%d tokens were asked for, want one more", n)
	}
}

// TestDoctorSeesAMissingRole: the API says 401 to who lacks a role, as to who is not known.
func TestDoctorSeesAMissingRole(t *testing.T) {
	t.Parallel()
	box, url := startSandbox(t)
	r := sandboxRig(t, box, url)
	value, ok := box.Secret(sandbox.ReadOnlyClientID)
	if !ok {
		t.Fatal("the sandbox has no such account")
	}
	r.env["SECURITY_SECRET"], r.cfg.Atlas.Accounts[0].ClientID = value, sandbox.ReadOnlyClientID
	dir := t.TempDir()
	text := plain(r, fmt.Sprintf("{embedded: {store_dir: %s, listen: \"\"}}", dir), schedules)
	found := examine(t, r, text)
	mustFind(t, found, "accounts", "security: token", doctor.OK, `obtained`)
	mustFind(t, found, "accounts", "security: x509.disable", doctor.Failed, `USER_UNAUTHORIZED.*→ give the account the role Project Owner`)
	mustFind(t, found, "accounts", "security: roles", doctor.Warning, `member.*of 5ec0000000000000000000b1: jwks.revoke, idp.delete, role_mapping.delete will be refused`)
	tokens := 0
	for _, c := range box.Requests() {
		if c.Path == tokenPath {
			tokens++
		}
	}
	if tokens != 1 {
		t.Errorf("%d tokens were asked for, want 1", tokens)
	}
	// What is not allowed anyway needs no role.
	found = examine(t, r, text+"\nintake: {limits: {allow: {kinds: [token.revoke]}}}\n")
	for _, f := range found {
		if f.What == "security: roles" {
			t.Errorf("found %+v, although no kind needs a role", f)
		}
	}
}
