package app_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/atlas/sandbox"
	"rekey/internal/config"
	"rekey/internal/jobs"
)

const (
	federationURI = "/api/atlas/v2/federationSettings/" + federation
	leakedToken   = "leaked+token/with=signs&more"
)

// kindRow is one kind with one way to authenticate, and the call that the documentation wants.
type kindRow struct {
	name       string
	request    request
	account    string
	wantMethod string
	wantURI    string
	wantAccept string
	wantScheme string
	wantKnown  jobs.Known
}

func kindRows() []kindRow {
	revoked := func(name string, r request, account, uri, version, scheme string) kindRow {
		return kindRow{
			name: name, request: r, account: account, wantMethod: http.MethodDelete, wantURI: uri,
			wantAccept: "application/vnd.atlas." + version + "+json", wantScheme: scheme, wantKnown: jobs.KnownRevoked,
		}
	}
	x509 := func(name, project, account, scheme string) kindRow {
		row := revoked(name, x509Disable(project), account, "/api/atlas/v2/groups/"+project+"/userSecurity/customerX509", "2023-01-01", scheme)
		row.wantKnown = jobs.KnownAccepted
		return row
	}
	idp := func(n int) string { return federationURI + "/identityProviders/" + hexID(n) }
	mapping := func(n int) string { return federationURI + "/connectedOrgConfigs/" + org + "/roleMappings/" + hexID(n) }
	return []kindRow{
		{
			name: "token.revoke", request: tokenRevoke(leakedToken), account: security, wantMethod: http.MethodPost,
			wantURI: revokePath, wantScheme: "Basic", wantKnown: jobs.KnownAccepted,
		},
		revoked("jwks.revoke by bearer", jwksRevoke(hexID(1)), security, idp(1)+"/jwks", "2025-02-19", "Bearer"),
		revoked("jwks.revoke by digest", jwksRevoke(hexID(2)), legacy, idp(2)+"/jwks", "2025-02-19", "Digest"),
		revoked("idp.delete by bearer", idpDelete(hexID(3)), security, idp(3), "2025-03-12", "Bearer"),
		revoked("idp.delete by digest", idpDelete(hexID(4)), legacy, idp(4), "2025-03-12", "Digest"),
		revoked("role_mapping.delete by bearer", roleMappingDelete(hexID(5)), security, mapping(5), "2024-10-23", "Bearer"),
		revoked("role_mapping.delete by digest", roleMappingDelete(hexID(6)), legacy, mapping(6), "2024-10-23", "Digest"),
		x509("x509.disable by bearer", hexID(7), security, "Bearer"),
		x509("x509.disable by digest", hexID(8), legacy, "Digest"),
	}
}

func TestEveryKindMakesTheDocumentedCall(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	w := rig.start(t)
	checkKinds(t, w, atlas, kindRows())
}

func TestX509OlderPath(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Atlas.X509API = config.X509APIv10
	w := rig.start(t)
	var rows []kindRow
	for _, row := range kindRows() {
		if row.wantKnown == jobs.KnownAccepted {
			row.wantURI = strings.Replace(row.wantURI, "/v2/", "/v1.0/", 1)
			row.wantAccept = "application/json"
			rows = append(rows, row)
		}
	}
	checkKinds(t, w, atlas, rows)
}

// checkKinds publishes the requests of all rows and looks at the calls and results that come of them.
func checkKinds(t *testing.T, w *worker, atlas *standIn, rows []kindRow) {
	t.Helper()
	for _, row := range rows {
		w.publish("rotation", row.request.with("account", row.account).String())
	}
	results := map[string]result{}
	for _, r := range w.results(len(rows)) {
		results[r.record.Account+" "+encoded(r.record.Params)] = r
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var calls []call
			for _, c := range atlas.authenticated(row.wantURI) {
				if c.uri == row.wantURI {
					calls = append(calls, c)
				}
			}
			if len(calls) != 1 {
				t.Fatalf("got %d calls of %s, want 1", len(calls), row.wantURI)
			}
			checkCall(t, w.rig, row, calls[0])
			params := row.request["params"]
			if row.name == "token.revoke" {
				params = map[string]string{"token": fingerprint(leakedToken)}
			}
			r, ok := results[row.account+" "+encoded(params)]
			if !ok {
				t.Fatalf("no result for %v", params)
			}
			kind := strings.ReplaceAll(row.request["kind"].(string), ".", "-")
			if want := "rekey.v1.result." + kind + ".revoked"; r.subject != want {
				t.Errorf("the result is on %s, want %s", r.subject, want)
			}
			if r.record.Known != row.wantKnown {
				t.Errorf("known is %q, want %q", r.record.Known, row.wantKnown)
			}
		})
	}
}

