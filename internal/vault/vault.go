// Package vault reads and writes secrets in the KV secrets engine, version 2, of HashiCorp Vault (and of
// OpenBao, which has the same API).
package vault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"rekey/internal/proxy"
	"rekey/internal/secret"
)

// Scheme begins the references that belong here: vault:PATH#FIELD.
const Scheme = "vault"

// Defaults of Config.
const (
	DefaultMount   = "secret"
	DefaultTimeout = 10 * time.Second
)

// Config says where Vault is and who asks.
type Config struct {
	// Address is the server's URL. Required.
	Address string
	// Token is where the token is; it is read anew for every request, as an agent renews it.
	Token secret.Ref
	// Namespace is that of Vault Enterprise. Empty: none.
	Namespace string
	// Mount is where the KV engine is mounted. Empty means DefaultMount.
	Mount string
	// CAFile is a PEM file with the authorities that may sign the server's certificate. Empty: those of the system.
	CAFile string
	// Timeout bounds one request. Zero means DefaultTimeout.
	Timeout time.Duration
	// Paths are the paths below the mount that may be read, each with all that is below it. Empty: all
	// that the token may read.
	Paths []string
	// LookupEnv finds a token that is in an environment variable.
	LookupEnv func(string) (string, bool)
}

// Client reads and writes secrets. It may be used by several goroutines at once.
type Client struct {
	cfg  Config
	base *api.Client
}

// New returns a client. It makes no request and reads no token.
func New(cfg Config) (*Client, error) {
	cfg.Mount, cfg.Timeout = cmp.Or(cfg.Mount, DefaultMount), cmp.Or(cfg.Timeout, DefaultTimeout)
	if cfg.Address == "" || cfg.Token.IsZero() {
		return nil, errors.New("vault: address and token are required")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:errcheck,forcetypeassert // The default transport is one.
	proxy.Use(transport)
	// No retries of its own: the job is attempted again.
	settings := &api.Config{Address: cfg.Address, Timeout: cfg.Timeout, HttpClient: &http.Client{Transport: transport, CheckRedirect: leaveToTransport}}
	tls := &api.TLSConfig{}
	if cfg.CAFile != "" {
		pem, err := secret.ReadFile(cfg.CAFile, maxCAFile)
		if err != nil {
			return nil, fmt.Errorf("vault: reading the CA file %s: %w", cfg.CAFile, err)
		}
		tls.CACertBytes = []byte(pem)
	}
	if err := settings.ConfigureTLS(tls); err != nil {
		return nil, fmt.Errorf("vault: reading the certificates: %w", err)
	}
	// The library wants to see a plain transport up to here.
	settings.HttpClient.Transport = staysHere{transport}
	base, err := api.NewClient(settings)
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	// The library takes both from the environment of the process; ours come from the configuration.
	base.ClearToken()
	base.ClearNamespace()
	if cfg.Namespace != "" {
		base.SetNamespace(cfg.Namespace)
	}
	return &Client{cfg: cfg, base: base}, nil
}

// leaveToTransport has net/http follow no redirect: see staysHere.
func leaveToTransport(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

const (
	// maxCAFile bounds the file with authorities, in bytes.
	maxCAFile = 4 << 20
	// maxAnswer bounds an answer, in bytes: Vault stores at most 1 MiB at a path, unless it is configured for more.
	maxAnswer = 8 << 20
)

// staysHere is a transport that makes an error of every redirect. Both net/http and the library would follow one, with
// the header that has the token, to any host.
type staysHere struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t staysHere) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if at, ok := busyUntil(resp, time.Now()); ok {
		_ = resp.Body.Close() // Nothing of it is wanted.
		return nil, &busyError{status: resp.StatusCode, at: at}
	}
	if resp.StatusCode < 300 || resp.StatusCode > 399 {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
		return resp, nil
	}
	_ = resp.Body.Close() // Nothing of it is wanted.
	return nil, &redirectError{status: resp.StatusCode, to: hostOf(resp)}
}

// redirectError says where a redirect leads that is not followed.
type redirectError struct {
	status int
	to     string // A host, "" when it names none.
}

// Error says what to do instead.
func (e *redirectError) Error() string {
	text := fmt.Sprintf("HTTP %d: a redirect", e.status)
	if e.to != "" {
		text += " to " + e.to
	}
	return text + ", which is not followed, so that the token goes nowhere else: vault.address must be that of the active node, or of a load balancer in front of it"
}

