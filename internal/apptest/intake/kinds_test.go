package intake_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/apptest"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

const (
	federationURI = "/api/atlas/v2/federationSettings/" + apptest.Federation
	leakedToken   = "leaked+token/with=signs&more"
)

// kindRow is one kind with one way to authenticate, and the call that the documentation wants.
type kindRow struct {
	name       string
	request    apptest.Request
	account    string
	wantMethod string
	wantURI    string
	wantAccept string
	wantScheme string
}

func kindRows() []kindRow {
	revoked := func(name string, r apptest.Request, account, uri, version, scheme string) kindRow {
		return kindRow{
			name: name, request: r, account: account, wantMethod: http.MethodDelete, wantURI: uri,
			wantAccept: "application/vnd.atlas." + version + "+json", wantScheme: scheme,
		}
	}
	x509 := func(name, project, account, scheme string) kindRow {
		return revoked(name, apptest.X509Disable(project), account, "/api/atlas/v2/groups/"+project+"/userSecurity/customerX509", "2023-01-01", scheme)
	}
	idp := func(n int) string { return federationURI + "/identityProviders/" + apptest.HexID(n) }
	mapping := func(n int) string {
		return federationURI + "/connectedOrgConfigs/" + apptest.Org + "/roleMappings/" + apptest.HexID(n)
	}
	return []kindRow{
		{
			name: "token.revoke", request: apptest.TokenRevoke(leakedToken), account: apptest.Security, wantMethod: http.MethodPost,
			wantURI: apptest.RevokePath, wantScheme: "Basic",
		},
		revoked("jwks.revoke by bearer", apptest.JwksRevoke(apptest.HexID(1)), apptest.Security, idp(1)+"/jwks", "2025-02-19", "Bearer"),
		revoked("jwks.revoke by digest", apptest.JwksRevoke(apptest.HexID(2)), apptest.Legacy, idp(2)+"/jwks", "2025-02-19", "Digest"),
		revoked("idp.delete by bearer", apptest.IdpDelete(apptest.HexID(3)), apptest.Security, idp(3), "2025-03-12", "Bearer"),
		revoked("idp.delete by digest", apptest.IdpDelete(apptest.HexID(4)), apptest.Legacy, idp(4), "2025-03-12", "Digest"),
		revoked("role_mapping.delete by bearer", apptest.RoleMappingDelete(apptest.HexID(5)), apptest.Security, mapping(5), "2024-10-23", "Bearer"),
		revoked("role_mapping.delete by digest", apptest.RoleMappingDelete(apptest.HexID(6)), apptest.Legacy, mapping(6), "2024-10-23", "Digest"),
		x509("x509.disable by bearer", apptest.HexID(7), apptest.Security, "Bearer"),
		x509("x509.disable by digest", apptest.HexID(8), apptest.Legacy, "Digest"),
	}
}

func TestEveryKindMakesTheDocumentedCall(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	w := rig.Start(t)
	checkKinds(t, w, atlas, kindRows())
}

func TestX509OlderPath(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Atlas.X509API = config.X509APIv10
	w := rig.Start(t)
	var rows []kindRow
	for _, row := range kindRows() {
		if strings.HasPrefix(row.name, "x509.disable") {
			row.wantURI = strings.Replace(row.wantURI, "/v2/", "/v1.0/", 1)
			row.wantAccept = "application/json"
			rows = append(rows, row)
		}
	}
	checkKinds(t, w, atlas, rows)
}

// checkKinds publishes the requests of all rows and looks at the calls and results that come of them.
func checkKinds(t *testing.T, w *apptest.Worker, atlas *apptest.StandIn, rows []kindRow) {
	t.Helper()
	for _, row := range rows {
		w.Publish("rotation", row.request.With("account", row.account).String())
	}
	results := map[string]apptest.Result{}
	for _, r := range w.Results(len(rows)) {
		results[r.Record.Account+" "+apptest.Encoded(r.Record.Params)] = r
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var calls []apptest.Call
			for _, c := range atlas.Authenticated(row.wantURI) {
				if c.URI == row.wantURI {
					calls = append(calls, c)
				}
			}
			if len(calls) != 1 {
				t.Fatalf("got %d calls of %s, want 1", len(calls), row.wantURI)
			}
			checkCall(t, w.Rig, row, calls[0])
			params := row.request["params"]
			if row.name == "token.revoke" {
				params = map[string]string{"token": apptest.Fingerprint(leakedToken)}
			}
			r, ok := results[row.account+" "+apptest.Encoded(params)]
			if !ok {
				t.Fatalf("no result for %v", params)
			}
			kind := strings.ReplaceAll(row.request["kind"].(string), ".", "-")
			if want := "rekey.v1.result." + kind + ".revoked"; r.Subject != want {
				t.Errorf("the result is on %s, want %s", r.Subject, want)
			}
		})
	}
}

