package kinds_test

import (
	"fmt"
	"strings"
	"testing"

	"rekey/internal/kinds"
)

const (
	leakOrg     = "5ec0000000000000000000b1"
	leakProject = "5ec0000000000000000000f1"
	leakUUID    = "7d1f3a52-9b0c-4eef-8a11-3c5e7f90abcd"
	leakHost    = "@cluster0.abcde.mongodb.net"
)

// TestContain: the look of a text and the hints say which kind it becomes; Why says what is missing.
func TestContain(t *testing.T) {
	t.Parallel()
	const secret = "mdb_sa_sk_AbCd0123456789_-wxYZ"
	hints := map[string]string{"org_id": leakOrg, "project_id": leakProject}
	with := func(name, value string) map[string]string {
		return map[string]string{"org_id": leakOrg, "project_id": leakProject, name: value}
	}
	const orgSecret = "service_account_secret.delete map[org_id:" + leakOrg + " secret:" + secret + "]"
	const scramble = "database_user.scramble map[auth_database:admin project_id:" + leakProject + " username:"
	tests := []struct {
		name, text string
		hints      map[string]string
		was, want  string
	}{
		{"JWT", " eyJhbGciOiJFUzUxMiJ9.e30.c2ln\n", nil, "jwt", "token.revoke map[token:eyJhbGciOiJFUzUxMiJ9.e30.c2ln]"},
		{"JWT behind its scheme", "Bearer eyJhbGciOiJFUzUxMiJ9.e30.c2ln", nil, "jwt", "token.revoke map[token:eyJhbGciOiJFUzUxMiJ9.e30.c2ln]"},
		{"JWT in a header", "Authorization: bearer eyJhbGciOiJFUzUxMiJ9.e30.c2ln", nil, "jwt", "token.revoke map[token:eyJhbGciOiJFUzUxMiJ9.e30.c2ln]"},
		{"JWT in a header in quotes", `"authorization": "Bearer eyJhbGciOiJFUzUxMiJ9.e30.c2ln"`, nil, "jwt", "token.revoke map[token:eyJhbGciOiJFUzUxMiJ9.e30.c2ln]"},
		{"another token behind the scheme", "Bearer abcdefghijklmnop", nil, "header", "hand over only the text after Bearer"},
		{"half of a JWT behind the scheme", "Bearer eyJhbGciOiJFUzUxMiJ9.e30", nil, "header", "hand over only the text after Bearer"},
		{"secret", secret, hints, "service_account_secret", orgSecret},
		{"secret by project", secret, map[string]string{"project_id": leakProject}, "service_account_secret", "service_account_secret.delete map[project_id:" + leakProject + " secret:" + secret + "]"},
		{"secret with its id", "mdb_sa_id_5ec0000000000000000000a4:" + secret, hints, "service_account_secret", orgSecret},
		{"secret with another id", "mdb_sa_id_5ec0000000000000000000a4:" + secret, with("client_id", "mdb_sa_id_5ec0000000000000000000a5"), "service_account_secret", "another service account"},
		{"secret in an assignment", "ATLAS_CLIENT_SECRET=" + secret, hints, "service_account_secret", orgSecret},
		{"secret twice", secret + "\n" + secret, hints, "service_account_secret", orgSecret},
		{"two secrets", secret + "\n" + secret + "x", hints, "service_account_secret", "several secrets"},
		{"part of a secret", "mdb_sa_sk_Ab", hints, "service_account_secret", "hand over the whole secret"},
		{"secret without a place", secret, nil, "service_account_secret", "add org_id or project_id"},
		{"key pair", "abcdefgh:" + leakUUID, hints, "api_key", "api_key.delete map[org_id:" + leakOrg + " public_key:abcdefgh]"},
		{"key pair with blanks", "abcdefgh " + leakUUID, hints, "api_key", "api_key.delete map[org_id:" + leakOrg + " public_key:abcdefgh]"},
		{"key pair with another public key", "abcdefgh:" + leakUUID, with("public_key", "zzzzzzzz"), "api_key", "another public key"},
		{"key pair without organization", "abcdefgh:" + leakUUID, nil, "api_key", "add org_id"},
		{"private key", leakUUID, with("public_key", "abcdefgh"), "api_private_key", "api_key.delete map[org_id:" + leakOrg + " public_key:abcdefgh]"},
		{"private key alone", leakUUID, hints, "api_private_key", "add public_key"},
		{"connection string", "mongodb+srv://ci%2Fcd:p%40ss" + leakHost + "/?retryWrites=true", hints, "connection_string", scramble + "ci/cd]"},
		{"connection string that opens a database", "mongodb+srv://ci:s3cr3tpw" + leakHost + "/shop", hints, "connection_string", scramble + "ci]"},
		{"of a .env file", `export MONGODB_URI="mongodb+srv://ci:s3cr3tpw` + leakHost + `/shop"`, hints, "connection_string", scramble + "ci]"},
		{"of YAML", "- uri: 'mongodb+srv://ci:s3cr3tpw" + leakHost + "/shop'", hints, "connection_string", scramble + "ci]"},
		{"of JSON", `"uri": "mongodb+srv://ci:s3cr3tpw` + leakHost + `/shop",`, hints, "connection_string", scramble + "ci]"},
		{"in quotes", "`mongodb+srv://ci:s3cr3tpw" + leakHost + "/shop`", hints, "connection_string", scramble + "ci]"},
		{"several hosts", "mongodb://ci:s3cr3tpw@a.x.mongodb.net:27017,b.x.mongodb.net:27017/?authSource=admin&replicaSet=r", hints, "connection_string", scramble + "ci]"},
		{"one host elsewhere", "mongodb://ci:s3cr3tpw@a.x.mongodb.net:27017,db.example.com/", hints, "connection_string", "not of Atlas"},
		{"authSource of earlier days", "mongodb+srv://ci:s3cr3tpw" + leakHost + "/?authSource=shop", hints, "connection_string", strings.Replace(scramble, "admin", "shop", 1) + "ci]"},
		{"local host", "mongodb://ci:s3cr3tpw@localhost:27017", hints, "connection_string", "not of Atlas"},
		{"directory", "mongodb+srv://ci:s3cr3tpw" + leakHost + "/?authMechanism=PLAIN&authSource=$external", hints, "connection_string", "without a password in Atlas"},
		{"key of AWS", "mongodb+srv://AKIA0:s3cr3tpw" + leakHost + "/?authMechanism=MONGODB-AWS", hints, "connection_string", "without a password in Atlas"},
		{"no password", "mongodb+srv://ci" + leakHost, hints, "connection_string", "without a password, which is no credential"},
		{"no project", "mongodb+srv://ci:s3cr3tpw" + leakHost, nil, "connection_string", "add project_id"},
		{"another database", "postgres://ci:s3cr3tpw@db.example.com/shop", hints, "connection_string", "change the password"},
		{"client id", "mdb_sa_id_5ec0000000000000000000a4", hints, "service_account_id", "ask for service_account.delete"},
		{"public key", "abcdefgh", hints, "api_public_key", "public key"},
		{"another vendor", "ghp_0123456789abcdefghijklmnopqrstuvwxyz", hints, "foreign", "revoke it there"},
		{"opaque", "Zm9v-unlike-anything+else", hints, "opaque", "does not say what it is"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := kinds.Of(kinds.LeakContain).Become(func(name string) string {
				if name == "secret" {
					return tt.text
				}
				return tt.hints[name]
			})
			got := b.Why
			if b.Kind != "" {
				got = fmt.Sprint(b.Kind, " ", b.Params)
			}
			if whole := b.Kind == ""; b.Was != tt.was || whole && !strings.Contains(got, tt.want) || !whole && got != tt.want {
				t.Errorf("it was %s: %s", b.Was, got)
			}
			for _, hidden := range b.Hidden {
				if strings.Contains(b.Why, hidden) {
					t.Errorf("%q shows a secret", b.Why)
				}
			}
		})
	}
}
