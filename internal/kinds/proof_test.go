package kinds

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	idOne = "5ec0000000000000000000e1"
	idTwo = "5ec0000000000000000000e2"
)

// changed is when the call of the tests was answered.
var changed = time.Date(2026, 5, 4, 3, 2, 1, 500, time.UTC)

// checkOf is a check of a kind.
func checkOf(t *testing.T, kind Name, name string, as Caller) Check {
	t.Helper()
	for _, c := range Of(kind).Proof.Checks {
		if c.Name == name && c.As == as {
			return c
		}
	}
	t.Fatalf("%s has no check %s", kind, name)
	return Check{}
}

// elements are those of a list.
func elements(texts ...string) (list [][]byte) {
	for _, text := range texts {
		list = append(list, []byte(text))
	}
	return list
}

func idpElement(id, issuer, audience, client, protocol string) string {
	return fmt.Sprintf(`{"id":%q,"issuerUri":%q,"audience":%q,"clientId":%q,"protocol":%q}`, id, issuer, audience, client, protocol)
}

func mappingElement(id, group, assignments string) string {
	return fmt.Sprintf(`{"id":%q,"externalGroupName":%q,"roleAssignments":[%s]}`, id, group, assignments)
}

// TestGone: of a read of the target itself, 404 and 200 show something; the reader makes sure that it is the API that says so.
func TestGone(t *testing.T) {
	want := map[int]Shows{200: ShowsAlive, 404: ShowsDead, 401: ShowsNothing, 403: ShowsNothing}
	for _, kind := range []struct {
		name  Name
		check string
	}{
		{IDPDelete, "identity_provider"},
		{RoleMappingDelete, "role_mapping"},
		{ServiceAccountDelete, "service_account"},
		{APIKeyDelete, "api_key"},
		{DatabaseUserDelete, "database_user"},
		{OrgUserRemove, "user"},
		{ProjectUserRemove, "user"},
	} {
		for status, shows := range want {
			if got := checkOf(t, kind.name, kind.check, AsAccount).Judge(Seen{Status: status, Document: []byte("<html>")}); got.Shows != shows || got.Says == "" {
				t.Errorf("%s %s, %d: %+v", kind.name, kind.check, status, got)
			}
		}
		if got := checkOf(t, kind.name, kind.check, AsAccount).Judge(Seen{Status: 404, Code: "GROUP_NOT_FOUND"}); got.Shows != ShowsNothing {
			t.Errorf("%s %s, in a project that the account does not see: %+v", kind.name, kind.check, got)
		}
	}
}