func checkCall(t *testing.T, rig *apptest.Rig, row kindRow, c apptest.Call) {
	t.Helper()
	if c.Method != row.wantMethod {
		t.Errorf("the method is %s, want %s", c.Method, row.wantMethod)
	}
	if got := c.Header.Get("Accept"); row.wantAccept != "" && got != row.wantAccept {
		t.Errorf("Accept is %q, want %q", got, row.wantAccept)
	}
	if got := c.Header.Get("User-Agent"); got != "rekey/1.2.3" {
		t.Errorf("User-Agent is %q, want rekey/1.2.3", got)
	}
	if got, _, _ := strings.Cut(c.Authorization(), " "); got != row.wantScheme {
		t.Errorf("it authenticates with %q, want %s", got, row.wantScheme)
	}
	if row.wantScheme != "Basic" {
		if c.Body != "" {
			t.Errorf("it has the body %q, want none", c.Body)
		}
		return
	}
	form, err := url.ParseQuery(c.Body)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(url.Values{"token": {leakedToken}, "token_type_hint": {"access_token"}}, form); diff != "" {
		t.Errorf("the form is not as documented (-want +got):\n%s", diff)
	}
	if got := c.Header.Get("Content-Type"); got != "application/x-www-form-urlencoded" {
		t.Errorf("Content-Type is %q", got)
	}
	if want := apptest.Basic(apptest.ClientID, rig.ClientSecret); c.Authorization() != want {
		t.Error("the credentials are not those of the account that owns the token")
	}
}

