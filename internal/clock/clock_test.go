package clock

import (
	"errors"
	"testing"
	"time"
)

var moment = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// machine is a machine whose clock can be set.
type machine struct {
	wall time.Time
	mono time.Duration
}

func (m *machine) clock() *Clock {
	return &Clock{now: func() (time.Time, time.Duration) { return m.wall, m.mono }}
}

func (m *machine) at(mono time.Duration) {
	m.wall, m.mono = m.wall.Add(mono-m.mono), mono
}

// TestWrites: a write that a watch shows was stored between its sending and its sight.
func TestWrites(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	type write struct {
		sent, stored, seen time.Duration // stored is on the server's clock.
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
		m := &machine{wall: moment}
		c := m.clock()
		for i, w := range tt.writes {
			revision := uint64(i + 1)
			m.at(w.sent)
			wrote := c.Begin()
			if !w.early {
				wrote(revision)
			}
			m.at(w.seen)
			c.Saw(revision, moment.Add(w.stored))
			if w.early {
				wrote(revision)
			}
		}
		if least, most := c.Bounds(); least != tt.least || most != tt.most {
			t.Errorf("%s: between %s and %s, want %s and %s", tt.name, least, most, tt.least, tt.most)
		}
	}
}

// TestForgets: writes of others and writes that are never seen take no space.
func TestForgets(t *testing.T) {
	t.Parallel()
	c := (&machine{wall: moment}).clock()
	for i := range uint64(1000) {
		c.Begin()(2 * i)
		c.Saw(2*i+1, moment)
	}
	if len(c.sent) > kept+1 || len(c.seen) > kept+1 {
		t.Errorf("%d sent and %d seen are remembered", len(c.sent), len(c.seen))
	}
	for i := range uint64(100) {
		c.Begin()(10_000 + i)
		c.Saw(10_000+i, moment)
	}
	if len(c.list) != kept {
		t.Errorf("%d samples", len(c.list))
	}
}

// TestNow: what the server's clock shows does not hang on this machine's, whatever becomes of that.
func TestNow(t *testing.T) {
	t.Parallel()
	server := moment.Add(40 * time.Minute) // When our monotonic clock is at zero.
	for _, ahead := range []time.Duration{0, 25 * time.Hour, -11 * time.Minute} {
		m := &machine{wall: server.Add(ahead)}
		c := m.clock()
		if got := c.Now(); !got.Equal(m.wall) || c.Ahead() != 0 {
			t.Errorf("%s ahead, not known yet: it is %s", ahead, got)
		}
		if err := c.Ask(func() (time.Time, error) {
			m.at(2 * time.Millisecond)
			return server.Add(time.Millisecond), nil
		}); err != nil {
			t.Fatal(err)
		}
		m.at(time.Minute)
		if got := c.Now().Sub(server); got != time.Minute {
			t.Errorf("%s ahead: a minute later, it is %s later", ahead, got)
		}
		if got := c.Ahead(); got != ahead {
			t.Errorf("%s ahead: it is said to be %s", ahead, got)
		}
		if err := c.Check(); (err != nil) != (ahead != 0) {
			t.Errorf("%s ahead: %v", ahead, err)
		}
		m.wall = m.wall.Add(25 * time.Hour) // An administrator sets it.
		if got := c.Now().Sub(server); got != time.Minute {
			t.Errorf("%s ahead: after this machine's clock was set, it is %s later", ahead, got)
		}
		if got := c.Ahead(); got != ahead+25*time.Hour {
			t.Errorf("%s ahead: after it was set it is said to be %s", ahead, got)
		}
	}
}

// TestConversions: a moment of ours that goes out, or comes in, stays as far away as it is.
func TestConversions(t *testing.T) {
	t.Parallel()
	c := New()
	if err := c.Ask(func() (time.Time, error) { return time.Now().Add(-25 * time.Hour), nil }); err != nil {
		t.Fatal(err)
	}
	const delay, slack = time.Hour, 10 * time.Second
	if got := c.Shared(time.Now().Add(delay)).Sub(c.Now()); (got - delay).Abs() > slack {
		t.Errorf("in %s is in %s for the others", delay, got)
	}
	if got := time.Until(c.Local(c.Now().Add(delay))); (got - delay).Abs() > slack {
		t.Errorf("in %s of the server's is in %s for us", delay, got)
	}
	if !c.Shared(time.Time{}).IsZero() || !c.Local(time.Time{}).IsZero() {
		t.Error("no moment became one")
	}
	if away := errors.New("away"); !errors.Is(c.Ask(func() (time.Time, error) { return time.Time{}, away }), away) {
		t.Error("an error was swallowed")
	}
	var own *Clock
	if at := time.Now().Add(delay); !own.Shared(at).Equal(at) || !own.Local(at).Equal(at) || own.Check() != nil || own.Ahead() != 0 {
		t.Error("an own clock differs from itself")
	}
}
