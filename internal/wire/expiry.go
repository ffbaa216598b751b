package wire

import (
	"time"

	"rekey/internal/config"
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
