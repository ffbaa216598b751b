package atlas

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"rekey/internal/secret"
)

// SecretStore keeps secrets. Read returns the secret of a reference, which has no scheme. An error
// with the method Forbidden means that the configuration does not allow the reference, and one with the method Missing that the
// store was asked and has nothing there.
type SecretStore interface {
	Read(ctx context.Context, ref string) (secret.Value, error)
}

// notAllowedError: the configuration does not allow a job to read a file or reference. A retry cannot help.
type notAllowedError struct{ err error }

// Error names what may not be read.
func (e *notAllowedError) Error() string { return e.err.Error() }

// Unwrap returns why.
func (e *notAllowedError) Unwrap() error { return e.err }

// unansweredError: it is not known what a secret store has.
type unansweredError struct{ err error }

// Error says what was asked for.
func (e *unansweredError) Error() string { return e.err.Error() }

// Unwrap returns why.
func (e *unansweredError) Unwrap() error { return e.err }

// resolve returns the path without symbolic links, if a job may read there.
func (c *Client) resolve(path string) (string, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil || c.tokenFiles == nil {
		return path, err
	}
	if err := c.tokenFiles(path); err != nil {
		return "", &notAllowedError{err}
	}
	return path, nil
}

// readReference returns the secret that a field names in a secret store.
func (c *Client) readReference(ctx context.Context, field, ref string) (secret.Value, error) {
	scheme, rest, _ := strings.Cut(ref, ":")
	store, ok := c.stores[scheme]
	if !ok {
		return secret.Value{}, fmt.Errorf("%s: no store for %s: is configured", field, scheme)
	}
	value, err := store.Read(ctx, rest)
	if forbidden, ok := err.(interface{ Forbidden() bool }); ok && forbidden.Forbidden() {
		return secret.Value{}, &notAllowedError{fmt.Errorf("%s: %w", field, err)}
	}
	if missing, ok := err.(interface{ Missing() bool }); err != nil && (!ok || !missing.Missing()) {
		return secret.Value{}, &unansweredError{fmt.Errorf("%s: %w", field, err)}
	}
	if err != nil {
		return secret.Value{}, fmt.Errorf("%s: %w", field, err)
	}
	return secret.New(strings.TrimSpace(value.Reveal())), nil
}
