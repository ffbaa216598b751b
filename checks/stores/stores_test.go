package stores

import (
	"errors"
	"testing"
	"time"

	"rekey/internal/deliver"
	"rekey/internal/secret"
)

const (
	first  = "mdb_sa_sk_canary-first"
	second = "mdb_sa_sk_canary-second"
	third  = "mdb_sa_sk_canary-third"
)

// startTimeout bounds the start of a server.
const startTimeout = 2 * time.Minute

func credential(value string) deliver.Credential {
	return deliver.Credential{Rotation: "ci", ID: "5ec000000000000000000001", ClientID: "mdb_sa_id_x", Value: secret.New(value)}
}

// delivered delivers a value and reads it back.
func delivered(t *testing.T, store deliver.Store, value string) {
	t.Helper()
	check(t, store.Deliver(t.Context(), credential(value)))
	if got, err := store.Delivered(t.Context(), credential(value)); !got || err != nil {
		t.Errorf("Delivered() = %v, %v", got, err)
	}
}

func inspected(t *testing.T, store deliver.Store, want string) {
	t.Helper()
	if got, err := store.(deliver.Inspector).Inspect(t.Context()); got != want || err != nil {
		t.Errorf("Inspect() = %q, %v, want %q", got, err, want)
	}
}

// failed compares an error of a store; an empty text wants no error.
func failed(t *testing.T, err error, want string, retryable bool) {
	t.Helper()
	if want == "" {
		check(t, err)
		return
	}
	f, ok := errors.AsType[*deliver.Failure](err)
	if !ok || f.Retryable != retryable || f.Err.Error() != want {
		t.Errorf("the error is %v\nwant %s, retryable %v", err, want, retryable)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
