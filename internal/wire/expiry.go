package wire

import (
	"time"

	"rekey/internal/config"
	"rekey/internal/expiry"
)

// SecretExpiries says when the secrets of the accounts expire, as far as the configuration does.
func SecretExpiries(c *config.Config) map[string]time.Time {
	expiries := make(map[string]time.Time, len(c.Atlas.Accounts))
	for _, account := range c.Atlas.Accounts {
		at, err := account.SecretExpiry()
		if err != nil {
			at = time.Time{} // A configuration that was loaded has no such mistake.
		}
		expiries[account.Name] = at
	}
	return expiries
}

// OwnAccounts are the accounts of a configuration, with what it says of the ends of their secrets.
func OwnAccounts(c *config.Config) []expiry.Account {
	ends := SecretExpiries(c)
	list := make([]expiry.Account, 0, len(c.Atlas.Accounts))
	for _, a := range c.Atlas.Accounts {
		list = append(list, expiry.Account{Name: a.Name, Readable: a.IsServiceAccount(), Configured: ends[a.Name]})
	}
	return list
}

// Watched is that of which the configuration says that its ends are watched.
func Watched(c *config.Config) []expiry.Watched {
	list := make([]expiry.Watched, 0, len(c.Expiry.Watch))
	for _, one := range c.Expiry.Watch {
		list = append(list, expiry.Watched{Watched: one.Subject(), Name: one.Name, Account: c.AccountNamed(one.Account)})
	}
	return list
}
