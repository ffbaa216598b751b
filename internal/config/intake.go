package config

import (
	"rekey/internal/jobs"
	"rekey/internal/secret"
)

// Intake is how events are taken in.
type Intake struct {
	// Plaintext is what becomes of secrets that stand in an event in the clear: seal (default and
	// empty), refuse or allow.
	Plaintext jobs.Plaintext `yaml:"plaintext"`
}

// Seal holds the keys that open sealed values.
type Seal struct {
	// Keys are private curve keys. The first one seals, all of them open. Default none: with the
	// embedded server a key is made in its store_dir, with an external one the keys are derived
	// from the secrets of the accounts.
	Keys []SealKey `yaml:"keys"`
}

// SealKey is one private curve key.
type SealKey struct {
	// Seed is the key as `worker keygen` writes it.
	Seed secret.Ref `yaml:"seed"`
}

func (c *checker) intake() {
	c.oneOf("intake.plaintext", string(c.cfg.Intake.Plaintext), jobs.Names(jobs.Plaintexts())...)
	for i, key := range c.cfg.Seal.Keys {
		path := item("seal.keys", i)
		if seed := join(path, "seed"); !c.spoilt[path] && !c.given(seed, key.Seed) {
			c.add(path, "needs seed_file or seed_env")
		}
	}
}
