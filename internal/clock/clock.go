// Package clock estimates the time of the NATS server, which is the time that all workers share.
package clock

import (
	"fmt"
	"sync"
	"time"
)

// Limit is how far this machine's clock may be from the server's before the worker counts as not ready.
const Limit = time.Minute

// kept is how many samples the estimate is taken from, the latest ones.
const kept = 16

// Clock is the time of the NATS server, as far as this process can tell.
//
// The rule for all of Rekey: a moment that came from NATS, another worker or a command (when an event was accepted,
// retry_at, expires_at, a claim, a tick) is compared with Now, never with time.Now, and a moment that goes out to them is
// taken from Now or converted by Shared. time.Now is for lengths of time that begin and end in this process.
//
// The estimate hangs on the monotonic clock: setting this machine's clock does not change it. It is taken from writes and
// requests whose answers say what the server's clock showed between two moments of ours. The server is the one that leads
// the bucket <NAMESPACE>_PACE; those of a cluster are taken to agree. A nil Clock, and one of Own, is time.Now: with an
// embedded server there is one clock only.
type Clock struct {
	now  func() (wall time.Time, mono time.Duration) // Nil: there is one clock only.
	mu   sync.Mutex                                  // Guards what follows.
	sent map[uint64]time.Duration
	seen map[uint64]sighting // Of writes that were seen before their sender knew their revision.
	list []sample
}

type sighting struct {
	stored time.Time
	at     time.Duration
}

// sample are bounds of what the server's clock showed when our monotonic clock was at zero.
type sample struct{ least, most time.Time }

// New returns the clock of a server whose time is not known yet; until then it shows this machine's time.
func New() *Clock {
	start := time.Now()
	return &Clock{now: func() (time.Time, time.Duration) {
		t := time.Now()
		return t.Round(0), t.Sub(start)
	}}
}

// Own returns the clock of a server inside this process.
func Own() *Clock { return nil }

// Now is the server's time.
func (c *Clock) Now() time.Time {
	if c == nil {
		return time.Now()
	}
	wall, mono := c.now()
	least, most, known := c.bounds()
	if !known {
		return wall
	}
	return least.Add(most.Sub(least)/2 + mono)
}

// Known reports whether anything is known of the server's clock.
func (c *Clock) Known() bool {
	if c == nil {
		return true
	}
	_, _, known := c.bounds()
	return known
}

// Shared converts a moment of this machine's clock, such as time.Now().Add(delay), into one of the server's. The zero
// time stays zero.
func (c *Clock) Shared(at time.Time) time.Time {
	if c == nil || at.IsZero() {
		return at
	}
	return c.Now().Add(time.Until(at))
}

// Local converts a moment of the server's clock into one of this machine's. The zero time stays zero.
func (c *Clock) Local(at time.Time) time.Time {
	if c == nil || at.IsZero() {
		return at
	}
	return time.Now().Add(at.Sub(c.Now()))
}

// Bounds says what must be added to this machine's clock now to get the server's: something between the two.
func (c *Clock) Bounds() (least, most time.Duration) {
	if c == nil {
		return 0, 0
	}
	wall, mono := c.now()
	from, to, known := c.bounds()
	if !known {
		return 0, 0
	}
	return from.Add(mono).Sub(wall), to.Add(mono).Sub(wall)
}

// Ahead is by how much this machine's clock is ahead of the server's: negative when it is behind, and zero when that is
// not known.
func (c *Clock) Ahead() time.Duration {
	least, most := c.Bounds()
	return -(least + (most-least)/2)
}

// Check reports, as an error, that this machine's clock is too far from the server's, and by how much.
func (c *Clock) Check() error {
	switch ahead := c.Ahead(); {
	case ahead > Limit:
		return fmt.Errorf("this machine's clock is %s ahead of the NATS server's (limit %s): synchronise it", ahead.Round(time.Second), Limit)
	case -ahead > Limit:
		return fmt.Errorf("this machine's clock is %s behind the NATS server's (limit %s): synchronise it", -ahead.Round(time.Second), Limit)
	}
	return nil
}

// Ask notes what a request says of the server's clock. ask returns what it showed while the request was under way.
func (c *Clock) Ask(ask func() (time.Time, error)) error {
	if c == nil {
		_, err := ask()
		return err
	}
	_, sent := c.now()
	there, err := ask()
	_, got := c.now()
	if err != nil || there.IsZero() {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(sent, sighting{stored: there, at: got})
	return nil
}

// Begin notes that a write begins now, and returns a function that takes its revision, once that is known.
func (c *Clock) Begin() (wrote func(revision uint64)) {
	if c == nil {
		return func(uint64) {}
	}
	_, sent := c.now()
	return func(revision uint64) { c.wrote(revision, sent) }
}

func (c *Clock) wrote(revision uint64, sent time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.seen[revision]; ok {
		delete(c.seen, revision)
		c.add(sent, s)
		return
	}
	if c.sent == nil || len(c.sent) > kept {
		c.sent = map[uint64]time.Duration{} // No watch runs, or it has ended.
	}
	c.sent[revision] = sent
}

// Saw notes that a watch hands over a revision now, and when the server stored it: between the moment at which its
// sender, if that was us, sent it and this one.
func (c *Clock) Saw(revision uint64, stored time.Time) {
	if c == nil {
		return
	}
	_, at := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := sighting{stored: stored, at: at}
	if sent, ok := c.sent[revision]; ok {
		delete(c.sent, revision)
		c.add(sent, s)
		return
	}
	if c.seen == nil || len(c.seen) > kept {
		c.seen = map[uint64]sighting{} // Most writes are those of other workers.
	}
	c.seen[revision] = s
}

func (c *Clock) add(sent time.Duration, s sighting) {
	c.list = append(c.list, sample{least: s.stored.Add(-s.at), most: s.stored.Add(-sent)})
	if len(c.list) > kept {
		c.list = c.list[1:]
	}
}

// bounds are the narrowest bounds. When the samples contradict each other, the server's clock was set, or the server is
// another one: then the latest sample counts.
func (c *Clock) bounds() (least, most time.Time, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.list) == 0 {
		return least, most, false
	}
	last := c.list[len(c.list)-1]
	least, most = last.least, last.most
	for _, s := range c.list {
		if s.least.After(least) {
			least = s.least
		}
		if s.most.Before(most) {
			most = s.most
		}
	}
	if least.After(most) {
		c.list = []sample{last}
		return last.least, last.most, true
	}
	return least, most, true
}
