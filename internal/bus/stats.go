package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"rekey/internal/jobs"
	"rekey/internal/layout"
)

// statsEvery is how often the queue's gauges are refreshed.
const statsEvery = 2 * time.Second

// StatsRecorder shows how full the streams are.
type StatsRecorder interface {
	SetQueue(lane string, pending float64, oldest time.Duration)
	SetWaiting(n float64)
	SetDeadLetters(n float64)
	SetProofs(pending, watched float64)
}

// Stats reads from the streams how many jobs wait and how long they have.
type Stats struct {
	Conn    *Conn
	Running func() int // Jobs of the queue that run in this worker.
	// Ahead is how many jobs of a lane this worker has pulled and not begun: they are pending
	// still, and wait for nothing but a slot. Nil counts them as waiting.
	Ahead    func(lane jobs.Lane) int
	Recorder StatsRecorder
	Logger   *zap.Logger
}

// Run refreshes the gauges until ctx ends.
func (s Stats) Run(ctx context.Context) error {
	log := s.Logger.Named("stats")
	ticker := time.NewTicker(statsEvery)
	defer ticker.Stop()
	failing := false
	for {
		err := s.refresh(ctx)
		if ctx.Err() == nil && (err != nil) != failing {
			if failing = err != nil; failing { // Once, until it works again.
				log.Warn("the queue's state cannot be read: the metrics of queues and dead letters stay as they were", zap.Error(err))
			} else {
				log.Info("the queue's state can be read again")
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (s Stats) refresh(ctx context.Context) error {
	stream, err := s.Conn.js.Stream(ctx, s.Conn.names.Jobs())
	if err != nil {
		return err
	}
	unsettled := 0
	for _, lane := range jobs.Lanes() {
		pending, delivered, err := s.consumer(ctx, stream, layout.ConsumerOf(lane))
		if err != nil {
			return err
		}
		ahead := 0
		if s.Ahead != nil {
			ahead = min(s.Ahead(lane), delivered)
		}
		unsettled += delivered - ahead
		oldest, err := s.oldest(ctx, stream, lane)
		if err != nil {
			return err
		}
		s.Recorder.SetQueue(string(lane), float64(pending+uint64(ahead)), oldest)
	}
	s.Recorder.SetWaiting(float64(max(unsettled-s.Running(), 0)))
	if err := s.proofs(ctx, stream); err != nil {
		return err
	}
	dead, err := s.Conn.js.Stream(ctx, s.Conn.names.DeadLetters())
	if err != nil {
		return err
	}
	s.Recorder.SetDeadLetters(float64(dead.CachedInfo().State.Msgs))
	return nil
}

// proofs shows how many checks and watched targets there are.
func (s Stats) proofs(ctx context.Context, stream jetstream.Stream) error {
	var all [2]float64
	for i, name := range []string{layout.ConsumerChecks, layout.ConsumerWatched} {
		pending, delivered, err := s.consumer(ctx, stream, name)
		if err != nil {
			return err
		}
		all[i] = float64(pending) + float64(delivered)
	}
	s.Recorder.SetProofs(all[0], all[1])
	return nil
}

// consumer returns how many messages of a consumer no worker has seen yet, and how many are
// delivered and not settled.
func (s Stats) consumer(ctx context.Context, stream jetstream.Stream, name string) (pending uint64, delivered int, err error) {
	cons, err := stream.Consumer(ctx, name)
	if err != nil {
		return 0, 0, fmt.Errorf("reading consumer %s: %w", name, err)
	}
	info := cons.CachedInfo()
	return info.NumPending, info.NumAckPending, nil
}

// mostRotations is how many rotations are passed over in a lane in the search for its oldest job.
const mostRotations = 256

// isRotation reports whether a subject is that of a job that rotates something.
func isRotation(subject string) bool {
	return slices.ContainsFunc(jobs.RotatingKinds(), func(k jobs.Kind) bool { return strings.HasSuffix(subject, "."+k.SubjectToken()) })
}

// oldest returns the age of the oldest unfinished job of a lane, 0 when there is none. Rotations do not count: they take days, as their
// users do.
func (s Stats) oldest(ctx context.Context, stream jetstream.Stream, lane jobs.Lane) (time.Duration, error) {
	from := uint64(0)
	for range mostRotations {
		msg, err := stream.GetMsg(ctx, from, jetstream.WithGetMsgSubject(s.Conn.names.Lane(lane)))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return 0, nil
		}
		if err != nil {
			return 0, fmt.Errorf("reading the oldest job of lane %s: %w", lane, err)
		}
		if !isRotation(msg.Subject) {
			return max(s.Conn.clock.Now().Sub(msg.Time), 0), nil
		}
		from = msg.Sequence + 1
	}
	return 0, nil
}

// fleetIdle is for how long a consumer that nothing was delivered to must be idle until what it holds counts as left by a
// worker that is gone: a busy one asks for no more, and settles what it has.
const fleetIdle = 30 * time.Second

// Attendance is whether a worker is there to take events and jobs.
type Attendance int

// What can be seen of the workers.
const (
	AttendanceUnknown Attendance = iota // They may be busy, or have just gone.
	Attended                            // At least one asks for events or jobs.
	Unattended                          // None asks for anything.
)

// Fleet is what NATS shows of the workers and of what waits for them.
type Fleet struct {
	Attendance Attendance
	// Silent says that a worker is connected that does not answer, where none asks for anything: its process hangs, or its network.
	Silent bool
	// Heard is when a message was handed to a worker, or settled by one, last; zero where that is not known.
	Heard time.Time
	// Events is how many events are not settled: no worker has taken them in yet, or a slot runs the job of one. Oldest is for how
	// long the first of them has waited, by the server's clock; 0 where there is none, or it may not be read.
	Events int
	Oldest time.Duration
	// Jobs is how many jobs no worker has pulled yet.
	Jobs int
}

// Fleet looks at the consumers that the workers share. It makes nothing.
func (c *Conn) Fleet(ctx context.Context) (Fleet, error) {
	fleet, checks := Fleet{Attendance: Unattended}, []string{layout.ConsumerChecks, layout.ConsumerWatched}
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
		if slices.Contains(checks, shared.Durable) { // They wait for their time, and no job waits for them.
			continue
		}
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
	if at := latest(info.Delivered.Last, info.AckFloor.Last); at.After(f.Heard) {
		f.Heard = at
	}
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