// hostOf is the host that a redirect names, "" when it names none.
func hostOf(resp *http.Response) string {
	to, err := resp.Location()
	if err != nil {
		return ""
	}
	return to.Host
}

// ForbiddenError says that a reference may not be read, whatever Vault thinks of it.
type ForbiddenError struct{ Path string }

// Forbidden says that another attempt cannot help.
func (e *ForbiddenError) Forbidden() bool { return true }

// Error names the path.
func (e *ForbiddenError) Error() string {
	return fmt.Sprintf("%s is not below one of vault.paths", e.Path)
}

// MissingError says that Vault has nothing where a reference leads.
type MissingError struct{ text string }

// Missing says that Vault was asked.
func (e *MissingError) Missing() bool { return true }

// Error names the path.
func (e *MissingError) Error() string { return e.text }

// Read returns the secret that a reference names: PATH#FIELD, without the scheme. The error is a
// *ForbiddenError when the configuration does not allow it, and a *MissingError when Vault has nothing there. No error holds a secret.
func (c *Client) Read(ctx context.Context, ref string) (secret.Value, error) {
	path, field, _ := strings.Cut(ref, "#")
	if !c.allowed(path) {
		return secret.Value{}, &ForbiddenError{Path: path}
	}
	asking, err := c.asking()
	if err != nil {
		return secret.Value{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	found, err := asking.KVv2(c.cfg.Mount).Get(ctx, path)
	if errors.Is(err, api.ErrSecretNotFound) {
		return secret.Value{}, &MissingError{fmt.Sprintf("asking Vault for %s: %v", path, plain(err))}
	}
	if err != nil {
		return secret.Value{}, fmt.Errorf("asking Vault for %s: %w", path, plain(err))
	}
	value, ok := found.Data[field].(string)
	if !ok || value == "" {
		return secret.Value{}, &MissingError{fmt.Sprintf("what Vault has at %s has no text in the field %s", path, field)}
	}
	return secret.New(value), nil
}

// Status is the state of Vault and of the worker's token.
type Status struct {
	Version string
	Sealed  bool
	// Expires is when the token ends; the zero time when it does not.
	Expires   time.Time
	Renewable bool
}

// Status asks whether Vault is there and takes the token. It reads no secret.
func (c *Client) Status(ctx context.Context) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	health, err := c.base.Sys().HealthWithContext(ctx)
	if err != nil {
		return Status{}, fmt.Errorf("asking Vault how it is: %w", plain(err))
	}
	s := Status{Version: health.Version, Sealed: health.Sealed}
	if s.Sealed {
		return s, nil
	}
	asking, err := c.asking()
	if err != nil {
		return s, err
	}
	about, err := asking.Auth().Token().LookupSelfWithContext(ctx)
	if err != nil {
		return s, fmt.Errorf("asking Vault about the token: %w", plain(err))
	}
	left, err := about.TokenTTL()
	if err == nil && left > 0 {
		s.Expires = time.Now().Add(left)
	}
	s.Renewable, err = about.TokenIsRenewable()
	return s, err
}

// allowed reports whether a path is one of the configured ones, or below one.
func (c *Client) allowed(path string) bool {
	return len(c.cfg.Paths) == 0 || slices.ContainsFunc(c.cfg.Paths, func(root string) bool {
		root = strings.Trim(root, "/")
		return path == root || strings.HasPrefix(path, root+"/")
	})
}

// plain is an error of the library in one line, without the body of an answer that is not Vault's.
func plain(err error) error {
	if redirect, ok := errors.AsType[*redirectError](err); ok {
		return redirect
	}
	if refused, ok := errors.AsType[*proxy.RefusedError](err); ok {
		return refused
	}
	if busy, ok := errors.AsType[*busyError](err); ok {
		return busy
	}
	answer, ok := errors.AsType[*api.ResponseError](err)
	switch {
	case ok && answer.RawError:
		return fmt.Errorf("HTTP %d, with an answer that is not Vault's", answer.StatusCode)
	case ok:
		// Vault itself lists its errors in lines: "1 error occurred:\n\t* permission denied\n\n".
		return fmt.Errorf("HTTP %d: %s", answer.StatusCode, strings.Join(strings.Fields(strings.Join(answer.Errors, "; ")), " "))
	case errors.Is(err, api.ErrSecretNotFound):
		return errors.New("there is nothing")
	}
	return err
}