// TestMeaning: what is put back has another id, and the same meaning; what only looks alike is another thing.
func TestMeaning(t *testing.T) {
	const owner, reader = `{"orgId":"a","role":"ORG_OWNER"}`, `{"groupId":"b","role":"GROUP_READ_ONLY"}`
	idp := idpElement(idOne, "https://idp", "aud", "cl", "OIDC")
	group := mappingElement(idOne, "admins", owner+","+reader)
	tests := []struct {
		name       string
		kind       Name
		check      string
		before     string // The target before the call; empty: it was not read.
		now        []string
		wantShows  Shows
		wantBackAs string
	}{
		{name: "no provider", kind: IDPDelete, before: idp, wantShows: ShowsDead},
		{name: "the same provider", kind: IDPDelete, before: idp, now: []string{idp}, wantShows: ShowsAlive},
		{name: "provider put back", kind: IDPDelete, before: idp, now: []string{idpElement(idTwo, "https://idp", "aud", "", "OIDC")}, wantShows: ShowsAlive, wantBackAs: idTwo},
		{name: "by its client", kind: IDPDelete, before: idp, now: []string{idpElement(idTwo, "https://idp", "", "cl", "OIDC")}, wantShows: ShowsAlive, wantBackAs: idTwo},
		{name: "other audience", kind: IDPDelete, before: idp, now: []string{idpElement(idTwo, "https://idp", "other", "other", "OIDC")}, wantShows: ShowsDead},
		{name: "other issuer", kind: IDPDelete, before: idp, now: []string{idpElement(idTwo, "https://other", "aud", "cl", "OIDC")}, wantShows: ShowsDead},
		{
			name: "SAML put back", kind: IDPDelete, before: idpElement(idOne, "https://idp", "", "", "SAML"), wantShows: ShowsAlive, wantBackAs: idTwo,
			now: []string{idpElement(idTwo, "https://idp", "", "", "SAML")},
		},
		{
			name: "OIDC of the same issuer is not that SAML", kind: IDPDelete, before: idpElement(idOne, "https://idp", "", "", "SAML"), wantShows: ShowsDead,
			now: []string{idpElement(idTwo, "https://idp", "aud", "", "OIDC")},
		},
		{name: "not known what it meant", kind: IDPDelete, now: []string{idpElement(idTwo, "", "", "", "")}, wantShows: ShowsDead},
		{name: "mapping put back", kind: RoleMappingDelete, before: group, now: []string{mappingElement(idTwo, "admins", reader+","+owner)}, wantShows: ShowsAlive, wantBackAs: idTwo},
		{name: "with more grants", kind: RoleMappingDelete, before: group, wantShows: ShowsAlive, wantBackAs: idTwo, now: []string{
			mappingElement(idTwo, "admins", reader+","+owner+`,{"orgId":"a","role":"ORG_MEMBER"}`),
		}},
		{name: "with fewer grants", kind: RoleMappingDelete, before: group, now: []string{mappingElement(idTwo, "admins", reader)}, wantShows: ShowsDead},
		{name: "other group", kind: RoleMappingDelete, before: group, now: []string{mappingElement(idTwo, "Admins", owner+","+reader)}, wantShows: ShowsDead},
		{name: "hostile id", kind: RoleMappingDelete, before: group, now: []string{mappingElement("../x", "admins", owner+","+reader)}, wantShows: ShowsAlive},
		{name: "no list", kind: RoleMappingDelete, before: group, now: []string{`[]`}, wantShows: ShowsNothing},
		{name: "no ids", kind: RoleMappingDelete, before: group, now: []string{`{"externalGroupName":"x"}`}, wantShows: ShowsNothing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			check := checkOf(t, tt.kind, map[Name]string{IDPDelete: "identity_providers", RoleMappingDelete: "role_mappings"}[tt.kind], AsAccount)
			seen := Seen{Status: 200, Elements: elements(tt.now...), Value: func(string) string { return idOne }}
			if tt.before != "" {
				var err error
				if seen.Meaning, err = Of(tt.kind).Proof.Meaning([]byte(tt.before)); err != nil {
					t.Fatal(err)
				}
			}
			got := check.Judge(seen)
			var back string
			for _, id := range got.BackAs {
				back = id
			}
			if got.Shows != tt.wantShows || back != tt.wantBackAs {
				t.Errorf("%+v, want %s and back as %q", got, tt.wantShows, tt.wantBackAs)
			}
			if got := check.Judge(Seen{Status: 403}); got.Shows != ShowsNothing {
				t.Errorf("403: %+v", got)
			}
		})
	}
}

// TestNoMeaning: a document of another form has no meaning that anything could be compared with.
func TestNoMeaning(t *testing.T) {
	for _, kind := range []Name{IDPDelete, RoleMappingDelete, X509Disable} {
		long := strings.Repeat("x", mostMeaning+1)
		for _, document := range []string{``, `[]`, `{}`, `{"issuerUri":1}`, `{"issuerUri":"` + long + `","externalGroupName":"` + long + `"}`} {
			if meaning, err := Of(kind).Proof.Meaning([]byte(document)); err == nil {
				t.Errorf("%s, %s: %v", kind, document, meaning)
			}
		}
	}
}

