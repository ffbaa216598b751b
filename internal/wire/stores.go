package wire

import (
	"rekey/internal/atlas"
	"rekey/internal/config"
	"rekey/internal/vault"
)

// SecretStores are where token_ref may lead.
func SecretStores(c config.Vault, env Lookup) (map[string]atlas.SecretStore, error) {
	if c.Address == "" {
		return nil, nil //nolint:nilnil // No store is configured.
	}
	client, err := vaultClient(c, env)
	if err != nil {
		return nil, err
	}
	return map[string]atlas.SecretStore{vault.Scheme: client}, nil
}

func vaultClient(c config.Vault, env Lookup) (*vault.Client, error) {
	return vault.New(vault.Config{
		Address: c.Address, Token: c.Token, Namespace: c.Namespace, Mount: c.Mount, CAFile: c.CAFile,
		Timeout: c.Timeout, Paths: c.Paths, LookupEnv: env,
	})
}
