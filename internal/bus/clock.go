package bus

import (
	"sync"
	"time"
)

// clockSamples is how many writes the clock's bounds are taken from, the latest ones.
const clockSamples = 16

// clock finds out how far the server's clock is from ours. A write that we see again in a watch
// was stored between the moment we sent it and the moment we saw it, and carries the server's
// time of that: two bounds of the difference, as close as the write's round trip was short.
type clock struct {
	mu      sync.Mutex // Guards what follows.
	pending map[uint64]time.Time
	seenAt  map[uint64]sighting // Of writes that were seen before their sender knew their revision.
	samples []clockSample
}

type sighting struct{ stored, at time.Time }

// clockSample are bounds of what must be added to our clock to get the server's.
type clockSample struct{ least, most time.Duration }

// sent notes that the write of a revision was sent at a moment.
func (c *clock) sent(revision uint64, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.seenAt[revision]; ok {
		delete(c.seenAt, revision)
		c.add(at, s)
		return
	}
	if c.pending == nil || len(c.pending) > clockSamples {
		c.pending = map[uint64]time.Time{} // Nobody watches, or not any more.
	}
	c.pending[revision] = at
}

// seen notes that a revision was seen at a moment, and when it was stored.
func (c *clock) seen(revision uint64, stored, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := sighting{stored: stored, at: at}
	if sent, ok := c.pending[revision]; ok {
		delete(c.pending, revision)
		c.add(sent, s)
		return
	}
	if c.seenAt == nil || len(c.seenAt) > clockSamples {
		c.seenAt = map[uint64]sighting{} // Most writes are those of others.
	}
	c.seenAt[revision] = s
}

func (c *clock) add(sent time.Time, s sighting) {
	c.samples = append(c.samples, clockSample{least: s.stored.Sub(s.at), most: s.stored.Sub(sent)})
	if len(c.samples) > clockSamples {
		c.samples = c.samples[1:]
	}
}

// bounds returns the narrowest bounds, or 0 where nothing says that the clocks differ. When
// the samples contradict each other, a clock was set, or the server is another one: then the
// latest one counts.
func (c *clock) bounds() (least, most time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.samples) == 0 {
		return 0, 0
	}
	last := c.samples[len(c.samples)-1]
	least, most = last.least, last.most
	for _, s := range c.samples {
		least, most = max(least, s.least), min(most, s.most)
	}
	if least > most {
		c.samples = []clockSample{last}
		return last.least, last.most
	}
	return least, most
}
