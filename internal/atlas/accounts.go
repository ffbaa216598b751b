package atlas

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"rekey/internal/credential"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/pace"
	"rekey/internal/redact"
	"rekey/internal/secret"
)

// account is a configured Account with its state.
type account struct {
	Account
	tokens *tokenCache // Of a service account.
	nonces nonces      // Of an API key.
	slots  pace.AccountSlots
	orgs   ownOrgs

	mu      sync.Mutex // Guards refused.
	refused error      // Why its last authentication was refused; nil when it worked or none was made.
}

func (c *Client) newAccount(cfg Account) *account {
	a := &account{Account: cfg}
	a.tokens = newTokenCache(func(ctx context.Context, refused secret.Value) (bearer, *jobs.Failure) {
		return c.sharedToken(ctx, a, refused)
	})
	return a
}

func (a Account) isService() bool { return a.ClientID != "" }

// identity is what the API knows the account by. It is no secret.
func (a *account) identity() string { return a.ClientID + a.PublicKey }

// secret returns where the account's secret is.
func (a *account) secret() secret.Ref {
	if a.isService() {
		return a.ClientSecret
	}
	return a.PrivateKey
}

// readSecret reads the account's secret: ASCII (RFC 6749 appendix A.2). The API would refuse any other one without a
// reason.
func (a *account) readSecret(lookupEnv func(string) (string, bool)) (secret.Value, error) {
	value, err := a.secret().Read(lookupEnv)
	if err != nil {
		return secret.Value{}, fmt.Errorf("account %s: %w", a.Name, err)
	}
	if detail := credential.CheckVisible(strings.ReplaceAll(value.Reveal(), " ", "_")); detail != "" {
		return secret.Value{}, fmt.Errorf("account %s: what is in %s %s", a.Name, a.secret(), detail)
	}
	return value, nil
}

// refuse notes that the API did not accept the account's credentials.
func (a *account) refuse(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused = err
}

// admit notes that the API accepted the account's credentials.
func (a *account) admit() { a.refuse(nil) }

func (a *account) refusal() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refused
}

// CheckAccounts joins one error for each account that cannot be used now: its secret cannot
// be read, or its last authentication was refused and none has worked since. It makes no
// request, so an unused account counts as good.
func (c *Client) CheckAccounts(ctx context.Context) error {
	var problems []error
	set := c.accounts.Load()
	for _, cfg := range set.list {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("checking the accounts: %w", context.Cause(ctx))
		}
		a := set.accounts[cfg.Name]
		if _, err := a.readSecret(c.lookupEnv); err != nil {
			problems = append(problems, err)
		} else if err := a.refusal(); err != nil {
			problems = append(problems, fmt.Errorf("account %s: its last authentication was refused: %w", cfg.Name, err))
		}
	}
	return errors.Join(problems...)
}

// Resolve returns the account for a request that names one, or none. The error is a
// *jobs.Malformed.
func (c *Client) Resolve(kind jobs.Kind, name string) (string, error) {
	return c.accounts.Load().list.Resolve(kind, name)
}

// AccountNames resolves the names of accounts, which is all that deciding about an event takes.
type AccountNames []Account

// String is the names.
func (n AccountNames) String() string {
	names := make([]string, len(n))
	for i, a := range n {
		names[i] = a.Name
	}
	return strings.Join(names, ", ")
}

// Resolve returns the account for a request that names one, or none. The error is a
// *jobs.Malformed.
func (n AccountNames) Resolve(kind jobs.Kind, name string) (string, error) {
	malformed := func(format string, args ...any) (string, error) {
		return "", &jobs.Malformed{Field: "account", Detail: fmt.Sprintf(format, args...)}
	}
	if len(n) == 0 && name != "" {
		return malformed("is not the name of an account: the worker has no account configured (atlas.accounts)")
	}
	if len(n) == 0 {
		return malformed("there is none: the worker has no account configured (atlas.accounts)")
	}
	if name == "" {
		if len(n) > 1 {
			return malformed("is required, as there are several accounts: %s", n)
		}
		name = n[0].Name
	}
	at := slices.IndexFunc(n, func(a Account) bool { return a.Name == name })
	if at < 0 {
		return malformed("is not the name of an account; there is %s", n)
	}
	if kinds.Of(kind).Call.OwnSecret && !n[at].isService() {
		return malformed("%s needs a service account; %s is an API key", kind, name)
	}
	return name, nil
}

// accountSet is the configured accounts. It is immutable: a reload replaces it.
type accountSet struct {
	accounts map[string]*account
	list     AccountNames // As configured.
	guarded  *guarded     // What has passed the guard under these accounts.
}

// newAccountSet keeps the state of an account that has not changed: its bearer token, its nonces, whether it was refused.
func (c *Client) newAccountSet(list []Account) *accountSet {
	before := c.accounts.Load()
	r := &accountSet{accounts: map[string]*account{}, list: list, guarded: &guarded{}}
	for _, cfg := range list {
		a := c.newAccount(cfg)
		if before != nil && before.accounts[cfg.Name] != nil && before.accounts[cfg.Name].Account == cfg {
			a = before.accounts[cfg.Name]
		}
		r.accounts[cfg.Name] = a
	}
	return r
}

func (c *Client) account(name string) (*account, bool) {
	a, ok := c.accounts.Load().accounts[name]
	return a, ok
}

// CheckNewAccounts joins what keeps the accounts from replacing the present ones: mistakes in them, and
// secrets that cannot be read now, of new and changed ones.
func (c *Client) CheckNewAccounts(ctx context.Context, list []Account) error {
	if err := validateAccounts(list); err != nil {
		return err
	}
	var problems []error
	for _, cfg := range list {
		if before, ok := c.account(cfg.Name); ok && before.Account == cfg {
			continue
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("checking the accounts: %w", context.Cause(ctx))
		}
		a := account{Account: cfg}
		if _, err := a.readSecret(c.lookupEnv); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// SetAccounts replaces the accounts. Attempts under way end with the account that they began with; a later attempt at a
// job of a removed account fails with jobs.ReasonConfig. The error joins all mistakes, and then nothing has changed.
func (c *Client) SetAccounts(list []Account) error {
	if err := validateAccounts(list); err != nil {
		return fmt.Errorf("changing the accounts: %w", err)
	}
	c.useAccounts(list)
	return nil
}

func (c *Client) useAccounts(list []Account) {
	c.accounts.Store(c.newAccountSet(list))
	if !c.knowsAccounts {
		return
	}
	var places []redact.Place
	for _, cfg := range list {
		a := account{Account: cfg}
		places = append(places, redact.Place{Key: cfg.Name, Ref: a.secret()})
	}
	c.known.Use(places)
}

// SetMaxRetryAfter changes the longest Retry-After that is obeyed, from the next answer on. It must be positive.
func (c *Client) SetMaxRetryAfter(d time.Duration) { c.limiter.SetMaxRetryAfter(d) }

func validateAccounts(list []Account) error {
	var problems []error
	seen := map[string]bool{}
	for _, a := range list {
		if seen[a.Name] {
			problems = append(problems, fmt.Errorf("account %q is listed twice", a.Name))
		}
		seen[a.Name] = true
		problems = append(problems, a.validate())
	}
	return errors.Join(problems...)
}
