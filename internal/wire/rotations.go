package wire

import (
	"fmt"

	"rekey/internal/config"
	"rekey/internal/deliver"
	"rekey/internal/rotate"
)

// Rotations are the rotations of a configuration, by their names.
func Rotations(c *config.Config, env Lookup) (map[string]rotate.Spec, error) {
	specs, place := map[string]rotate.Spec{}, deliver.Env{LookupEnv: env}
	if c.Vault.Address != "" {
		client, err := vaultClient(c.Vault, env)
		if err != nil {
			return nil, err
		}
		place.Vault = client
	}
	for _, r := range c.Rotations {
		stores, err := deliver.New(r.Deliver, place)
		if err != nil {
			return nil, fmt.Errorf("rotation %s: %w", r.Name, err)
		}
		in, place := r.Home()
		_, subject := r.Rotated()
		specs[r.Name] = rotate.Spec{
			Name: r.Name, Kind: r.Kind(), In: in, Place: place, Subject: subject, Lifetime: r.Lifetime, QuietFor: r.QuietFor,
			WhenFull: r.WhenFull, Overdue: r.Overdue, Stores: stores,
		}
	}
	return specs, nil
}

// RotationNames are the names of the configured rotations.
func RotationNames(c *config.Config) []string {
	names := make([]string, len(c.Rotations))
	for i, r := range c.Rotations {
		names[i] = r.Name
	}
	return names
}
