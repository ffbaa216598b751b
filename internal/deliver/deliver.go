// Package deliver hands the credential of a rotation to the stores from which its consumers read it.
package deliver

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"rekey/internal/proxy"
	"rekey/internal/secret"
)

// Credential is what a store gets.
type Credential struct {
	// Rotation is the rotation's name.
	Rotation string
	// ID says which secret it is: its id at the API. It is no secret itself.
	ID string
	// ClientID is that of the service account. It never changes.
	ClientID string
	// Value is the secret.
	Value secret.Value
}

// Store keeps the current credential of a rotation for its consumers. A Store may be used by several goroutines at once, but
// two of them must not deliver different credentials at the same time.
type Store interface {
	// Name says which store it is, for records, logs and metrics: its type and place. It holds no secret.
	Name() string
	// Deliver makes a credential the current one, and keeps the one before it beside it. Delivering the same again changes
	// nothing, and completes what a delivery left undone that was cut off. Delivering the one before it takes the current one
	// back: a store that keeps both then has no previous one. Its errors are a *Failure.
	Deliver(ctx context.Context, c Credential) error
	// Delivered reports whether the store holds exactly this credential as the current one: it is read from the store. A store
	// that holds nothing, or another one, is no error. Its errors are a *Failure.
	Delivered(ctx context.Context, c Credential) (bool, error)
}

// Reader is a store that shows what it holds, by which a rotation that is abandoned finds the old secret again. All stores here
// do.
type Reader interface {
	// Held are the current secret and the one before it; zero where there is none. Its errors are a *Failure.
	Held(ctx context.Context) (current, previous secret.Value, err error)
}

// Inspector is a store that can be looked at without being changed. All stores here can.
type Inspector interface {
	// Inspect says what is known of the store: whether it can be reached, and may be written where it tells. Its errors are a
	// *Failure.
	Inspect(ctx context.Context) (string, error)
}

// Failure is a request to a store that did not succeed.
type Failure struct {
	// Store is the name of the store.
	Store string
	// Retryable says that another attempt may succeed without a change by an operator.
	Retryable bool
	// RetryAt is the moment before which the store wants no further request; zero when it said nothing.
	RetryAt time.Time
	// Err says what happened. It holds no secret.
	Err error
}

// Error says which store it was, and what happened.
func (f *Failure) Error() string { return fmt.Sprintf("%s: %v", f.Store, f.Err) }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// answer is an error that knows what the store said of another attempt.
type answer interface {
	error
	// Retryable reports whether another attempt may succeed.
	Retryable() bool
	// RetryAt is the moment before which the store wants no further request; zero when it said nothing.
	RetryAt() time.Time
}

// failure is an error of a store as a *Failure; nil for none. An error that does not say whether it passes does: no answer came.
// None of the values is left in its text.
func failure(store Store, doing string, err error, values ...secret.Value) error {
	if err == nil {
		return nil
	}
	f := &Failure{Store: store.Name(), Retryable: true, Err: fmt.Errorf("%s: %w", doing, withoutSecrets(err, values))}
	if said, ok := errors.AsType[answer](err); ok {
		f.Retryable, f.RetryAt = said.Retryable(), said.RetryAt()
	}
	if refused, ok := errors.AsType[*proxy.RefusedError](err); ok {
		f.Retryable = !refused.Configured()
	}
	return f
}

// withoutSecrets is an error in whose text no value is left, as it is or in base64.
func withoutSecrets(err error, values []secret.Value) error {
	text := err.Error()
	clean := text
	for _, v := range values {
		if v.IsZero() {
			continue
		}
		clean = strings.ReplaceAll(clean, v.Reveal(), v.String())
		clean = strings.ReplaceAll(clean, base64.StdEncoding.EncodeToString([]byte(v.Reveal())), v.String())
	}
	if clean == text {
		return err
	}
	return errors.New(clean)
}

// permanent is an error that no other attempt mends.
type permanent struct{ error }

// Retryable implements answer.
func (permanent) Retryable() bool { return false }

// RetryAt implements answer.
func (permanent) RetryAt() time.Time { return time.Time{} }

// usable reports, as an error, that a credential cannot be one: a store would hold something that is no secret of the API.
func usable(c Credential) error {
	if c.Value.IsZero() || strings.ContainsAny(c.Value.Reveal(), "\r\n\x00") {
		return permanent{errors.New("it is empty, or has several lines")}
	}
	return nil
}

// Env is what stores need of the worker around them.
type Env struct {
	// LookupEnv finds what is in an environment variable: os.LookupEnv outside tests. Required.
	LookupEnv func(string) (string, bool)
	// Vault is the client of the section vault. Nil: it is not configured, and no store may be of that type.
	Vault KV
}

// New returns the stores of a rotation, in the order of their configuration. It makes no request.
func New(cfg []Config, env Env) ([]Store, error) {
	stores := make([]Store, 0, len(cfg))
	for i, c := range cfg {
		if problems := c.Check(); len(problems) > 0 {
			return nil, fmt.Errorf("store %d: %s %s", i+1, problems[0].Key, problems[0].Message)
		}
		store, err := open(c, env)
		if err != nil {
			return nil, fmt.Errorf("store %d: %w", i+1, err)
		}
		stores = append(stores, store)
	}
	return stores, nil
}

func open(c Config, env Env) (Store, error) {
	switch c.Type {
	case TypeFile:
		return newFile(c)
	case TypeVault:
		return newVault(c, env)
	case TypeKubernetes:
		return newKubernetes(c, env)
	case TypeAWS:
		return newAWS(c), nil
	}
	return nil, fmt.Errorf("%q is no type of a store", c.Type)
}
