package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"rekey/internal/retryafter"
)

// AnswerError is an answer of Vault that refuses a request to the KV engine.
type AnswerError struct {
	// Status is the HTTP status.
	Status int
	passes bool
	at     time.Time
	err    error
}

// Error says what Vault said, in one line.
func (e *AnswerError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *AnswerError) Unwrap() error { return e.err }

// Retryable reports whether another attempt may succeed: Vault is busy, or sealed, or another client has written in between.
func (e *AnswerError) Retryable() bool { return e.passes }

// RetryAt is the moment before which Vault wants no further request; zero when it said nothing.
func (e *AnswerError) RetryAt() time.Time { return e.at }

// Get returns the fields at a path below the mount, and their version. Where nothing is, there are no fields; the version is 0
// where nothing ever was. The fields are secret. Config.Paths, which bounds what events may read, does not matter here.
func (c *Client) Get(ctx context.Context, path string) (map[string]any, int, error) {
	asking, err := c.asking()
	if err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	found, err := asking.KVv2(c.cfg.Mount).Get(ctx, path)
	if errors.Is(err, api.ErrSecretNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, answered(err)
	}
	if found.Raw.Data["metadata"] == nil { // The library takes any answer.
		return nil, 0, c.otherEngine()
	}
	return found.Data, found.VersionMetadata.Version, nil
}

// Put stores fields in place of those of a version; 0 where nothing ever was. Another version in between is an *AnswerError that
// is retryable. Version 1 of the engine would keep the first write, at another path than readers expect: so that is asked before.
func (c *Client) Put(ctx context.Context, path string, fields map[string]any, version int) error {
	asking, err := c.asking()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	if version == 0 {
		if err := c.checkEngine(ctx, asking, path); err != nil {
			return err
		}
	}
	_, err = asking.KVv2(c.cfg.Mount).Put(ctx, path, fields, api.WithCheckAndSet(version))
	return answered(err)
}

// Capabilities are what the token may do with the fields at a path: create, read, update and others. Another engine than KV,
// version 2, is an error.
func (c *Client) Capabilities(ctx context.Context, path string) ([]string, error) {
	asking, err := c.asking()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	may, err := asking.Sys().CapabilitiesSelfWithContext(ctx, c.dataPath(path))
	if err != nil || slices.Contains(may, "deny") { // Then Vault does not tell of the engine either.
		return may, answered(err)
	}
	return may, c.checkEngine(ctx, asking, path)
}

// dataPath is where the fields at a path are, for policies.
func (c *Client) dataPath(path string) string {
	return strings.Trim(c.cfg.Mount, "/") + "/data/" + path
}

// checkEngine is an error where the mount is no KV engine of version 2. It asks what the vendor's own command asks before it reads
// and writes; a token with a right to the path may.
func (c *Client) checkEngine(ctx context.Context, asking *api.Client, path string) error {
	found, err := asking.Logical().ReadWithContext(ctx, "sys/internal/ui/mounts/"+c.dataPath(path))
	if err != nil {
		return answered(err)
	}
	if found != nil {
		if options, ok := found.Data["options"].(map[string]any); ok && options["version"] == "2" {
			return nil
		}
	}
	return c.otherEngine()
}

func (c *Client) otherEngine() error {
	return &AnswerError{Status: http.StatusOK, err: fmt.Errorf("the engine at %s is not KV, version 2", c.cfg.Mount)}
}

// asking is the client with the token as it is now.
func (c *Client) asking() (*api.Client, error) {
	token, err := c.cfg.Token.Read(c.cfg.LookupEnv)
	if err != nil {
		return nil, fmt.Errorf("vault.token: %w", err)
	}
	asking, err := c.base.CloneWithHeaders()
	if err != nil {
		return nil, fmt.Errorf("asking Vault: %w", err)
	}
	asking.SetToken(token.Reveal())
	return asking, nil
}

// conflict is in Vault's and OpenBao's answer of status 400 to a write with another version than the current one.
const conflict = "check-and-set parameter did not match"

// answered is an error of the library: an *AnswerError where Vault answered.
func answered(err error) error {
	if err == nil {
		return nil
	}
	text := plain(err)
	if busy, ok := errors.AsType[*busyError](err); ok {
		return &AnswerError{Status: busy.status, passes: true, at: busy.at, err: text}
	}
	if redirect, ok := errors.AsType[*redirectError](err); ok {
		return &AnswerError{Status: redirect.status, err: text}
	}
	answer, ok := errors.AsType[*api.ResponseError](err)
	if !ok {
		return text
	}
	passes := answer.StatusCode >= http.StatusInternalServerError || answer.StatusCode == http.StatusTooManyRequests ||
		answer.StatusCode == http.StatusPreconditionFailed || answer.StatusCode == http.StatusBadRequest && strings.Contains(text.Error(), conflict)
	return &AnswerError{Status: answer.StatusCode, passes: passes, err: text}
}

// busyError is an answer that says when to ask again, which the library would keep to itself.
type busyError struct {
	status int
	at     time.Time
}

// Error has the status.
func (e *busyError) Error() string {
	return fmt.Sprintf("HTTP %d: Vault wants no request before %s", e.status, e.at.UTC().Format(time.RFC3339))
}

// busyUntil reads Retry-After of an answer that refuses for now: 429 of a rate limit quota, 503 of a server that is sealed or
// overloaded.
func busyUntil(resp *http.Response, now time.Time) (time.Time, bool) {
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return time.Time{}, false
	}
	return retryafter.Parse(resp.Header.Get("Retry-After"), resp.Header.Get("Date"), now)
}
