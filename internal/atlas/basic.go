package atlas

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"

	"rekey/internal/credential"
	"rekey/internal/jobs"
	"rekey/internal/secret"
)

// maxTokenFile bounds the file with a token, in bytes: the token and some white space.
const maxTokenFile = credential.MaxTokenBytes + 1<<10

// basic revokes a bearer token (RFC 7009 section 2.1) with the id and secret of the account
// that it belongs to.
func (k *call) basic(ctx context.Context) (exchange, *jobs.Failure) {
	token, failure := k.tokenToRevoke(ctx)
	if failure != nil {
		return exchange{}, failure
	}
	own, failure := k.ownSecret()
	if failure != nil {
		return exchange{}, failure
	}
	form := url.Values{"token": {token.Reveal()}, "token_type_hint": {"access_token"}}
	req, failure := k.newRequest(ctx, strings.NewReader(form.Encode()))
	if failure != nil {
		return exchange{}, failure
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	// RFC 6749 section 2.3.1 has both halves form-encoded, as the vendor's own SDK does.
	req.SetBasicAuth(url.QueryEscape(k.account.ClientID), url.QueryEscape(own.Reveal()))
	return k.exchange(ctx, req), nil
}

// tokenToRevoke returns the token of the job, once it is sure that it can be one: the API would say 200 to anything.
func (k *call) tokenToRevoke(ctx context.Context) (secret.Value, *jobs.Failure) {
	token, where, err := k.findToken(ctx)
	if detail := credential.CheckToken(token.Reveal()); err == nil && detail != "" {
		err = &jobs.Malformed{Field: where.field, Detail: where.what + detail}
	}
	k.hide(token)
	if _, hopeless := errors.AsType[*jobs.Malformed](err); hopeless {
		return secret.Value{}, &jobs.Failure{Reason: jobs.ReasonInvalid, Err: err}
	}
	if forbidden, ok := errors.AsType[*notAllowedError](err); ok {
		return secret.Value{}, &jobs.Failure{Reason: jobs.ReasonForbidden, Err: forbidden}
	}
	if err != nil {
		return secret.Value{}, misconfigured(err)
	}
	return token, nil
}

// place is where a token was found.
type place struct {
	field string // The parameter.
	what  string // Begins what is said of its content, "what is in FILE "; empty for the parameter itself.
}

// findToken returns what the job has in the place of a token: in its parameter, or in a file or a store that is read now. The
// error is a *jobs.Malformed when another attempt cannot help.
func (k *call) findToken(ctx context.Context) (secret.Value, place, error) {
	params := k.job.Params
	if err := params.NotOpened(jobs.ParamToken); err != nil {
		return secret.Value{}, place{}, err
	}
	path, ref := params.Get(jobs.ParamTokenFile), params.Get(jobs.ParamTokenRef)
	switch {
	case path != "":
		token, err := k.client.readTokenFile(path)
		return token, place{"params." + jobs.ParamTokenFile, "what is in " + path + " "}, err
	case ref != "":
		token, err := k.client.readReference(ctx, ref)
		return token, place{"params." + jobs.ParamTokenRef, "what is in " + ref + " "}, err
	case params.Sealed(jobs.ParamToken) != "":
		return params.Secret(jobs.ParamToken), place{"params." + jobs.ParamTokenSealed, "what is sealed in it "}, nil
	}
	return params.Secret(jobs.ParamToken), place{field: "params." + jobs.ParamToken}, nil
}

// readTokenFile returns what is in the file, without the white space around it. Its errors name the path, and nothing that was
// found.
func (c *Client) readTokenFile(path string) (secret.Value, error) {
	resolved, err := c.resolve(path)
	var text string
	if err == nil {
		text, err = readRegular(resolved)
	}
	// What it is says more than that it has several lines.
	if err == nil && credential.Identify(text).What == "" {
		text, err = secret.OneLine(text)
	}
	if content, ok := errors.AsType[secret.ContentError](err); ok {
		return secret.Value{}, &jobs.Malformed{Field: "params." + jobs.ParamTokenFile, Detail: "what is in " + path + " is no token: " + string(content)}
	}
	if text = strings.TrimSpace(text); err == nil && text == "" {
		err = errors.New("it is empty")
	}
	if err != nil {
		return secret.Value{}, fmt.Errorf("reading the token from file %s: %w", path, withoutPath(err))
	}
	return secret.New(text), nil
}

// readRegular returns what a file holds. Opening a named pipe would wait for a writer, beyond the reach of any context.
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
