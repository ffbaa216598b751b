package jobs

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/kinds"
)

// goodParams are the parameters of each kind, and the target that they name.
func goodParams() []struct {
	name   string
	kind   Kind
	raw    map[string]any
	target string
} {
	return []struct {
		name   string
		kind   Kind
		raw    map[string]any
		target string
	}{
		{name: "token", kind: kinds.TokenRevoke, raw: map[string]any{"token": "abc"}, target: "sha256:ba7816bf8f01"},
		{
			name: "token file", kind: kinds.TokenRevoke, raw: map[string]any{"token_file": "/run/secrets/leaked"},
			target: "file:/run/secrets/leaked",
		},
		{
			name: "jwks", kind: kinds.JWKSRevoke, raw: map[string]any{"federation_id": idA, "identity_provider_id": idB},
			target: "federation/" + idA + "/idp/" + idB,
		},
		{name: "x509", kind: kinds.X509Disable, raw: map[string]any{"project_id": idA}, target: "project/" + idA},
		{
			name: "idp", kind: kinds.IDPDelete, raw: map[string]any{"federation_id": idA, "identity_provider_id": idB},
			target: "federation/" + idA + "/idp/" + idB,
		},
		{
			name: "role mapping", kind: kinds.RoleMappingDelete,
			raw:    map[string]any{"federation_id": idA, "org_id": idB, "role_mapping_id": idC},
			target: "federation/" + idA + "/org/" + idB + "/role_mapping/" + idC,
		},
		{
			name: "secret of an organization's account", kind: kinds.ServiceAccountSecretDelete,
			raw:    map[string]any{"org_id": idA, "client_id": saID, "secret_id": idB},
			target: "org/" + idA + "/service_account/" + saID + "/secret/" + idB,
		},
		{
			name: "secret of a project's account", kind: kinds.ServiceAccountSecretDelete,
			raw:    map[string]any{"project_id": idA, "client_id": saID, "secret_id": idB},
			target: "project/" + idA + "/service_account/" + saID + "/secret/" + idB,
		},
		{
			name: "service account", kind: kinds.ServiceAccountDelete, raw: map[string]any{"org_id": idA, "client_id": saID},
			target: "org/" + idA + "/service_account/" + saID,
		},
		{
			name: "API key", kind: kinds.APIKeyDelete, raw: map[string]any{"org_id": idA, "api_key_id": idB},
			target: "org/" + idA + "/api_key/" + idB,
		},
		{
			name: "database user", kind: kinds.DatabaseUserDelete,
			raw:    map[string]any{"project_id": idA, "username": "arn:aws:iam::1:user/x", "auth_database": "$external"},
			target: "project/" + idA + "/database_user/$external/arn:aws:iam::1:user/x",
		},
		{
			name: "password", kind: kinds.DatabaseUserScramble,
			raw:    map[string]any{"project_id": idA, "username": "ü/ñ", "auth_database": "admin"},
			target: "project/" + idA + "/database_user/admin/ü/ñ",
		},
		{
			name: "client secret", kind: kinds.ServiceAccountSecretDelete, raw: map[string]any{"org_id": idA, "secret": "mdb_sa_sk_0123456789abcdef"},
			target: "org/" + idA + "/secret/sha256:9674ee02a3eb",
		},
		{
			name: "file with a client secret", kind: kinds.ServiceAccountSecretDelete, raw: map[string]any{"project_id": idA, "secret_file": "/run/leaked"},
			target: "project/" + idA + "/secret/file:/run/leaked",
		},
		{
			name: "public key", kind: kinds.APIKeyDelete, raw: map[string]any{"org_id": idA, "public_key": "abcdefgh"},
			target: "org/" + idA + "/public_key/abcdefgh",
		},
		{
			name: "name in an organization", kind: kinds.OrgUserRemove, raw: map[string]any{"org_id": idA, "username": "a@example.com"},
			target: "org/" + idA + "/username/a@example.com",
		},
		{
			name: "name in a project", kind: kinds.ProjectUserRemove, raw: map[string]any{"project_id": idA, "username": "a@example.com"},
			target: "project/" + idA + "/username/a@example.com",
		},
		{
			name: "person of an organization", kind: kinds.OrgUserRemove, raw: map[string]any{"org_id": idA, "user_id": idB},
			target: "org/" + idA + "/user/" + idB,
		},
		{
			name: "person of a project", kind: kinds.ProjectUserRemove, raw: map[string]any{"project_id": idA, "user_id": idB},
			target: "project/" + idA + "/user/" + idB,
		},
	}
}

