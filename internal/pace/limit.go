// Package pace keeps a fleet's calls within the rate buckets of an API.
//
// The law of a bucket is arithmetic: Limit, State, Probe, Holding and Slots say when the next call may be made, from what is
// known of a bucket and what was taken from it. They read no clock, keep no goroutine and know neither HTTP nor NATS.
//
// A Limiter applies the law: it grants permits to call, shares the states with other workers through a Store, by
// compare-and-set, and learns from answers. States is the Store of a fleet. docs/pacing.md gives the reasons of the law.
package pace

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Source is where a limit is known from. The set is closed.
type Source string

// The sources of a limit, the most trusted first.
const (
	SourceConfig     Source = "config"      // The operator's configuration.
	SourceRateLimits Source = "rate_limits" // GET /api/atlas/v2/rateLimits.
	SourceAnswer     Source = "answer"      // The headers of an answer, or the document of a 429.
	SourceDefault    Source = "default"     // What the vendor publishes for all customers.
	SourceNone       Source = ""            // The limit is not known.
)

// Limit is a token bucket: it holds at most Capacity tokens, and each period of length Every adds
// Refill of them. The zero Limit is an unknown one.
type Limit struct {
	Capacity int           `json:"capacity,omitempty"`
	Refill   int           `json:"refill,omitempty"`
	Every    time.Duration `json:"every_ns,omitempty"`
}

// Bounds of a plausible limit.
const (
	maxCount = 1_000_000
	maxEvery = 24 * time.Hour
)

// Known reports whether the limit is complete enough to pace by.
func (l Limit) Known() bool { return l.Capacity > 0 && l.Refill > 0 && l.Every > 0 }

// Validate reports, as an error, numbers that cannot be those of a bucket.
func (l Limit) Validate() error {
	if l.Capacity < 1 || l.Refill < 1 || l.Capacity > maxCount || l.Refill > maxCount || l.Every < time.Millisecond || l.Every > maxEvery {
		return errors.New("capacity and refill must be from 1 to 1000000, and the period from 1ms to 24h")
	}
	return nil
}

// Spacing is the time from one call to the next at the bucket's rate, in whole microseconds,
// rounded up so that many calls do not add up to one too many. It is 0 of an unknown limit.
func (l Limit) Spacing() time.Duration {
	if !l.Known() {
		return 0
	}
	least := time.Duration(l.Refill) * time.Microsecond
	return (l.Every + least - 1) / least * time.Microsecond
}

// Same reports whether both limits describe the same bucket: 50 per second is one per 20 ms, where
// the capacity is below 50.
func (l Limit) Same(other Limit) bool {
	if !l.Known() || !other.Known() {
		return l == other
	}
	refill, every := l.step()
	otherRefill, otherEvery := other.step()
	return l.Capacity == other.Capacity && refill == otherRefill && every == otherEvery
}

// String is the limit in a few words: "20, then 50 per 1s".
func (l Limit) String() string {
	if !l.Known() {
		return "unknown"
	}
	return fmt.Sprintf("%d, then %d per %s", l.Capacity, l.Refill, l.Every)
}

// Keep is how many tokens are kept for urgent calls. A share of 0 keeps nothing.
func (l Limit) Keep(share float64) int { return Kept(l.Capacity, share) }

// Kept is how many of n things are kept for urgent jobs: the share, rounded up, but at least one,
// and never the last one, which is for all. A share of 0 keeps nothing.
func Kept(n int, share float64) int {
	if share <= 0 || n < 2 {
		return 0
	}
	return min(max(int(math.Ceil(float64(n)*share)), 1), n-1)
}

// longestUnderway bounds how long a call may be under way.
const longestUnderway = 500 * time.Millisecond

// Underway is how long after its token was taken a call may arrive and still be counted on.
func (l Limit) Underway() time.Duration {
	if !l.Known() {
		return longestUnderway
	}
	return time.Duration(l.underway()) * time.Microsecond
}

// underway is how long after its token was taken a call may arrive, in microseconds: the job
// is claimed, a bearer token fetched, a connection made. A call that takes longer may take the
// place of another one. This costs a part of the time in which the bucket fills, once; where a
// refill fills more than half of the bucket, it costs that part in each period, and is shorter.
func (l Limit) underway() int64 {
	refill, every := l.step()
	most := min(int64(l.Capacity)*l.Spacing().Microseconds()/8, longestUnderway.Microseconds())
	if l.Capacity < 2*refill {
		return min(most, every/100)
	}
	return most
}

// least is what a share keeps at least, although calls at the pace of the bucket could use it:
// as many tokens as delay no such call, and one. A bucket that a refill fills completely cannot
// keep more for long: tokens that are not used before the refill are lost.
func (l Limit) least(share float64) int {
	refill, _ := l.step()
	return min(l.Keep(share), max(l.Capacity-refill, 1))
}

// pace is the time between two calls of a rank in the long run, in microseconds.
func (l Limit) pace(rank Rank, share float64) int64 {
	if rank == 0 || !l.Known() {
		return l.Spacing().Microseconds()
	}
	refill, every := l.step()
	usable := int64(min(refill, l.Capacity-l.least(share)))
	if l.Capacity < 2*refill {
		every += l.underway()
	}
	return (every + usable - 1) / usable
}

// step is the slowest way in which the bucket may fill. A refill beyond the capacity would
// be lost if it arrived at once, so such a bucket fills token by token.
func (l Limit) step() (refill int, every int64) {
	if l.Refill > l.Capacity {
		return 1, l.Spacing().Microseconds()
	}
	return l.Refill, l.Every.Microseconds()
}
