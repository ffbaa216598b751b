package deliver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"rekey/internal/secret"
)

// KV is the key-value engine, version 2, of Vault or OpenBao. An error may have the methods Retryable and RetryAt, which say
// whether another attempt may succeed, and when.
type KV interface {
	// Get returns the fields at a path, and their version. Where nothing is, there are no fields; the version is 0 where nothing
	// ever was.
	Get(ctx context.Context, path string) (fields map[string]any, version int, err error)
	// Put stores fields in place of those of a version. Another version in between is an error that is retryable.
	Put(ctx context.Context, path string, fields map[string]any, version int) error
	// Capabilities are what the token may do at a path: create, read, update and others.
	Capabilities(ctx context.Context, path string) ([]string, error)
}

// vaultPrevious is the end of the name of the field with the secret before the current one. It has no dot, which
// templates of the vendor's agent cannot read.
const vaultPrevious = "_previous"

// vault is a store of the type vault.
type vault struct {
	kv          KV
	path, field string
}

func newVault(c Config, env Env) (*vault, error) {
	if env.Vault == nil {
		return nil, errors.New("type vault needs vault.address and a token in the section vault")
	}
	return &vault{kv: env.Vault, path: c.Path, field: c.Field}, nil
}

// Name implements Store.
func (v *vault) Name() string { return "vault " + v.path + "#" + v.field }

// Delivered implements Store.
func (v *vault) Delivered(ctx context.Context, c Credential) (bool, error) {
	fields, _, err := v.kv.Get(ctx, v.path)
	if err != nil {
		return false, failure(v, "reading the secret", err, c.Value)
	}
	return textOf(fields[v.field]).Equal(c.Value) && !c.Value.IsZero(), nil
}

// Deliver implements Store. Both fields change in one version, and other fields at the path stay as they are. A write of another
// client in between is a conflict, after which the next attempt begins with what that one wrote.
func (v *vault) Deliver(ctx context.Context, c Credential) error {
	if err := usable(c); err != nil {
		return failure(v, "checking the secret", err)
	}
	fields, version, err := v.kv.Get(ctx, v.path)
	if err != nil {
		return failure(v, "reading the secret", err, c.Value)
	}
	now := textOf(fields[v.field])
	if now.Equal(c.Value) {
		return nil
	}
	after := maps.Clone(fields)
	if after == nil {
		after = map[string]any{}
	}
	after[v.field] = c.Value.Reveal()
	switch {
	case textOf(fields[v.field+vaultPrevious]).Equal(c.Value):
		delete(after, v.field+vaultPrevious)
	case !now.IsZero():
		after[v.field+vaultPrevious] = now.Reveal()
	}
	return failure(v, "writing the secret", v.kv.Put(ctx, v.path, after, version), c.Value, now)
}

// Held implements Reader.
func (v *vault) Held(ctx context.Context) (current, previous secret.Value, err error) {
	fields, _, err := v.kv.Get(ctx, v.path)
	return textOf(fields[v.field]), textOf(fields[v.field+vaultPrevious]), failure(v, "reading the secret", err)
}

// Inspect implements Inspector.
func (v *vault) Inspect(ctx context.Context) (string, error) {
	may, err := v.kv.Capabilities(ctx, v.path)
	if err != nil {
		return "", failure(v, "asking what the token may do", err)
	}
	if slices.Contains(may, "root") {
		return "the token may do everything: give it a policy for this path alone", nil
	}
	var missing []string
	for _, one := range []string{"create", "read", "update"} {
		if !slices.Contains(may, one) {
			missing = append(missing, one)
		}
	}
	if len(missing) > 0 {
		return "", failure(v, "asking what the token may do", permanent{fmt.Errorf("its policy lacks %s at this path", strings.Join(missing, ", "))})
	}
	return "the token may read and write the path", nil
}

// textOf is a field that holds a text, the zero Value for another one.
func textOf(field any) secret.Value {
	text, ok := field.(string)
	if !ok {
		return secret.Value{}
	}
	return secret.New(text)
}
