package config

import (
	"slices"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/lazyregexp"
	"rekey/internal/secret"
)

// Intake is how events are taken in.
type Intake struct {
	// Plaintext is what becomes of secrets that stand in an event in the clear: seal (default and
	// empty), refuse or allow.
	Plaintext jobs.Plaintext `yaml:"plaintext"`
	// TokenFiles are the folders (or files) that token_file may name, as absolute paths. Default and
	// empty: any file but the worker's own secrets and store.
	TokenFiles []string `yaml:"token_files"`
	// Signatures is off (default and empty), or required: then only signed events are taken in.
	Signatures string `yaml:"signatures"`
	// Signers are whose signatures count, for which sources.
	Signers []EventSigner `yaml:"signers"`
	// ReplayWindow is how far a signed event's time may be from when NATS accepted it: 1s to 24h. Default 10m.
	ReplayWindow time.Duration `yaml:"replay_window"`
	// SigningSeed is a user's nkey seed, by which a worker signs what its schedules publish and what comes over HTTP, and the
	// commands what they do. Required of a worker with signatures that has schedules, doors, clients that ask, or repeats what is reverted. Zero: nothing is signed.
	SigningSeed secret.Ref `yaml:"signing_seed"`
	// Unmatched is what becomes of an event that is no direct request and that no policy matches: keep
	// (default and empty: it stays in the stream of events, and is counted) or dead_letter.
	Unmatched string `yaml:"unmatched" reload:"live"`
	// MaxEventAge is the age, by the event's own time, beyond which nothing is done. Up to 720h. Default and zero: any.
	MaxEventAge time.Duration `yaml:"max_event_age" reload:"live"`
	// MaxClockSkew is how far in the future an event's time may be, 1s to 24h. Default 10m.
	MaxClockSkew time.Duration `yaml:"max_clock_skew" reload:"live"`
	// Limits bound all events together, direct requests and schedules included.
	Limits jobs.Limits `yaml:"limits" reload:"live"`
}

// EventSigner is whose signatures count for a source.
type EventSigner struct {
	// Source is a CloudEvents source, or the beginning of several with a * at its end. Required.
	Source string `yaml:"source"`
	// PublicKeys are users' public nkeys (U…). Required.
	PublicKeys []string `yaml:"public_keys"`
}

// The choices of Intake.Signatures.
const (
	SignaturesOff      = "off"
	SignaturesRequired = "required"
)

// The choices of Intake.Unmatched.
const (
	UnmatchedKeep       = "keep"
	UnmatchedDeadLetter = "dead_letter"
)

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

// defaultIntake is the intake of an empty file.
func defaultIntake() Intake {
	return Intake{
		Plaintext: jobs.PlaintextSeal, Signatures: SignaturesOff, ReplayWindow: 10 * time.Minute, Unmatched: UnmatchedKeep, MaxClockSkew: 10 * time.Minute,
		Limits: jobs.Limits{MaxJobsPerEvent: 100},
	}
}

func (c *checker) intake() {
	in := c.cfg.Intake
	c.oneOf("intake.plaintext", string(in.Plaintext), jobs.Names(jobs.Plaintexts())...)
	c.oneOf("intake.unmatched", in.Unmatched, UnmatchedKeep, UnmatchedDeadLetter)
	c.duration("intake.max_event_age", in.MaxEventAge, 0, 30*24*time.Hour)
	c.duration("intake.max_clock_skew", in.MaxClockSkew, time.Second, 24*time.Hour)
	c.limitsOf("intake.limits", in.Limits)
	for i, key := range c.cfg.Seal.Keys {
		path := item("seal.keys", i)
		if seed := join(path, "seed"); !c.spoilt[path] && !c.given(seed, key.Seed) {
			c.add(path, "needs seed_file or seed_env")
		}
	}
}

// Bounds of intake.replay_window.
const (
	minReplayWindow = time.Second
	maxReplayWindow = 24 * time.Hour
)

// publicUser is how NATS writes a user's public nkey.
var publicUser = lazyregexp.New(`^U[A-Z2-7]{55}$`)

// signatures checks whose events are to be taken in.
func (c *checker) signatures() {
	in := c.cfg.Intake
	c.oneOf("intake.signatures", in.Signatures, SignaturesOff, SignaturesRequired)
	c.duration("intake.replay_window", in.ReplayWindow, minReplayWindow, maxReplayWindow)
	for i, s := range in.Signers {
		path := item("intake.signers", i)
		if c.spoilt[path] {
			continue
		}
		if s.Source == "" {
			c.add(join(path, "source"), "is required: a CloudEvents source, or the beginning of several and a *")
		}
		if len(s.PublicKeys) == 0 {
			c.add(join(path, "public_keys"), "is required: users' public nkeys, such as nk -gen user -pubout makes")
		}
		for n, key := range s.PublicKeys {
			if !publicUser.MatchString(key) {
				c.add(item(join(path, "public_keys"), n), "must be a user's public nkey: U and 55 characters")
			}
		}
	}
	if in.Signatures != SignaturesRequired || c.given("intake.signing_seed", in.SigningSeed) {
		return
	}
	if len(in.Signers) == 0 && !c.unsure("intake.signers") {
		c.add("intake.signatures", "needs signers as well: without them no event is taken in")
	}
	const needsSeed = "needs signing_seed_file or signing_seed_env as well: "
	switch {
	case len(c.cfg.Schedules) > 0:
		c.add("intake.signatures", needsSeed+"schedules publish events, too")
	case c.cfg.Proof.OnRevert == OnRevertRepeat:
		c.add("intake.signatures", needsSeed+"proof.on_revert: repeat publishes events, too")
	case c.cfg.API.Listen != "" && (len(c.cfg.API.Doors) > 0 || slices.ContainsFunc(c.cfg.API.Clients, APIClient.publishes)):
		c.add("intake.signatures", needsSeed+"the worker publishes what comes through doors and from clients of the API, and would refuse it")
	}
}
