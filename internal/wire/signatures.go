package wire

import (
	"fmt"

	"rekey/internal/bus"
	"rekey/internal/config"
)

// ownSources are the sources of what Rekey itself publishes.
const ownSources = "rekey/*"

// Signatures returns the key that signs what this process publishes, and whose events are taken
// in: its own among them.
func Signatures(c config.Intake, env Lookup) (bus.SigningKey, bus.Signatures, error) {
	rules := bus.Signatures{Required: c.Signatures == config.SignaturesRequired, Window: c.ReplayWindow}
	for _, s := range c.Signers {
		rules.Signers = append(rules.Signers, bus.Signer{Source: s.Source, PublicKeys: s.PublicKeys})
	}
	seed, err := optional(c.SigningSeed, env)
	if err != nil {
		return bus.SigningKey{}, rules, fmt.Errorf("intake.signing_seed: %w", err)
	}
	key, err := bus.NewSigningKey(seed)
	if err != nil {
		return key, rules, fmt.Errorf("intake.signing_seed: %s %w", c.SigningSeed, err)
	}
	public, err := key.Public()
	if public != "" {
		rules.Signers = append(rules.Signers, bus.Signer{Source: ownSources, PublicKeys: []string{public}})
	}
	return key, rules, err
}
