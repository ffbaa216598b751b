package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rekey/internal/layout"

	"github.com/nats-io/nats.go/jetstream"
)

// fleetIdle is for how long a consumer that nothing was delivered to must be idle until what it holds counts as left by a
// worker that is gone: a busy one asks for no more, and settles what it has.
const fleetIdle = 30 * time.Second

// Attendance is whether a worker is there to take events and jobs.
type Attendance int

// What can be seen of the workers.
const (
	AttendanceUnknown Attendance = iota // They may be busy, or have just gone.
	Attended                            // At least one asks for events or jobs.
	Unattended                          // None is connected.
)

// Fleet is what NATS shows of the workers and of what waits for them.
type Fleet struct {
	Attendance Attendance
	// Events is how many events no worker has taken in yet, and Oldest for how long the first of them has waited, by the
	// server's clock; 0 where there is none, or it may not be read.
	Events int
	Oldest time.Duration
	// Jobs is how many jobs no worker has pulled yet.
	Jobs int
}

// Fleet looks at the consumers that the workers share. It makes nothing.
func (c *Conn) Fleet(ctx context.Context) (Fleet, error) {
	fleet := Fleet{Attendance: Unattended}
	for _, shared := range layout.Consumers(c.names) {
		cons, err := c.js.Consumer(ctx, shared.Stream, shared.Durable)
		if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) { // No worker has been here yet.
			continue
		}
		if err != nil {
			return Fleet{}, fmt.Errorf("reading consumer %s of stream %s: %w", shared.Durable, shared.Stream, err)
		}
		info := cons.CachedInfo()
		fleet.see(info)
		if shared.Stream == c.names.Jobs() {
			fleet.Jobs += int(info.NumPending)
			continue
		}
		// The consumers of events overlap: what the one of incidents has left out is in that of all.
		fleet.Events = max(fleet.Events, int(info.NumPending)+info.NumAckPending)
		fleet.Oldest = max(fleet.Oldest, c.waited(ctx, info, layout.Filters(shared.ConsumerConfig)))
	}
	return fleet, nil
}

// see judges by one consumer whether a worker is there.
func (f *Fleet) see(info *jetstream.ConsumerInfo) {
	switch {
	case info.NumWaiting > 0:
		f.Attendance = Attended
	case info.NumAckPending == 0 || f.Attendance == Attended:
	case info.TimeStamp.Sub(latest(info.Delivered.Last, info.AckFloor.Last)) < fleetIdle:
		f.Attendance = AttendanceUnknown
	}
}

// latest is the later one of two moments that may not be there.
func latest(a, b *time.Time) time.Time {
	var last time.Time
	for _, at := range []*time.Time{a, b} {
		if at != nil && at.After(last) {
			last = *at
		}
	}
	return last
}

// waited is for how long the oldest message of a consumer has waited that is not settled; 0 where there is none, or it may not
// be read.
func (c *Conn) waited(ctx context.Context, info *jetstream.ConsumerInfo, filters []string) time.Duration {
	if info.NumPending == 0 && info.NumAckPending == 0 {
		return 0
	}
	stream, err := c.js.Stream(ctx, info.Stream)
	if err != nil {
		return 0
	}
	var longest time.Duration
	for _, filter := range filters {
		if msg, err := stream.GetMsg(ctx, info.AckFloor.Stream+1, jetstream.WithGetMsgSubject(filter)); err == nil {
			longest = max(longest, info.TimeStamp.Sub(msg.Time))
		}
	}
	return longest
}
