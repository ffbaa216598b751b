package config

import (
	"fmt"
	"time"
)

// Proof is how it is found out whether the targets of jobs that succeeded are dead, and stay dead.
type Proof struct {
	// Within is how long a verdict may take, from the API's answer; then the best that is known is the verdict. Up to 24h,
	// default 15m. Zero checks nothing: jobs end with the API's answer.
	Within time.Duration `yaml:"within"`
	// Probe lets a leaked token or client secret be tried out itself, which proves the most. Default true.
	Probe bool `yaml:"probe"`
	// Events lets the API's own event log be read as evidence. Default true.
	Events bool `yaml:"events"`
	// Watch is for how long a dead target is looked at that those who restore configurations may put back, from its success: up
	// to 8760h. Default 168h; zero watches nothing.
	Watch time.Duration `yaml:"watch"`
	// Looks are when a watched target is looked at after its success, each later than the one before; the last of them
	// repeats until Watch is over. 1s to 8760h each, at most 32. Default 15m, 1h, 3h15m and 24h.
	Looks []time.Duration `yaml:"looks"`
	// OnRevert is what becomes of a watched target that is back: OnRevertAlert (default and empty) or OnRevertRepeat.
	OnRevert string `yaml:"on_revert"`
	// MaxRepeats is how often in a row OnRevertRepeat ends a target again, 1 to 100. Default 3.
	MaxRepeats int `yaml:"max_repeats"`
	// OnStillAlive is what becomes of a job whose target is still alive at the end of Within: OnStillAliveAlert (default and
	// empty) or OnStillAliveRetry, which retries it at most 3 times.
	OnStillAlive string `yaml:"on_still_alive"`
}

// What becomes of a watched target that is back.
const (
	OnRevertAlert  = "alert"  // Its job is among the dead letters.
	OnRevertRepeat = "repeat" // A job of the same kind ends it again.
)

// What becomes of a job whose target is still alive.
const (
	OnStillAliveAlert = "alert" // It is among the dead letters.
	OnStillAliveRetry = "retry" // It is retried, and among the dead letters when that does not help.
)

// mostLooks bounds Proof.Looks.
const mostLooks = 32

func defaultProof() Proof {
	return Proof{
		Within: 15 * time.Minute, Probe: true, Events: true, Watch: 7 * 24 * time.Hour,
		Looks:    []time.Duration{15 * time.Minute, time.Hour, 3*time.Hour + 15*time.Minute, 24 * time.Hour},
		OnRevert: OnRevertAlert, MaxRepeats: 3, OnStillAlive: OnStillAliveAlert,
	}
}

// proof checks the section of that name.
func (c *checker) proof() {
	const year = 365 * 24 * time.Hour
	p := c.cfg.Proof
	c.duration("proof.within", p.Within, 0, 24*time.Hour)
	c.duration("proof.watch", p.Watch, 0, year)
	c.oneOf("proof.on_revert", p.OnRevert, OnRevertAlert, OnRevertRepeat)
	c.oneOf("proof.on_still_alive", p.OnStillAlive, OnStillAliveAlert, OnStillAliveRetry)
	c.number("proof.max_repeats", p.MaxRepeats, 1, 100)
	switch n := len(p.Looks); {
	case n == 0 && p.Watch > 0:
		c.add("proof.looks", "needs a look at least, as proof.watch is %s", short(p.Watch))
	case n > mostLooks:
		c.add("proof.looks", "has %d looks; the limit is %d", n, mostLooks)
	}
	for i, at := range p.Looks {
		path := fmt.Sprintf("proof.looks[%d]", i)
		c.duration(path, at, time.Second, year)
		if i > 0 && at <= p.Looks[i-1] {
			c.add(path, "must be later than the look before it, which is %s", short(p.Looks[i-1]))
		}
	}
}
