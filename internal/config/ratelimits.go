package config

import (
	"time"

	"rekey/internal/kinds"
)

// RateLimits is what the operator knows of the API's rate buckets, and how they are shared out.
type RateLimits struct {
	// Read says whether the worker asks the API for its limits: ReadAuto (default and empty),
	// ReadAlways or ReadNever.
	Read string `yaml:"read"`
	// UrgentShare is the part of each bucket, and of the worker's slots, in percent, that is kept for
	// urgent jobs: 0 to 90, and if it is not 0 at least one call and one slot. Default 20.
	UrgentShare int `yaml:"urgent_share"`
	// Sets are the limits of endpoint sets, by name: each is a key beside the other two. One that is left out is learned from the
	// API's answers.
	Sets map[string]RateLimit `yaml:"-"`
}

// When the API's limits are read.
const (
	// ReadAuto reads them at the start from the vendor's own hosts, and from others when an
	// answer shows that there are limits.
	ReadAuto   = "auto"
	ReadAlways = "always"
	ReadNever  = "never"
)

// RateLimit is the limit of one endpoint set: a bucket for each member of the scope, which holds Capacity
// calls and gets Refill of them every Every. All three are set, or none.
type RateLimit struct {
	// Capacity is how many calls a full bucket holds: 1 to 1000000.
	Capacity int `yaml:"capacity"`
	// Refill is how many calls each period adds: 1 to 1000000.
	Refill int `yaml:"refill"`
	// Every is the period: 1ms to 24h.
	Every time.Duration `yaml:"every"`
	// Scope is whose bucket it is: account, organization, project or address. Empty: as the vendor documents it.
	Scope string `yaml:"scope"`
}

// IsSet reports whether it says how large the bucket is.
func (l RateLimit) IsSet() bool { return l.Capacity != 0 || l.Refill != 0 || l.Every != 0 }

// setNames are the endpoint sets that have a limit.
func setNames() []string {
	var names []string
	for _, set := range kinds.Sets() {
		names = append(names, set.Name)
	}
	return names
}

// rateLimits checks what is known of rate buckets.
func (c *checker) rateLimits() {
	const path = "atlas.rate_limits"
	limits := c.cfg.Atlas.RateLimits
	c.oneOf(join(path, "read"), limits.Read, ReadAuto, ReadAlways, ReadNever)
	c.number(join(path, "urgent_share"), limits.UrgentShare, 0, 90)
	for _, name := range setNames() {
		c.rateLimit(join(path, name), limits.Sets[name])
	}
}

func (c *checker) rateLimit(path string, l RateLimit) {
	if l.Scope != "" {
		c.oneOf(join(path, "scope"), l.Scope, "account", "organization", "project", "address")
	}
	capacity, refill, every := join(path, "capacity"), join(path, "refill"), join(path, "every")
	if !l.IsSet() && !c.anySpoilt(capacity, refill, every) && !c.has(capacity) && !c.has(refill) && !c.has(every) {
		return
	}
	for _, key := range []string{capacity, refill, every} {
		if !c.has(key) {
			c.add(key, "is required: a bucket is capacity, refill and every")
		}
	}
	const most = 1_000_000
	c.number(capacity, l.Capacity, 1, most)
	c.number(refill, l.Refill, 1, most)
	c.duration(every, l.Every, time.Millisecond, 24*time.Hour)
}
