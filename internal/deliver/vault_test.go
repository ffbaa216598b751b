package deliver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/deliver"
)

// engine is the KV engine of Vault in memory.
type engine struct {
	fields  map[string]any
	version int
	may     []string
	fault   error  // Instead of an answer.
	between func() // Called between a read and a write, once.
}

// said is an error of the engine that says whether it passes.
type said struct {
	text   string
	passes bool
	at     time.Time
}

func (e said) Error() string      { return e.text }
func (e said) Retryable() bool    { return e.passes }
func (e said) RetryAt() time.Time { return e.at }

func (e *engine) Get(_ context.Context, path string) (map[string]any, int, error) {
	if path != "ci/atlas" {
		return nil, 0, fmt.Errorf("path %s", path)
	}
	return maps.Clone(e.fields), e.version, e.fault
}

func (e *engine) Put(_ context.Context, path string, fields map[string]any, version int) error {
	if e.between != nil {
		e.between()
		e.between = nil
	}
	if e.fault != nil || path != "ci/atlas" {
		return e.fault
	}
	if version != e.version {
		return said{text: "check-and-set parameter did not match the current version", passes: true}
	}
	e.fields, e.version = maps.Clone(fields), e.version+1
	return nil
}

func (e *engine) Capabilities(context.Context, string) ([]string, error) { return e.may, e.fault }

func vaultStore(t *testing.T, e *engine) deliver.Store {
	t.Helper()
	return open(t, deliver.Config{Type: deliver.TypeVault, Path: "ci/atlas", Field: "client_secret"}, deliver.Env{Vault: e})
}

func TestVaultDeliver(t *testing.T) {
	t.Parallel()
	other := json.Number("7")
	tests := []struct {
		name    string
		before  map[string]any
		version int
		want    map[string]any
		wantTo  int
	}{
		{"nothing", nil, 0, map[string]any{"client_secret": fresh}, 1},
		{"deleted", nil, 3, map[string]any{"client_secret": fresh}, 4},
		{"one secret", map[string]any{"client_secret": old, "n": other}, 1, map[string]any{"client_secret": fresh, "client_secret_previous": old, "n": other}, 2},
		{"two secrets", map[string]any{"client_secret": old, "client_secret_previous": older}, 5, map[string]any{"client_secret": fresh, "client_secret_previous": old}, 6},
		{"the same", map[string]any{"client_secret": fresh, "client_secret_previous": old}, 5, map[string]any{"client_secret": fresh, "client_secret_previous": old}, 5},
		{"no text", map[string]any{"client_secret": other}, 1, map[string]any{"client_secret": fresh}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := &engine{fields: tt.before, version: tt.version}
			store := vaultStore(t, e)
			for range 2 { // The second changes nothing.
				if err := store.Deliver(t.Context(), credential(fresh)); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, e.fields); diff != "" || e.version != tt.wantTo {
					t.Errorf("version %d, fields (-want +got):\n%s", e.version, diff)
				}
			}
			if got, err := store.Delivered(t.Context(), credential(fresh)); !got || err != nil {
				t.Errorf("Delivered() = %v, %v", got, err)
			}
			if got, err := store.Delivered(t.Context(), credential(old)); got || err != nil {
				t.Errorf("Delivered() of the previous = %v, %v", got, err)
			}
		})
	}
}

// What another client writes in between is not lost: the next attempt begins with it.
func TestVaultConflict(t *testing.T) {
	t.Parallel()
	e := &engine{fields: map[string]any{"client_secret": old}, version: 1}
	e.between = func() { e.fields["note"], e.version = "written in between", 2 }
	store := vaultStore(t, e)
	err := store.Deliver(t.Context(), credential(fresh))
	if f, ok := errors.AsType[*deliver.Failure](err); !ok || !f.Retryable {
		t.Fatalf("Deliver() = %v", err)
	}
	if err := store.Deliver(t.Context(), credential(fresh)); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"client_secret": fresh, "client_secret_previous": old, "note": "written in between"}
	if diff := cmp.Diff(want, e.fields); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

