package wire

import (
	"rekey/internal/config"
	"rekey/internal/proof"
)

// ProofPolicy says how long proofs may take, what they read, and what becomes of them.
func ProofPolicy(c *config.Config) proof.Policy {
	p := proof.Policy{
		Within: c.Proof.Within, Probe: c.Proof.Probe, Events: c.Proof.Events, Retry: c.Proof.OnStillAlive == config.OnStillAliveRetry,
		Watch: c.Proof.Watch, Looks: c.Proof.Looks,
	}
	if c.Proof.OnRevert == config.OnRevertRepeat {
		p.MaxRepeats = c.Proof.MaxRepeats
	}
	return p
}
