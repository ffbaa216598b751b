package wire

import (
	"fmt"

	"rekey/internal/config"
	"rekey/internal/event"
)

// ownSources are the sources of what Rekey itself publishes, or has taken in over HTTP: all. Its key may ask for every job anyway.
const ownSources = "*"

// Signatures returns the key that signs what this process publishes, and whose events are taken
// in: its own among them.
func Signatures(c config.Intake, env Lookup) (event.SigningKey, event.Signatures, error) {
	rules := event.Signatures{Required: c.Signatures == config.SignaturesRequired, Window: c.ReplayWindow}
	for _, s := range c.Signers {
		rules.Signers = append(rules.Signers, event.Signer{Source: s.Source, PublicKeys: s.PublicKeys})
	}
	seed, err := optional(c.SigningSeed, env)
	if err != nil {
		return event.SigningKey{}, rules, fmt.Errorf("intake.signing_seed: %w", err)
	}
	key, err := event.NewSigningKey(seed)
	if err != nil {
		return key, rules, fmt.Errorf("intake.signing_seed: %s %w", c.SigningSeed, err)
	}
	public, err := key.Public()
	if public != "" {
		rules.Signers = append(rules.Signers, event.Signer{Source: ownSources, PublicKeys: []string{public}})
	}
	return key, rules, err
}
