package stores

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/vault/api"

	"rekey/internal/deliver"
	"rekey/internal/vault"
)

const (
	rights = `"create", "read", "update"` // As docs/rotation.md names them.
	path   = "ci/atlas"
	field  = "client_secret"
)

type fields = map[string]any

func TestVault(t *testing.T) {
	e := startVault(t)
	t.Run("deliver", e.testDeliver)
	t.Run("rights", e.testRights)
	t.Run("before", e.testBefore)
	t.Run("changed between the read and the write", e.testBetween)
	t.Run("refused", e.testRefused)
	t.Run("status", e.testStatus)
	t.Run("sealed", e.testSealed) // It is the end of this Vault.
}

func (e *engine) testDeliver(t *testing.T) {
	mount := e.mount(t, "2")
	_, err := e.root.KVv2(mount).Put(t.Context(), path, fields{"other": "x"})
	check(t, err)
	store := e.store(t, mount, rights)
	inspected(t, store, "the token may read and write the path")
	for _, tt := range []struct {
		value   string
		version int
		want    fields
	}{
		{first, 2, fields{field: first, "other": "x"}},
		{second, 3, fields{field: second, field + "_previous": first, "other": "x"}},
		{second, 3, fields{field: second, field + "_previous": first, "other": "x"}},
		{third, 4, fields{field: third, field + "_previous": second, "other": "x"}},
		{second, 5, fields{field: second, "other": "x"}}, // Taken back.
	} {
		delivered(t, store, tt.value)
		found, err := e.root.KVv2(mount).Get(t.Context(), path)
		check(t, err)
		if diff := cmp.Diff(tt.want, found.Data); diff != "" || found.VersionMetadata.Version != tt.version {
			t.Errorf("version %d, want %d (-want +got):\n%s", found.VersionMetadata.Version, tt.version, diff)
		}
	}
}

// The rights that the documents name suffice, as the other tests show. Without one of them, worker doctor says which.
func (e *engine) testRights(t *testing.T) {
	for _, tt := range []struct{ rights, lacks, deliver string }{
		{`"create", "update"`, "read", "reading the secret: HTTP 403: 1 error occurred: * permission denied"},
		{`"read", "update"`, "create", "writing the secret: HTTP 403: 1 error occurred: * permission denied"},
		{`"read"`, "create, update", "writing the secret: HTTP 403: 1 error occurred: * permission denied"},
		{`"deny"`, "create, read, update", "reading the secret: HTTP 403: 1 error occurred: * permission denied"},
	} {
		store := e.store(t, e.mount(t, "2"), tt.rights)
		_, err := store.(deliver.Inspector).Inspect(t.Context())
		failed(t, err, "asking what the token may do: its policy lacks "+tt.lacks+" at this path", false)
		failed(t, store.Deliver(t.Context(), credential(first)), tt.deliver, false)
	}
}

