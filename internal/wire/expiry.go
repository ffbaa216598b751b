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

// WatchedCertificates are the certificates of which the configuration says that their ends are watched.
func WatchedCertificates(c *config.Config) []expiry.Certificates {
	list := make([]expiry.Certificates, 0, len(c.Expiry.Watch))
	for _, one := range c.Expiry.Watch {
		list = append(list, expiry.Certificates{Name: one.Name, Account: c.AccountNamed(one.Account), ProjectID: one.ProjectID, Username: one.Username})
	}
	return list
}
