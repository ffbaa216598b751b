package jobs

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"rekey/internal/kinds"
)

func mistakes() []mistake {
	const (
		badID    = ": must be 24 lower-case hexadecimal digits"
		badToken = "params.token: must be visible ASCII: character 33 is "
		badFile  = "params.token_file: must be an absolute path on the worker"
		oneToken = "params: token.revoke needs exactly one of token, token_file, token_sealed, token_ref"
	)
	token := func(v any) map[string]any { return map[string]any{"token": v} }
	file := func(v any) map[string]any { return map[string]any{"token_file": v} }
	project := func(v any) map[string]any { return map[string]any{"project_id": v} }
	return append(leakMistakes(), []mistake{
		{name: "no token", kind: kinds.TokenRevoke, raw: nil, want: oneToken},
		{name: "two tokens", kind: kinds.TokenRevoke, raw: map[string]any{"token": canary, "token_file": "/x"}, want: oneToken},
		{name: "empty token", kind: kinds.TokenRevoke, raw: token(""), want: "params.token: must have 1 to 16384 bytes"},
		{
			name: "token of 17 KiB", kind: kinds.TokenRevoke, raw: token(strings.Repeat("x", 17<<10)),
			want: "params.token: must have 1 to 16384 bytes",
		},
		{name: "token with a space", kind: kinds.TokenRevoke, raw: token(canary + " x"), want: badToken + "U+0020, a space"},
		{name: "token with a newline", kind: kinds.TokenRevoke, raw: token(canary + "\n"), want: badToken + "U+000A, a line feed"},
		{name: "token with NUL", kind: kinds.TokenRevoke, raw: token(canary + "\x00"), want: badToken + "U+0000, a NUL"},
		{name: "token with DEL", kind: kinds.TokenRevoke, raw: token(canary + "\x7f"), want: badToken + "U+007F, a delete"},
		{name: "token with a C1 control", kind: kinds.TokenRevoke, raw: token(canary + "\u009b"), want: badToken + "U+009B"},
		{name: "token with a no-break space", kind: kinds.TokenRevoke, raw: token(canary + "\u00a0"), want: badToken + "U+00A0, a no-break space"},
		{name: "token in invalid UTF-8", kind: kinds.TokenRevoke, raw: token(canary + "\xff"), want: badToken + "the byte 0xFF, which is no UTF-8"},
		{
			name: "client secret for a token", kind: kinds.TokenRevoke, raw: token("mdb_sa_sk_" + canary),
			want: "params.token: is the secret of a service account (mdb_sa_sk_…), and no bearer token: " +
				"delete the secret at its service account in Atlas; that also ends the tokens that were made with it",
		},
		{
			name: "placeholder for a token", kind: kinds.TokenRevoke, raw: token("REDACTED"),
			want: "params.token: is a placeholder for a secret, and no bearer token: hand over the access token alone",
		},
		{name: "token as number", kind: kinds.TokenRevoke, raw: token(json.Number("17")), want: "params.token: must be a string, not a number"},
		{name: "token as float", kind: kinds.TokenRevoke, raw: token(1.5), want: "params.token: must be a string, not a number"},
		{name: "token as integer", kind: kinds.TokenRevoke, raw: token(17), want: "params.token: must be a string, not a number"},
		{name: "token as null", kind: kinds.TokenRevoke, raw: token(nil), want: "params.token: must be a string, not null"},
		{name: "token as boolean", kind: kinds.TokenRevoke, raw: token(true), want: "params.token: must be a string, not a boolean"},
		{name: "token as array", kind: kinds.TokenRevoke, raw: token([]any{canary}), want: "params.token: must be a string, not an array"},
		{
			name: "token as object", kind: kinds.TokenRevoke, raw: token(map[string]any{"value": canary}),
			want: "params.token: must be a string, not an object",
		},
		{
			name: "token as something else", kind: kinds.TokenRevoke, raw: token(struct{ V string }{canary}),
			want: "params.token: must be a string, not another type",
		},
		{name: "token in the place of its file", kind: kinds.TokenRevoke, raw: file(canary), want: badFile},
		{name: "empty file", kind: kinds.TokenRevoke, raw: file(""), want: badFile},
		{name: "relative file", kind: kinds.TokenRevoke, raw: file("./" + canary), want: badFile},
		{
			name: "file with NUL", kind: kinds.TokenRevoke, raw: file("/" + canary + "\x00"),
			want: "params.token_file: must not contain control characters",
		},
		{
			name: "file with a newline", kind: kinds.TokenRevoke, raw: file("/" + canary + "\nx"),
			want: "params.token_file: must not contain control characters",
		},
		{
			name: "file in invalid UTF-8", kind: kinds.TokenRevoke, raw: file("/" + canary + "\xff"),
			want: "params.token_file: must not contain control characters",
		},
		{
			name: "file with a path of 5000 bytes", kind: kinds.TokenRevoke, raw: file("/" + strings.Repeat("x", 4999)),
			want: "params.token_file: has 5000 bytes; the limit is 4096",
		},
		{name: "missing id", kind: kinds.X509Disable, raw: nil, want: "params.project_id: required by x509.disable"},
		{
			name: "one of three missing", kind: kinds.RoleMappingDelete, raw: map[string]any{"federation_id": idA, "role_mapping_id": idC},
			want: "params.org_id: required by role_mapping.delete",
		},
		{name: "empty id", kind: kinds.X509Disable, raw: project(""), want: "params.project_id" + badID},
		{name: "id in upper case", kind: kinds.X509Disable, raw: project(strings.ToUpper(idA)), want: "params.project_id" + badID},
		{name: "short id", kind: kinds.X509Disable, raw: project(idA[1:]), want: "params.project_id" + badID},
		{name: "long id", kind: kinds.X509Disable, raw: project(idA + "a"), want: "params.project_id" + badID},
		{name: "id with a newline", kind: kinds.X509Disable, raw: project(idA + "\n"), want: "params.project_id" + badID},
		{name: "id on the second line", kind: kinds.X509Disable, raw: project("x\n" + idA), want: "params.project_id" + badID},
		{name: "id that is a path", kind: kinds.X509Disable, raw: project("../" + idA[3:]), want: "params.project_id" + badID},
		{name: "id that is a token", kind: kinds.X509Disable, raw: project(canary), want: "params.project_id" + badID},
		{name: "id as number", kind: kinds.X509Disable, raw: project(json.Number("1")), want: "params.project_id: must be a string, not a number"},
		{
			name: "parameter of another kind", kind: kinds.X509Disable, raw: map[string]any{"project_id": idA, "token": canary},
			want: "params.token: unknown parameter; x509.disable takes project_id",
		},
		{
			name: "token as a name", kind: kinds.TokenRevoke, raw: map[string]any{"token": canary, strings.Repeat(canary, 2): ""},
			want: "params.(a name of 64 bytes): unknown parameter; token.revoke takes token, token_file, token_sealed, token_ref",
		},
		{
			name: "name with a newline", kind: kinds.X509Disable, raw: map[string]any{"project_id": idA, "a\nb": ""},
			want: "params.(a name of 3 bytes): unknown parameter; x509.disable takes project_id",
		},
		{
			name: "no name", kind: kinds.X509Disable, raw: map[string]any{"project_id": idA, "": ""},
			want: "params.(a name of 0 bytes): unknown parameter; x509.disable takes project_id",
		},
	}...)
}