func TestNewParams(t *testing.T) {
	for _, tt := range goodParams() {
		t.Run(tt.name, func(t *testing.T) {
			p := mustParams(t, tt.kind, tt.raw)
			want := map[string]string{}
			for name, value := range tt.raw {
				want[name] = value.(string)
			}
			if diff := cmp.Diff(want, p.Carried()); diff != "" {
				t.Errorf("Carried (-want +got):\n%s", diff)
			}
			for name, value := range want {
				if got := p.Get(name) + p.Secret(name).Reveal(); got != value {
					t.Errorf("%s = %q, want %q", name, got, value)
				}
			}
			if got := Target(tt.kind, p); got != tt.target {
				t.Errorf("Target = %q, want %q", got, tt.target)
			}
		})
	}
}

// mistake is a parameter set with its one mistake.
type mistake struct {
	name string
	kind Kind
	raw  map[string]any
	want string
}

func TestParamsLimits(t *testing.T) {
	mustParams(t, kinds.TokenRevoke, map[string]any{"token": strings.Repeat("x", 16<<10)})
	mustParams(t, kinds.TokenRevoke, map[string]any{"token_file": "/" + strings.Repeat("x", 4095)})
}

// TestParamsHideSecrets prints parameters, and what holds them, in every usual way.
func TestParamsHideSecrets(t *testing.T) {
	p := mustParams(t, kinds.TokenRevoke, map[string]any{"token": canary})
	job := Job{ID: "j", Kind: kinds.TokenRevoke, Params: p}
	for _, holder := range []any{p, &p, job, &job, Event{Request: Request{Params: p}}, NewRecord(job), []Params{p}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			mustNotShow(t, fmt.Sprintf("%s of %T", verb, holder), fmt.Sprintf(verb, holder))
		}
		text, err := json.Marshal(holder)
		if err != nil {
			t.Errorf("encoding %T: %v", holder, err)
		}
		mustNotShow(t, fmt.Sprintf("JSON of %T", holder), string(text))
	}
	const fingerprint = "sha256:4fa570e1a37a"
	if diff := cmp.Diff(map[string]string{"token": fingerprint}, p.Shown()); diff != "" {
		t.Errorf("Shown (-want +got):\n%s", diff)
	}
	if got, want := p.GoString(), "map[token:"+fingerprint+"]"; got != want {
		t.Errorf("GoString = %s, want %s", got, want)
	}
}

func TestParamsAreCopies(t *testing.T) {
	p := mustParams(t, kinds.X509Disable, map[string]any{"project_id": idA})
	p.Shown()["project_id"], p.Carried()["project_id"] = "x", "x"
	if got := p.Get("project_id"); got != idA {
		t.Errorf("a caller changed a parameter to %q", got)
	}
	var zero Params
	zero.Shown()["a"], zero.Carried()["a"] = "x", "x"
}

func TestTargetOfNothing(t *testing.T) {
	if got := Target("unknown", Params{}); got != "" {
		t.Errorf("Target of an unknown kind = %q", got)
	}
}

func TestFailureError(t *testing.T) {
	cause := errors.New("connection refused")
	f := &Failure{Reason: ReasonUnavailable, Err: cause}
	if got, want := f.Error(), "unavailable: connection refused"; got != want {
		t.Errorf("Error = %q, want %q", got, want)
	}
	if !errors.Is(f, cause) {
		t.Error("the cause is not to be found")
	}
}

func TestMalformedError(t *testing.T) {
	tests := []struct {
		name string
		m    Malformed
		want string
	}{
		{name: "all", m: Malformed{Field: "kind", Line: 3, Detail: "is required"}, want: "line 3: kind: is required"},
		{name: "no line", m: Malformed{Field: "kind", Detail: "is required"}, want: "kind: is required"},
		{name: "no field", m: Malformed{Line: 3, Detail: "is no JSON"}, want: "line 3: is no JSON"},
		{name: "detail only", m: Malformed{Detail: "the payload is empty"}, want: "the payload is empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.m.Error(); got != tt.want {
				t.Errorf("Error = %q, want %q", got, tt.want)
			}
		})
	}
}

// mustNotShow fails when the output holds the canary in a form that printers know.
func mustNotShow(t testing.TB, how, output string) {
	t.Helper()
	for _, form := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprint([]byte(canary))} {
		if strings.Contains(output, form) {
			t.Errorf("%s shows the secret: %s", how, output)
		}
	}
}

// saID is the id of a service account.
const saID = "mdb_sa_id_0123456789abcdefABCDEF01"

// TestDefaultDatabase: a user without a database is one of admin, under both names the same target.
func TestDefaultDatabase(t *testing.T) {
	short := mustParams(t, kinds.DatabaseUserDelete, map[string]any{"project_id": idA, "username": "x"})
	long := mustParams(t, kinds.DatabaseUserDelete, map[string]any{"project_id": idA, "username": "x", "auth_database": "admin"})
	if diff := cmp.Diff(long.Shown(), short.Shown()); diff != "" || targetKey(kinds.DatabaseUserDelete, short) != targetKey(kinds.DatabaseUserDelete, long) {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