// TestLeakedItself: reads with the leaked credential.
func TestLeakedItself(t *testing.T) {
	token, client := checkOf(t, TokenRevoke, "token", AsToken), checkOf(t, ServiceAccountSecretDelete, "client_secret", AsClient)
	tests := []struct {
		name  string
		check Check
		seen  Seen
		want  Shows
	}{
		{"token before its end", token, Seen{Status: 401, At: changed, Ends: changed.Add(time.Hour)}, ShowsDead},
		{"token about to end", token, Seen{Status: 401, At: changed, Ends: changed.Add(time.Second)}, ShowsNothing},
		{"token that ended by the API's clock", token, Seen{Status: 401, At: changed, Date: changed.Add(2 * time.Hour), Ends: changed.Add(time.Hour)}, ShowsNothing},
		{"token that ended by the fleet's clock", token, Seen{Status: 401, At: changed, Date: changed.Add(-2 * time.Hour), Ends: changed.Add(-time.Hour)}, ShowsNothing},
		{"token that ended", token, Seen{Status: 401, At: changed, Ends: changed.Add(-time.Hour)}, ShowsNothing},
		{"token without an end", token, Seen{Status: 401, At: changed}, ShowsDead},
		{"token that works", token, Seen{Status: 200, At: changed}, ShowsAlive},
		{"token that works after its end", token, Seen{Status: 200, At: changed, Ends: changed.Add(-time.Hour)}, ShowsAlive},
		{"token from elsewhere", token, Seen{Status: 403, At: changed}, ShowsNothing},
		{"no such path", token, Seen{Status: 404, At: changed}, ShowsNothing},
		{"secret", client, Seen{Status: 401, Code: "invalid_client"}, ShowsDead},
		{"401 of another sort", client, Seen{Status: 401}, ShowsNothing},
		{"secret that works", client, Seen{Status: 200}, ShowsAlive},
		{"secret with 100 tokens", client, Seen{Status: 403, Code: "access_denied"}, ShowsAlive},
		{"403 of another sort", client, Seen{Status: 403}, ShowsNothing},
	}
	for _, tt := range tests {
		if got := tt.check.Judge(tt.seen); got.Shows != tt.want || got.Says == "" {
			t.Errorf("%s: %+v, want %s", tt.name, got, tt.want)
		}
	}
}

// TestExpiredByBothClocks: a secret that works is not dead because a clock says that it has expired.
func TestExpiredByBothClocks(t *testing.T) {
	check := checkOf(t, ServiceAccountSecretDelete, "client_secret", AsAccount)
	document := fmt.Appendf(nil, `{"secrets":[{"id":%q,"expiresAt":%q}]}`, idOne, changed.Format(time.RFC3339))
	day := 24 * time.Hour
	for _, tt := range []struct {
		fleet, api time.Duration // After its end, by the clock of each.
		want       Shows
	}{{day, -day, ShowsAlive}, {-day, day, ShowsAlive}, {-day, -day, ShowsAlive}, {day, day, ShowsDead}} {
		seen := Seen{Status: 200, Document: document, At: changed.Add(tt.fleet), Date: changed.Add(tt.api), Value: func(string) string { return idOne }}
		if got := check.Judge(seen); got.Shows != tt.want {
			t.Errorf("%s by the fleet's clock, %s by the API's: %+v, want %s", tt.fleet, tt.api, got, tt.want)
		}
	}
}

// TestListedSecret: an expired secret stays listed.
func TestListedSecret(t *testing.T) {
	secret := func(id, expires string) string { return fmt.Sprintf(`{"id":%q,"expiresAt":%q}`, id, expires) }
	tests := []struct {
		name, document string
		status         int
		want           Shows
	}{
		{"gone", `{"secrets":[` + secret(idTwo, "2027-01-01T00:00:00Z") + `]}`, 200, ShowsDead},
		{"none left", `{"secrets":[]}`, 200, ShowsDead},
		{"there", `{"secrets":[` + secret(idOne, "2027-01-01T00:00:00Z") + `]}`, 200, ShowsAlive},
		{"expired", `{"secrets":[` + secret(idOne, "2026-01-01T00:00:00Z") + `]}`, 200, ShowsDead},
		{"without an end", `{"secrets":[{"id":"` + idOne + `"}]}`, 200, ShowsAlive},
		{"no list", `{"clientId":"x"}`, 200, ShowsNothing},
		{"other type", `{"secrets":{}}`, 200, ShowsNothing},
		{"no account", ``, 404, ShowsDead},
		{"no role", ``, 403, ShowsNothing},
	}
	check := checkOf(t, ServiceAccountSecretDelete, "client_secret", AsAccount)
	for _, tt := range tests {
		seen := Seen{Status: tt.status, Document: []byte(tt.document), At: changed, Value: func(string) string { return idOne }}
		if got := check.Judge(seen); got.Shows != tt.want {
			t.Errorf("%s: %+v, want %s", tt.name, got, tt.want)
		}
	}
}

