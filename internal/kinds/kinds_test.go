package kinds_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/kinds"
)

// TestDeclare: a declaration that contradicts itself is refused.
func TestDeclare(t *testing.T) {
	good := kinds.Of(kinds.X509Disable)
	good.Name = "x509.again"
	tests := []struct {
		name   string
		change func(k *kinds.Kind)
		want   string
	}{
		{"name is taken", func(k *kinds.Kind) { k.Name = kinds.X509Disable }, "name must be one of its own"},
		{"no success", func(k *kinds.Kind) { k.Call.Success = nil }, "success"},
		{"no shape", func(k *kinds.Kind) { k.Params = []kinds.Param{{Name: "project_id"}} }, "project_id needs a shape"},
		{"unknown parameter in a path", func(k *kinds.Kind) { k.Forms[0].Change.Path = "/x/{y}" }, `/x/{y} names the unknown parameter "y"`},
		{"unknown parameter in a choice", func(k *kinds.Kind) { k.Choices = []kinds.Choice{{{"a"}}} }, `a choice names the unknown parameter "a"`},
		{"secret in a path", func(k *kinds.Kind) { k.Params[0].Secret = true }, "a secret does not belong in a path"},
		{"nothing to read and no reason", func(k *kinds.Kind) { k.Forms[0].Read = kinds.Resource{} }, "either what can be read or why nothing can"},
		{"whose a document is, and not where", func(k *kinds.Kind) { k.Forms[0].Read.IDField, k.Forms[0].Read.IDParam = "id", "project" }, "a parameter that is in the path"},
		{"no role", func(k *kinds.Kind) { k.Forms[0].Role = kinds.Role{} }, "role"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := good
			k.Params, k.Forms = append([]kinds.Param{}, good.Params...), append([]kinds.Form{}, good.Forms...)
			tt.change(&k)
			defer func() {
				if text, _ := recover().(string); !strings.Contains(text, tt.want) {
					t.Errorf("got %q, want %q", text, tt.want)
				}
			}()
			kinds.Declare(k)
			t.Error("it was taken")
		})
	}
}

func TestFill(t *testing.T) {
	values := map[string]string{"a": "CN=x/y,OU=é", "b": "..", "c": "$external"}
	got := kinds.Resource{Path: "/{c}/{a}/{b}/end"}.Fill(func(name string) string { return values[name] })
	if want := "/$external/CN=x%2Fy%2COU=%C3%A9/%2E%2E/end"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestForms: the parameters and the configured API choose the form.
func TestForms(t *testing.T) {
	project := func(name string) string { return map[string]string{"project_id": "p"}[name] }
	for api, want := range map[string]string{"": "/api/atlas/v2/", "v2": "/api/atlas/v2/", "v1.0": "/api/atlas/v1.0/"} {
		if got := kinds.Of(kinds.X509Disable).Form(api, project).Change.Path; !strings.HasPrefix(got, want) {
			t.Errorf("%q: got %s", api, got)
		}
	}
	if got := kinds.Of("x").Form("", project); got.Change.Path != "" {
		t.Errorf("an unknown kind has the form %v", got)
	}
}

func TestHelp(t *testing.T) {
	want := `  token.revoke                   token or token_file or token_sealed or token_ref
  jwks.revoke                    federation_id, identity_provider_id
  x509.disable                   project_id
  idp.delete                     federation_id, identity_provider_id
  role_mapping.delete            federation_id, org_id, role_mapping_id
  service_account_secret.delete  org_id or project_id, client_id with secret_id or secret or secret_file or secret_sealed or secret_ref
  service_account.delete         org_id, client_id
  api_key.delete                 org_id, api_key_id or public_key
  database_user.delete           project_id, username, [auth_database]
  database_user.scramble         project_id, username, [auth_database]
  org_user.remove                org_id, user_id or username
  project_user.remove            project_id, user_id or username
  leak.contain                   secret or secret_file or secret_sealed or secret_ref, [org_id], [project_id], [client_id], [public_key]
  service_account_secret.rotate  rotation
  api_key.rotate                 rotation
`
	if diff := cmp.Diff(want, kinds.Help()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
