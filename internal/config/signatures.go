package config

import (
	"regexp"
	"time"
)

// Bounds of intake.replay_window.
const (
	minReplayWindow = time.Second
	maxReplayWindow = 24 * time.Hour
)

// publicUser is how NATS writes a user's public nkey.
var publicUser = regexp.MustCompile(`^U[A-Z2-7]{55}$`)

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
	if len(c.cfg.Schedules) > 0 {
		c.add("intake.signatures", "needs signing_seed_file or signing_seed_env as well: schedules publish events, too")
	}
}