func TestVaultFailure(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC)
	tests := []struct {
		name      string
		fault     error
		want      string
		retryable bool
		at        time.Time
	}{
		{"no answer", errors.New("connection refused"), "reading the secret: connection refused", true, time.Time{}},
		{"denied", said{text: "HTTP 403: permission denied"}, "reading the secret: HTTP 403: permission denied", false, time.Time{}},
		{"busy", said{text: "HTTP 429", passes: true, at: at}, "reading the secret: HTTP 429", true, at},
		{"an answer with the secret", errors.New("invalid value " + fresh), "reading the secret: invalid value [secret]", true, time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			store := vaultStore(t, &engine{fault: tt.fault})
			_, err := store.Delivered(t.Context(), credential(fresh))
			for _, err := range []error{err, store.Deliver(t.Context(), credential(fresh))} {
				f, ok := errors.AsType[*deliver.Failure](err)
				if !ok || f.Retryable != tt.retryable || !f.RetryAt.Equal(tt.at) || err.Error() != "vault ci/atlas#client_secret: "+tt.want {
					t.Errorf("failed with %#v: %v", f, err)
				}
				noCanary(t, err)
			}
		})
	}
}

func TestVaultInspect(t *testing.T) {
	t.Parallel()
	tests := []struct {
		may       []string
		want, err string
	}{
		{[]string{"create", "read", "update"}, "the token may read and write the path", ""},
		{[]string{"root"}, "the token may do everything: give it a policy for this path alone", ""},
		{[]string{"read"}, "", "vault ci/atlas#client_secret: asking what the token may do: its policy lacks create, update at this path"},
		{[]string{"deny"}, "", "vault ci/atlas#client_secret: asking what the token may do: its policy lacks create, read, update at this path"},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.may, " "), func(t *testing.T) {
			t.Parallel()
			inspect(t, vaultStore(t, &engine{may: tt.may}), tt.want, tt.err)
		})
	}
}

func TestVaultNotConfigured(t *testing.T) {
	t.Parallel()
	_, err := deliver.New([]deliver.Config{{Type: deliver.TypeVault, Path: "a", Field: "b"}}, deliver.Env{})
	if err == nil || err.Error() != "store 1: type vault needs vault.address and a token in the section vault" {
		t.Errorf("New() = %v", err)
	}
}

// inspect checks what a store says of itself.
func inspect(t *testing.T, store deliver.Store, want, wantErr string) {
	t.Helper()
	inspector, ok := store.(deliver.Inspector)
	if !ok {
		t.Fatalf("%T cannot be looked at", store)
	}
	got, err := inspector.Inspect(t.Context())
	text := ""
	if err != nil {
		text = err.Error()
	}
	if got != want || text != wantErr {
		t.Errorf("Inspect() = %q, %q; want %q, %q", got, text, want, wantErr)
	}
	noCanary(t, err)
}

// testBack checks a store that has the fresh secret, and the old one before it, when it gets the old one again.
func testBack(t *testing.T, store deliver.Store, wantBefore string) {
	t.Helper()
	reader, ok := store.(deliver.Reader)
	if !ok {
		t.Fatalf("%T does not show what it holds", store)
	}
	holds := func(current, previous string) {
		t.Helper()
		now, before, err := reader.Held(t.Context())
		if err != nil || now.Reveal() != current || before.Reveal() != previous {
			t.Errorf("it holds %q and before that %q, %v", now.Reveal(), before.Reveal(), err)
		}
	}
	holds(fresh, old)
	for range 2 {
		if err := store.Deliver(t.Context(), credential(old)); err != nil {
			t.Fatal(err)
		}
		holds(old, wantBefore)
	}
}

func TestVaultBack(t *testing.T) {
	t.Parallel()
	e := &engine{fields: map[string]any{"client_secret": fresh, "client_secret_previous": old, "note": "kept"}, version: 1}
	testBack(t, vaultStore(t, e), "")
	if diff := cmp.Diff(map[string]any{"client_secret": old, "note": "kept"}, e.fields); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}