func TestTokenFileIsReadWhereTheWorkerIs(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	w := rig.Start(t)
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte("token-from-a-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.Publish("incident", apptest.NewRequest(kinds.TokenRevoke, map[string]any{"token_file": path}).String())
	if got := w.Results(1)[0].Record; got.Outcome != jobs.OutcomeRevoked {
		t.Errorf("the outcome is %s, want revoked", got.Outcome)
	}
	if got := atlas.Requests(apptest.RevokePath)[0].Body; got != "token=token-from-a-file&token_type_hint=access_token" {
		t.Errorf("the form is %q", got)
	}
}

func TestEveryKindChangesTheSandbox(t *testing.T) {
	t.Parallel()
	box, url := apptest.StartSandbox(t)
	rig := apptest.SandboxRig(t, box, url)
	w := rig.Start(t)
	leaked := box.MintToken(sandbox.ClientID)
	mapping := map[string]any{"federation_id": sandbox.FederationID, "org_id": sandbox.OrgID, "role_mapping_id": sandbox.RoleMappingID}
	w.Publish("incident", apptest.TokenRevoke(leaked).String())
	w.Publish("incident", apptest.JwksRevoke(sandbox.LockedIdentityProviderID).String())
	w.Publish("rotation", apptest.IdpDelete(sandbox.IdentityProviderID).With("account", apptest.Legacy).String())
	w.Publish("rotation", apptest.NewRequest(kinds.RoleMappingDelete, mapping).With("account", apptest.Legacy).String())
	w.Publish("rotation", apptest.X509Disable(sandbox.ProjectID).String())
	byIDs := map[jobs.Kind]map[string]any{
		kinds.ServiceAccountSecretDelete: {"project_id": sandbox.ProjectID, "client_id": sandbox.LeakedClientID, "secret_id": sandbox.LeakedSecretID},
		kinds.ServiceAccountDelete:       {"org_id": sandbox.OrgID, "client_id": sandbox.SpareClientID},
		kinds.APIKeyDelete:               {"org_id": sandbox.OrgID, "api_key_id": sandbox.LeakedAPIKeyID},
		kinds.DatabaseUserDelete:         {"project_id": sandbox.ProjectID, "username": sandbox.DatabaseExternalUser, "auth_database": "$external"},
		kinds.DatabaseUserScramble:       {"project_id": sandbox.ProjectID, "username": sandbox.DatabaseUser},
		kinds.OrgUserRemove:              {"org_id": sandbox.OrgID, "user_id": sandbox.SpareUserID},
		kinds.ProjectUserRemove:          {"project_id": sandbox.SpareProjectID, "user_id": sandbox.UserID},
	}
	for kind, params := range byIDs {
		w.Publish("incident", apptest.NewRequest(kind, params).String())
	}
	for _, r := range w.Results(5 + len(byIDs)) {
		if r.Record.Outcome != jobs.OutcomeRevoked || r.Record.AttemptsSpent != 1 {
			t.Errorf("%s: %s after %d attempts: %s", r.Record.Kind, r.Record.Outcome, r.Record.AttemptsSpent, r.Record.Detail)
		}
	}
	if box.TokenLive(leaked) {
		t.Error("the leaked token still works")
	}
	state := apptest.Encoded(box.State())
	for _, gone := range []string{
		sandbox.IdentityProviderID, sandbox.RoleMappingID, sandbox.LeakedSecretID, sandbox.SpareClientID, sandbox.LeakedPublicKey,
		sandbox.DatabaseExternalUser, sandbox.SpareUserID,
	} {
		if strings.Contains(state, gone) {
			t.Errorf("%s is still there", gone)
		}
	}
	for _, p := range box.State().Projects {
		if p.ID == sandbox.ProjectID && p.CustomerX509 {
			t.Error("customer-managed X.509 is still on")
		}
		for _, u := range p.DatabaseUsers {
			if want := map[string]int{sandbox.DatabaseUser: 1}[u.Username]; u.PasswordChanges != want {
				t.Errorf("%s got %d other passwords, want %d", u.Username, u.PasswordChanges, want)
			}
		}
	}
	for _, u := range box.State().Users {
		if u.ID == sandbox.UserID && !slices.Equal(u.Projects, []string{sandbox.ProjectID}) {
			t.Errorf("the person is in %v", u.Projects)
		}
	}
}

// TestLookUpsChangeTheSandbox: by what leaked instead of ids, for each kind that takes it, and the wrong thing changes nothing.
func TestLookUpsChangeTheSandbox(t *testing.T) {
	t.Parallel()
	box, url := apptest.StartSandbox(t)
	w := apptest.SandboxRig(t, box, url).Start(t)
	leaked, _ := box.Secret(sandbox.LeakedSecretID)
	wrong := "mdb_sa_sk_" + apptest.Canary() + "-none"
	before := apptest.Encoded(box.State().Users)
	w.Publish("incident", apptest.NewRequest(kinds.ServiceAccountSecretDelete, map[string]any{"org_id": sandbox.OrgID, "secret": wrong}).String())
	w.Publish("incident", apptest.NewRequest(kinds.OrgUserRemove, map[string]any{"org_id": sandbox.OrgID, "username": "none@example.com"}).String())
	for _, r := range w.Results(2) {
		if r.Record.Outcome != jobs.OutcomeRefused || r.Record.Attempts[0].Reason != jobs.ReasonNotFound || !strings.Contains(r.Record.Detail, "were looked at, and nothing was changed") {
			t.Errorf("%s: %s %s", r.Record.Kind, r.Record.Outcome, r.Record.Detail)
		}
	}
	if _, there := box.Secret(sandbox.LeakedSecretID); !there || apptest.Encoded(box.State().Users) != before {
		t.Error("a look-up that found nothing has changed something")
	}
	byLookUp := map[jobs.Kind]map[string]any{
		kinds.ServiceAccountSecretDelete: {"org_id": sandbox.OrgID, "secret": leaked},
		kinds.APIKeyDelete:               {"org_id": sandbox.OrgID, "public_key": sandbox.LeakedPublicKey},
		kinds.OrgUserRemove:              {"org_id": sandbox.OrgID, "username": "trent@example.com"},
		kinds.ProjectUserRemove:          {"project_id": sandbox.SpareProjectID, "username": sandbox.UserName},
	}
	for kind, params := range byLookUp {
		w.Publish("incident", apptest.NewRequest(kind, params).String())
	}
	for _, r := range w.Results(2 + len(byLookUp))[2:] {
		if r.Record.Outcome != jobs.OutcomeRevoked || r.Record.AttemptsSpent != 1 || r.Record.Search.Only() == nil {
			t.Errorf("%s: %s", r.Record.Kind, apptest.Encoded(r.Record))
		}
	}
	state := apptest.Encoded(box.State())
	for _, gone := range []string{sandbox.LeakedSecretID, sandbox.LeakedPublicKey, sandbox.SpareUserID, sandbox.SpareProjectID + "\"]"} {
		if strings.Contains(state, gone) {
			t.Errorf("%s is still there", gone)
		}
	}
	w.Publish("incident", apptest.NewRequest(kinds.ServiceAccountSecretDelete, map[string]any{"org_id": sandbox.OrgID, "secret": leaked}).CloudEvent("urn:soar", "again"))
	again := w.Results(7)[6].Record
	if again.Outcome != jobs.OutcomeAlreadyGone {
		t.Errorf("the same secret once more: %s %s", again.Outcome, again.Detail)
	}
	apptest.Canaries{"wrong secret": wrong, "leaked secret": leaked}.SearchEverything(t, w)
}