func TestNewParamsMistakes(t *testing.T) {
	for _, tt := range mistakes() {
		t.Run(tt.name, func(t *testing.T) {
			p, err := NewParams(tt.kind, tt.raw)
			problems := malformed(t, err)
			if len(problems) != 1 || problems[0].Error() != tt.want {
				t.Errorf("mistakes %q, want the one %q", problems, tt.want)
			}
			if got := p.Carried(); len(got) != 0 {
				t.Errorf("parameters that were rejected are there: %v", p)
			}
			mustNotShow(t, "the error", fmt.Sprint(err))
		})
	}
}

func TestNewParamsReportsAllMistakes(t *testing.T) {
	_, err := NewParams(kinds.RoleMappingDelete, map[string]any{"org_id": "x", "role_mapping_id": 7, "group": "y"})
	want := strings.Join([]string{
		"params.group: unknown parameter; role_mapping.delete takes federation_id, org_id, role_mapping_id",
		"params.org_id: must be 24 lower-case hexadecimal digits",
		"params.role_mapping_id: must be a string, not a number",
		"params.federation_id: required by role_mapping.delete",
	}, "\n")
	if err == nil || err.Error() != want {
		t.Errorf("error:\n%v\nwant:\n%s", err, want)
	}
}

// leakMistakes are those of kinds that end what scanners find.
func leakMistakes() []mistake {
	const badID = ": must be 24 lower-case hexadecimal digits"
	secret := func(change map[string]any) map[string]any {
		raw := map[string]any{"org_id": idA, "client_id": saID, "secret_id": idB}
		maps.Copy(raw, change)
		return raw
	}
	user := func(name, database any) map[string]any {
		return map[string]any{"project_id": idA, "username": name, "auth_database": database}
	}
	return []mistake{
		{
			name: "neither organization nor project", kind: kinds.ServiceAccountSecretDelete,
			raw:  map[string]any{"client_id": saID, "secret_id": idB},
			want: "params: service_account_secret.delete needs exactly one of org_id, project_id",
		},
		{
			name: "organization and project", kind: kinds.ServiceAccountSecretDelete, raw: secret(map[string]any{"project_id": idA}),
			want: "params: service_account_secret.delete needs exactly one of org_id, project_id",
		},
		{
			name: "secret for a client id", kind: kinds.ServiceAccountSecretDelete, raw: secret(map[string]any{"client_id": "mdb_sa_sk_" + canary}),
			want: "params.client_id: must be mdb_sa_id_ and 24 hexadecimal digits",
		},
		{
			name: "secret for its id", kind: kinds.ServiceAccountSecretDelete, raw: secret(map[string]any{"secret_id": "mdb_sa_sk_" + canary}),
			want: "params.secret_id" + badID,
		},
		{
			name: "account of a project", kind: kinds.ServiceAccountDelete, raw: map[string]any{"project_id": idA, "org_id": idA, "client_id": saID},
			want: "params.project_id: unknown parameter; service_account.delete takes org_id, client_id",
		},
		{
			name: "secret and its id", kind: kinds.ServiceAccountSecretDelete, raw: secret(map[string]any{"secret": "mdb_sa_sk_" + canary}),
			want: "params: service_account_secret.delete needs exactly one of client_id with secret_id, secret, secret_file, secret_sealed, secret_ref",
		},
		{
			name: "token for a secret", kind: kinds.ServiceAccountSecretDelete, raw: map[string]any{"org_id": idA, "secret": "eyJ." + canary},
			want: "params.secret: must be the secret of a service account: mdb_sa_sk_ and what follows, alone",
		},
		{
			name: "client id alone", kind: kinds.ServiceAccountSecretDelete, raw: map[string]any{"org_id": idA, "client_id": saID},
			want: "params.secret_id: required by service_account_secret.delete",
		},
		{
			name: "public key and id", kind: kinds.APIKeyDelete, raw: map[string]any{"org_id": idA, "api_key_id": idB, "public_key": "abcdefgh"},
			want: "params: api_key.delete needs exactly one of api_key_id, public_key",
		},
		{
			name: "pair for a public key", kind: kinds.APIKeyDelete, raw: map[string]any{"org_id": idA, "public_key": "abcdefgh:" + canary},
			want: "params.public_key: must be the public key of an API key, as in abcdefgh",
		},
		{name: "empty name", kind: kinds.DatabaseUserDelete, raw: user("", "admin"), want: "params.username: must have 1 to 1024 bytes"},
		{name: "long name", kind: kinds.DatabaseUserDelete, raw: user(strings.Repeat("x", 1025), "admin"), want: "params.username: must have 1 to 1024 bytes"},
		{name: "name with a control", kind: kinds.DatabaseUserDelete, raw: user("a\n"+canary, "admin"), want: "params.username: must not contain control characters"},
		{name: "name whose part was sealed", kind: kinds.DatabaseUserDelete, raw: user("CN=app,OU=token: rekey-seal.v1.x", "$external"), want: "params.username: has a part that looks like a credential and was sealed on its way: ask for it over NATS, or with worker job submit"},
		{name: "name in invalid UTF-8", kind: kinds.DatabaseUserDelete, raw: user("a\xff"+canary, "admin"), want: "params.username: must not contain control characters"},
		{name: "database with a slash", kind: kinds.DatabaseUserDelete, raw: user("a", "x/"+canary), want: "params.auth_database: must be the name of a database, such as admin or $external"},
		{
			name: "no password there", kind: kinds.DatabaseUserScramble, raw: user("CN=x", "$external"),
			want: "params.auth_database: must not be $external, whose users have no password; database_user.delete ends them",
		},
	}
}