func checkCall(t *testing.T, rig *rig, row kindRow, c call) {
	t.Helper()
	if c.method != row.wantMethod {
		t.Errorf("the method is %s, want %s", c.method, row.wantMethod)
	}
	if got := c.header.Get("Accept"); row.wantAccept != "" && got != row.wantAccept {
		t.Errorf("Accept is %q, want %q", got, row.wantAccept)
	}
	if got := c.header.Get("User-Agent"); got != "rekey/1.2.3" {
		t.Errorf("User-Agent is %q, want rekey/1.2.3", got)
	}
	if got, _, _ := strings.Cut(c.authorization(), " "); got != row.wantScheme {
		t.Errorf("it authenticates with %q, want %s", got, row.wantScheme)
	}
	if row.wantScheme != "Basic" {
		if c.body != "" {
			t.Errorf("it has the body %q, want none", c.body)
		}
		return
	}
	form, err := url.ParseQuery(c.body)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(url.Values{"token": {leakedToken}, "token_type_hint": {"access_token"}}, form); diff != "" {
		t.Errorf("the form is not as documented (-want +got):\n%s", diff)
	}
	if got := c.header.Get("Content-Type"); got != "application/x-www-form-urlencoded" {
		t.Errorf("Content-Type is %q", got)
	}
	if want := basic(clientID, rig.clientSecret); c.authorization() != want {
		t.Error("the credentials are not those of the account that owns the token")
	}
}

// basic is the header Authorization of RFC 7617.
func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func TestTokenFileIsReadWhereTheWorkerIs(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	w := rig.start(t)
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte("token-from-a-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.publish("incident", newRequest(jobs.TokenRevoke, map[string]any{"token_file": path}).String())
	if got := w.results(1)[0].record; got.Outcome != jobs.OutcomeRevoked {
		t.Errorf("the outcome is %s, want revoked", got.Outcome)
	}
	if got := atlas.requests(revokePath)[0].body; got != "token=token-from-a-file&token_type_hint=access_token" {
		t.Errorf("the form is %q", got)
	}
}

func TestEveryKindChangesTheSandbox(t *testing.T) {
	t.Parallel()
	box, url := startSandbox(t)
	rig := sandboxRig(t, box, url)
	w := rig.start(t)
	leaked := box.MintToken(sandbox.ClientID)
	mapping := map[string]any{"federation_id": sandbox.FederationID, "org_id": sandbox.OrgID, "role_mapping_id": sandbox.RoleMappingID}
	w.publish("incident", tokenRevoke(leaked).String())
	w.publish("incident", jwksRevoke(sandbox.LockedIdentityProviderID).String())
	w.publish("rotation", idpDelete(sandbox.IdentityProviderID).with("account", legacy).String())
	w.publish("rotation", newRequest(jobs.RoleMappingDelete, mapping).with("account", legacy).String())
	w.publish("rotation", x509Disable(sandbox.ProjectID).String())
	for _, r := range w.results(5) {
		if r.record.Outcome != jobs.OutcomeRevoked || r.record.AttemptsSpent != 1 {
			t.Errorf("%s: %s after %d attempts: %s", r.record.Kind, r.record.Outcome, r.record.AttemptsSpent, r.record.Detail)
		}
	}
	if box.TokenLive(leaked) {
		t.Error("the leaked token still works")
	}
	state := encoded(box.State())
	for _, gone := range []string{sandbox.IdentityProviderID, sandbox.RoleMappingID} {
		if strings.Contains(state, gone) {
			t.Errorf("%s is still there", gone)
		}
	}
	for _, p := range box.State().Projects {
		if p.ID == sandbox.ProjectID && p.CustomerX509 {
			t.Error("customer-managed X.509 is still on")
		}
	}
}
