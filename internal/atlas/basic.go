package atlas

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"strings"

	"rekey/internal/jobs"
	"rekey/internal/secret"
)

// maxTokenFile bounds the file with a token, in bytes, as jobs bounds a token in an event.
const maxTokenFile = 16 << 10

// basic revokes a bearer token (RFC 7009 section 2.1) with the id and secret of the account
// that it belongs to.
func (k *call) basic(ctx context.Context) (exchange, *jobs.Failure) {
	token, err := k.tokenToRevoke(ctx)
	if forbidden, ok := errors.AsType[*notAllowedError](err); ok {
		return exchange{}, &jobs.Failure{Reason: jobs.ReasonForbidden, Err: forbidden}
	}
	if err != nil {
		return exchange{}, misconfigured(err)
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

// tokenToRevoke returns the token of the job: from its parameter, or from a file or a store that
// is read now.
func (k *call) tokenToRevoke(ctx context.Context) (secret.Value, error) {
	if err := k.job.Params.NotOpened(jobs.ParamToken); err != nil {
		return secret.Value{}, err
	}
	token := k.job.Params.Secret(jobs.ParamToken)
	if path := k.job.Params.Get(jobs.ParamTokenFile); path != "" {
		text, err := k.client.readTokenFile(path)
		if err != nil {
			return secret.Value{}, fmt.Errorf("reading the token from file %s: %w", path, err)
		}
		token = secret.New(text)
	}
	if ref := k.job.Params.Get(jobs.ParamTokenRef); ref != "" {
		stored, err := k.client.readReference(ctx, ref)
		if err != nil {
			return secret.Value{}, err
		}
		token = stored
	}
	if token.IsZero() {
		return secret.Value{}, errors.New("the job holds no token")
	}
	k.hide(token)
	return token, nil
}

// readTokenFile returns what is in the file, without the white space around it. Its errors
// name neither the path, which the caller does, nor anything that was found.
func (c *Client) readTokenFile(path string) (text string, err error) {
	path, err = c.resolve(path)
	if err != nil {
		return "", withoutPath(err)
	}
	// Opening a named pipe would wait for somebody to write, beyond the reach of any context.
	if info, err := os.Stat(path); err != nil {
		return "", withoutPath(err)
	} else if !info.Mode().IsRegular() {
		return "", errors.New("it is not a regular file")
	}
	file, err := os.Open(path)
	if err != nil {
		return "", withoutPath(err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	content, err := io.ReadAll(io.LimitReader(file, maxTokenFile+1))
	if err != nil {
		return "", withoutPath(err)
	}
	if len(content) > maxTokenFile {
		return "", fmt.Errorf("it is larger than %d KiB", maxTokenFile>>10)
	}
	text = strings.TrimSpace(string(content))
	if !isToken(text) {
		return "", errors.New("it does not hold one token and nothing else")
	}
	return text, nil
}

// isToken reports whether the text can be a token: visible ASCII, and at least one of it
// (RFC 6749 appendix A.12, which would even allow spaces).
func isToken(text string) bool {
	return text != "" && len(text) <= maxTokenFile &&
		!strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// withoutPath takes the path out of an error of package os: the caller names it already.
func withoutPath(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err
	}
	return err
}
