package bus

import (
	"testing"
	"time"
)

func TestClock(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	type write struct {
		sent, stored, seen time.Duration // After moment; stored is on the server's clock.
		early              bool          // It is seen before its sender knows the revision.
	}
	tests := []struct {
		name        string
		writes      []write
		least, most time.Duration
	}{
		{name: "nothing is known"},
		{name: "one write", writes: []write{{sent: 0, stored: 100 * ms, seen: 4 * ms}}, least: 96 * ms, most: 100 * ms},
		{name: "seen first", writes: []write{{sent: 0, stored: 100 * ms, seen: 4 * ms, early: true}}, least: 96 * ms, most: 100 * ms},
		{
			name:   "the narrowest of several",
			writes: []write{{sent: 0, stored: 100 * ms, seen: 40 * ms}, {sent: 50 * ms, stored: 149 * ms, seen: 51 * ms}, {sent: 60 * ms, stored: 180 * ms, seen: 90 * ms}},
			least:  98 * ms, most: 99 * ms,
		},
		{
			name:   "the server's clock was set",
			writes: []write{{sent: 0, stored: 100 * ms, seen: 2 * ms}, {sent: 10 * ms, stored: -80 * ms, seen: 12 * ms}},
			least:  -92 * ms, most: -90 * ms,
		},
	}
	for _, tt := range tests {
		var c clock
		for i, w := range tt.writes {
			revision := uint64(i + 1)
			if !w.early {
				c.sent(revision, moment.Add(w.sent))
			}
			c.seen(revision, moment.Add(w.stored), moment.Add(w.seen))
			if w.early {
				c.sent(revision, moment.Add(w.sent))
			}
		}
		if least, most := c.bounds(); least != tt.least || most != tt.most {
			t.Errorf("%s: between %s and %s, want %s and %s", tt.name, least, most, tt.least, tt.most)
		}
	}
}

// TestClockForgets: writes of others and writes that are never seen take no room.
func TestClockForgets(t *testing.T) {
	t.Parallel()
	var c clock
	for i := range uint64(1000) {
		c.sent(2*i, moment)
		c.seen(2*i+1, moment, moment)
	}
	if len(c.pending) > clockSamples+1 || len(c.seenAt) > clockSamples+1 {
		t.Errorf("%d sent and %d seen are remembered", len(c.pending), len(c.seenAt))
	}
	for i := range uint64(100) {
		c.sent(10_000+i, moment)
		c.seen(10_000+i, moment, moment)
	}
	if len(c.samples) != clockSamples {
		t.Errorf("%d samples", len(c.samples))
	}
}
