package atlas

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"rekey/internal/credential"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/pace"
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
	if len(n) == 0 {
		return malformed("no account is configured")
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
