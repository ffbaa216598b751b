package atlas

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"rekey/internal/credential"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/secret"
)

// maxTokenFile bounds the file with a token, in bytes: the token and some white space.
const maxTokenFile = credential.MaxTokenBytes + 1<<10

// fillBody makes the request's body, once.
func (k *call) fillBody(ctx context.Context) *jobs.Failure {
	if k.op.call.Body == nil || k.body.MediaType != "" {
		return nil
	}
	secrets, failure := k.secrets(ctx)
	if failure != nil {
		return failure
	}
	body, err := k.op.call.Body(func(name string) string {
		if value, ok := secrets[name]; ok {
			return value.Reveal()
		}
		return k.job.Params.Get(name)
	})
	if err != nil {
		return misconfigured(fmt.Errorf("building the request of %s: %w", k.job.Kind, err))
	}
	for _, made := range body.Made {
		k.hide(made)
	}
	k.body = body
	return nil
}

// secrets are the job's secrets, after each was checked for its shape: the API may answer any text with 200.
func (k *call) secrets(ctx context.Context) (map[string]secret.Value, *jobs.Failure) {
	found := map[string]secret.Value{}
	for _, p := range k.kind.Secrets() {
		if !slices.ContainsFunc(p.Names(), k.job.Params.Has) && !k.kind.Requires(p) {
			continue
		}
		value, failure := k.secret(ctx, p)
		if failure != nil {
			return nil, failure
		}
		found[p.Name] = value
	}
	return found, nil
}

// secret is one secret of the job.
func (k *call) secret(ctx context.Context, p kinds.Param) (secret.Value, *jobs.Failure) {
	value, err := k.client.findSecret(ctx, k.job.Params, p)
	k.hide(value)
	if err != nil {
		return secret.Value{}, notFound(err)
	}
	return value, nil
}

// ReadSecret returns a secret that parameters name by file or reference, as the call of a job would read it now. The error is a
// *jobs.Failure; a store that cannot be asked is jobs.ReasonUnavailable, and what it or a file does not have is jobs.ReasonConfig.
func (c *Client) ReadSecret(ctx context.Context, params jobs.Params, p kinds.Param) (secret.Value, error) {
	value, err := c.findSecret(ctx, params, p)
	if err == nil {
		return value, nil
	}
	failure := notFound(err)
	if _, unanswered := errors.AsType[*unansweredError](err); unanswered {
		failure.Reason = jobs.ReasonUnavailable
	}
	return secret.Value{}, failure
}

// notFound is the failure of a job whose secret was not found, or is none.
func notFound(err error) *jobs.Failure {
	if _, hopeless := errors.AsType[*jobs.Malformed](err); hopeless {
		return &jobs.Failure{Reason: jobs.ReasonInvalid, Err: err}
	}
	if forbidden, ok := errors.AsType[*notAllowedError](err); ok {
		return &jobs.Failure{Reason: jobs.ReasonForbidden, Err: forbidden}
	}
	return misconfigured(err)
}

// place is where a secret was found.
type place struct {
	field string // The parameter.
	what  string // Begins a text about its content, "what is in FILE "; empty for the parameter itself.
}

// findSecret returns a secret of a job, after it was checked for its shape. The error is a *jobs.Malformed when a retry cannot
// help; the value is there as well, where it only has another shape.
func (c *Client) findSecret(ctx context.Context, params jobs.Params, p kinds.Param) (secret.Value, error) {
	value, where, err := c.locateSecret(ctx, params, p.Name)
	if err != nil {
		return value, err
	}
	if detail := p.Shape.Check(value.Reveal()); detail != "" {
		return value, &jobs.Malformed{Field: where.field, Detail: where.what + detail}
	}
	return value, nil
}

// locateSecret returns a secret of a job: from its parameter, or from a file or a store that is read now.
func (c *Client) locateSecret(ctx context.Context, params jobs.Params, name string) (secret.Value, place, error) {
	field := "params." + name
	if err := params.NotOpened(name); err != nil {
		return secret.Value{}, place{}, err
	}
	path, ref := params.Get(name+kinds.SuffixFile), params.Get(name+kinds.SuffixReference)
	switch {
	case path != "":
		value, err := c.readSecretFile(ctx, name, path)
		return value, place{field + kinds.SuffixFile, "what is in " + path + " "}, err
	case ref != "":
		value, err := c.readReference(ctx, field+kinds.SuffixReference, ref)
		return value, place{field + kinds.SuffixReference, "what is in " + ref + " "}, err
	case params.Sealed(name) != "":
		return params.Secret(name), place{field + kinds.SuffixSealed, "what is sealed in it "}, nil
	}
	return params.Secret(name), place{field: field}, nil
}

// readSecretFile returns the content of the file, without the white space around it. Its errors name the path and never the
// content.
func (c *Client) readSecretFile(ctx context.Context, name, path string) (secret.Value, error) {
	text, err := c.readWithin(ctx, path)
	// An identified credential makes a better error than several lines.
	if err == nil && credential.Identify(text).What == "" {
		text, err = secret.OneLine(text)
	}
	if content, ok := errors.AsType[secret.ContentError](err); ok {
		return secret.Value{}, &jobs.Malformed{
			Field: "params." + name + kinds.SuffixFile, Detail: "what is in " + path + " is no " + name + ": " + string(content),
		}
	}
	if text = strings.TrimSpace(text); err == nil && text == "" {
		err = errors.New("it is empty")
	}
	if err != nil {
		return secret.Value{}, fmt.Errorf("reading the %s from file %s: %w", name, path, withoutPath(err))
	}
	return secret.New(text), nil
}

// mostFileReads bounds the reads of files that go on at once, those that do not end included.
const mostFileReads = 64

// readWithin returns the content of a file that a job may read, for as long as ctx allows. A read cannot be cut off: where a file
// system does not answer, or a file of /proc has nothing to say, it goes on behind the attempt.
func (c *Client) readWithin(ctx context.Context, path string) (string, error) {
	type content struct {
		text string
		err  error
	}
	select {
	case c.fileReads <- struct{}{}:
	case <-ctx.Done():
		return "", fmt.Errorf("%d files that jobs named do not answer: %w", mostFileReads, context.Cause(ctx))
	}
	done := make(chan content, 1)
	go func() {
		defer func() { <-c.fileReads }()
		var got content
		var resolved string
		if resolved, got.err = c.resolve(path); got.err == nil {
			got.text, got.err = readRegular(resolved)
		}
		done <- got
	}()
	select {
	case got := <-done:
		return got.text, got.err
	case <-ctx.Done():
		return "", fmt.Errorf("it does not answer: %w", context.Cause(ctx))
	}
}

// readRegular returns the content of a regular file. Opening a named pipe would wait for a writer, whatever the context.
func readRegular(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("it is not a regular file")
	}
	return secret.ReadFile(path, maxTokenFile)
}

// withoutPath takes the path out of an error of package os: the caller names it already.
func withoutPath(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err
	}
	return err
}

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