// What is at the path before, and how the mount is set up.
func (e *engine) testBefore(t *testing.T) {
	for name, before := range map[string]func(ctx context.Context, kv *api.KVv2) error{
		"deleted":      func(ctx context.Context, kv *api.KVv2) error { return kv.Delete(ctx, path) },
		"destroyed":    func(ctx context.Context, kv *api.KVv2) error { return kv.Destroy(ctx, path, []int{1}) },
		"without past": func(ctx context.Context, kv *api.KVv2) error { return kv.DeleteMetadata(ctx, path) },
		"one version, by check-and-set only": func(ctx context.Context, kv *api.KVv2) error {
			return kv.PutMetadata(ctx, path, api.KVMetadataPutInput{CASRequired: true, MaxVersions: 1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			mount := e.mount(t, "2")
			kv := e.root.KVv2(mount)
			_, err := kv.Put(t.Context(), path, fields{field: "before"})
			check(t, err)
			check(t, before(t.Context(), kv))
			store := e.store(t, mount, rights)
			delivered(t, store, first)
			delivered(t, store, second)
		})
	}
}

// overtaken writes in between.
type overtaken struct {
	*vault.Client
	write func()
}

func (o overtaken) Put(ctx context.Context, path string, fields map[string]any, version int) error {
	o.write()
	return o.Client.Put(ctx, path, fields, version)
}

func (e *engine) testBetween(t *testing.T) {
	mount := e.mount(t, "2")
	client := e.client(t, mount, e.token(t, mount, rights))
	for _, value := range []string{"x", "y"} { // The first version, and a later one.
		store := openVault(t, overtaken{client, func() {
			_, err := e.root.KVv2(mount).Put(t.Context(), path, fields{"other": value})
			check(t, err)
		}})
		err := store.Deliver(t.Context(), credential(first))
		failed(t, err, "writing the secret: HTTP 400: check-and-set parameter did not match the current version", true)
	}
	delivered(t, openVault(t, client), first)
	found, err := e.root.KVv2(mount).Get(t.Context(), path)
	check(t, err)
	if diff := cmp.Diff(fields{field: first, "other": "y"}, found.Data); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func (e *engine) testRefused(t *testing.T) {
	const nowhere = `HTTP 403: preflight capability check returned 403, please ensure client's policies grant access to path "nowhere/data/ci/atlas/"`
	ended := e.token(t, "secret", rights)
	check(t, e.root.Auth().Token().RevokeTreeWithContext(t.Context(), ended))
	one := e.mount(t, "1")
	for _, tt := range []struct{ name, mount, token, inspect, deliver string }{
		{"no mount", "nowhere", e.token(t, "nowhere", rights), nowhere, "writing the secret: " + nowhere},
		{"version 1", one, e.token(t, one, rights), "the engine at " + one + " is not KV, version 2", "writing the secret: the engine at " + one + " is not KV, version 2"},
		{"a token that has ended", "secret", ended, "HTTP 403: 2 errors occurred: * permission denied * invalid token", "reading the secret: HTTP 403: 2 errors occurred: * permission denied * invalid token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := openVault(t, e.client(t, tt.mount, tt.token))
			_, err := store.(deliver.Inspector).Inspect(t.Context())
			failed(t, err, "asking what the token may do: "+tt.inspect, false)
			failed(t, store.Deliver(t.Context(), credential(first)), tt.deliver, false)
		})
	}
	// Version 1 takes a write as if it were version 2, and shows it so.
	check(t, e.root.KVv1(one).Put(t.Context(), "data/"+path, fields{"data": fields{field: first}, "options": fields{"cas": 0}}))
	_, err := openVault(t, e.client(t, one, e.token(t, one, rights))).Delivered(t.Context(), credential(first))
	failed(t, err, "reading the secret: the engine at "+one+" is not KV, version 2", false)
}

func (e *engine) testStatus(t *testing.T) {
	status, err := e.client(t, "secret", e.token(t, "secret", rights)).Status(t.Context())
	check(t, err)
	if status.Version == "" || status.Sealed || status.Expires.IsZero() || !status.Renewable {
		t.Errorf("Status() = %+v", status)
	}
}

func (e *engine) testSealed(t *testing.T) {
	client := e.client(t, "secret", e.token(t, "secret", rights))
	check(t, e.root.Sys().SealWithContext(t.Context()))
	failed(t, openVault(t, client).Deliver(t.Context(), credential(first)), "reading the secret: HTTP 503: Vault is sealed", true)
	if status, err := client.Status(t.Context()); !status.Sealed || err != nil {
		t.Errorf("Status() = %+v, %v", status, err)
	}
}

// store is one whose token has these rights to its path, and no other.
func (e *engine) store(t *testing.T, mount, rights string) deliver.Store {
	t.Helper()
	return openVault(t, e.client(t, mount, e.token(t, mount, rights)))
}

func openVault(t *testing.T, kv deliver.KV) deliver.Store {
	t.Helper()
	stores, err := deliver.New([]deliver.Config{{Type: deliver.TypeVault, Path: path, Field: field}}, deliver.Env{Vault: kv})
	check(t, err)
	return stores[0]
}