// TestChecksOfAJob: the leaked credential is read with only where it is given, and only where that is allowed.
func TestChecksOfAJob(t *testing.T) {
	has := func(names ...string) func(string) bool {
		return func(name string) bool { return slices.Contains(names, name) }
	}
	tests := []struct {
		name  string
		kind  Name
		given func(string) bool
		probe bool
		want  string
	}{
		{"token", TokenRevoke, has("token_sealed"), true, "token as token: /api/atlas/v2"},
		{"token, no probe", TokenRevoke, has("token"), false, ""},
		{"secret by its ids", ServiceAccountSecretDelete, has("org_id", "client_id", "secret_id"), true, "client_secret: " + pathOrgAccount},
		{"secret itself", ServiceAccountSecretDelete, has("org_id", "secret_ref"), true, "client_secret as client: " + PathToken},
		{"secret itself, no probe", ServiceAccountSecretDelete, has("org_id", "secret"), false, "client_secret: " + pathOrgAccount},
		{"no secret", RoleMappingDelete, has(), true, "role_mapping: " + pathRoleMapping + ", role_mappings: " + pathRoleMappings},
		{"no read", JWKSRevoke, has(), true, ""},
	}
	for _, tt := range tests {
		var got []string
		for _, c := range Of(tt.kind).Checks(tt.given, tt.probe) {
			c = c.On(Of(tt.kind).Forms[0])
			text := c.Name
			if c.As != AsAccount {
				text += " as " + string(c.As)
			}
			got = append(got, text+": "+c.Path)
			if c.Set.Name == "" || c.Role.Title == "" {
				t.Errorf("%s: check %s has set %q and role %q", tt.name, c.Name, c.Set.Name, c.Role.Title)
			}
		}
		if text := strings.Join(got, ", "); text != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, text, tt.want)
		}
	}
}

// TestEveryKindIsProven: a new kind says how.
func TestEveryKindIsProven(t *testing.T) {
	week := []Name{IDPDelete, RoleMappingDelete, X509Disable}
	for _, k := range All() {
		p := k.Proof
		if k.Becomes == nil && len(p.Events) == 0 {
			t.Errorf("%s: the log of the API has no event of it", k.Name)
		}
		if watched := slices.Contains(week, k.Name); (p.Watch != 0) != watched || watched && (p.Watch != 7*24*time.Hour || p.Restorers == "" || p.Meaning == nil || len(p.Restored) == 0) {
			t.Errorf("%s is watched for %s: %+v", k.Name, p.Watch, p)
		}
		for _, c := range p.Checks {
			for _, status := range []int{http.StatusOK, 401, 403, 404} {
				// Whatever the answer holds, the judge answers, and not that it is dead where the caller lacks a role.
				got := c.Judge(Seen{Status: status, Value: func(string) string { return "" }})
				if got.Shows == "" || got.Says == "" || got.Shows == ShowsDead && c.As == AsAccount && (status == 401 || status == 403) {
					t.Errorf("%s, check %s, %d: %+v", k.Name, c.Name, status, got)
				}
			}
		}
	}
}

// FuzzJudge: whatever the API answers, a judge says something, and what it takes for the target put back has an id.
func FuzzJudge(f *testing.F) {
	f.Add([]byte(`{"customerX509":{"cas":"x"}}`), []byte(idpElement(idTwo, "https://idp", "aud", "", "OIDC")), []byte(`{"changeStatus":"APPLIED"}`))
	f.Add([]byte(`{"secrets":[{"id":"x"}]}`), []byte(`{"name":"A","stateName":"IDLE"}`), []byte(nil))
	f.Add([]byte(`null`), []byte(mappingElement(idTwo, "g", `null`)), []byte(`[]`))
	f.Fuzz(func(t *testing.T, document, element, each []byte) {
		for _, k := range All() {
			var meaning map[string]string
			if k.Proof.Meaning != nil {
				meaning, _ = k.Proof.Meaning(element)
			}
			for _, c := range k.Proof.Checks {
				got := c.Judge(Seen{
					Status: http.StatusOK, Document: document, Elements: [][]byte{element}, Each: [][]byte{each}, Meaning: meaning,
					Value: func(string) string { return idOne }, Changed: changed, At: changed,
				})
				if got.Shows == "" || got.Says == "" {
					t.Errorf("%s, check %s: %+v", k.Name, c.Name, got)
				}
				for name, id := range got.BackAs {
					if !IsID(id) {
						t.Errorf("%s, check %s: back as %s %q", k.Name, c.Name, name, id)
					}
				}
			}
		}
	})
}
