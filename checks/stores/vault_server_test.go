package stores

import (
	"fmt"
	"testing"

	"github.com/hashicorp/go-hclog"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/api"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/sdk/logical"
	server "github.com/hashicorp/vault/vault"

	"rekey/internal/secret"
	"rekey/internal/vault"
)

// engine is a Vault that keeps its data in memory.
type engine struct {
	authority string      // The file with the authority of its certificate.
	root      *api.Client // It may do everything.
	mounts    int
}

// startVault starts a Vault, which ends with the test.
func startVault(t *testing.T) *engine {
	t.Helper()
	cluster := server.NewTestCluster(t, &server.CoreConfig{LogicalBackends: map[string]logical.Factory{"kv": kv.Factory}}, &server.TestClusterOptions{
		NumCores: 1, HandlerFunc: vaulthttp.Handler, KVVersion: "2", Logger: hclog.NewNullLogger(),
	})
	t.Cleanup(cluster.Cleanup)
	return &engine{authority: cluster.CACertPEMFile, root: cluster.Cores[0].Client}
}

// mount makes a KV engine of a version.
func (e *engine) mount(t *testing.T, version string) string {
	t.Helper()
	e.mounts++
	name := fmt.Sprintf("kv%d", e.mounts)
	check(t, e.root.Sys().MountWithContext(t.Context(), name, &api.MountInput{Type: "kv", Options: map[string]string{"version": version}}))
	return name
}

// client is the worker's.
func (e *engine) client(t *testing.T, mount, token string) *vault.Client {
	t.Helper()
	client, err := vault.New(vault.Config{
		Address: e.root.Address(), CAFile: e.authority, Mount: mount,
		Token: secret.Ref{Env: "TOKEN"}, LookupEnv: func(string) (string, bool) { return token, true },
	})
	check(t, err)
	return client
}

// token makes a token with rights to the path, and no other.
func (e *engine) token(t *testing.T, mount, rights string) string {
	t.Helper()
	policy := fmt.Sprintf("path %q { capabilities = [%s] }", mount+"/data/"+path, rights)
	check(t, e.root.Sys().PutPolicyWithContext(t.Context(), mount, policy))
	made, err := e.root.Auth().Token().CreateWithContext(t.Context(), &api.TokenCreateRequest{Policies: []string{mount}, TTL: "1h"})
	check(t, err)
	return made.Auth.ClientToken
}
