package atlas

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rekey/internal/redact"
)

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
