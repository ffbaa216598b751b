package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"rekey/internal/event"
	"rekey/internal/jobs"
	"rekey/internal/layout"
	"rekey/internal/names"
)

// advisoryMaxDeliveries is where the server says that a consumer will not hand a message over any
// more (NATS docs, "JetStream events and advisories").
const advisoryMaxDeliveries = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES."

// stalledTimeout bounds the rescue of one message.
const stalledTimeout = 30 * time.Second

// StalledRecorder counts the messages that the server gave up.
type StalledRecorder interface {
	DeliveryStalled(stream string)
}

// Stalled is the net under our own counting of attempts. Our consumers deliver without a
// limit; where an administrator has set one, the server stops handing a message over and leaves it
// in its stream, where no worker would look. It goes back to the end of its queue.
type Stalled struct {
	Conn     *Conn
	Secrets  jobs.Secrets // As of the intake.
	Recorder StalledRecorder
	Logger   *zap.Logger
}

// advisory is the part of the server's message that we read.
type advisory struct {
	Stream     string `json:"stream"`
	Consumer   string `json:"consumer"`
	Seq        uint64 `json:"stream_seq"`
	Deliveries uint64 `json:"deliveries"`
}

// Run listens until ctx ends. The workers of a fleet share the advisories.
func (s Stalled) Run(ctx context.Context) error {
	heard := make(chan *nats.Msg, 256)
	var subs []*nats.Subscription
	defer func() {
		for _, sub := range subs {
			_ = sub.Unsubscribe() // It dies with the connection at the latest.
		}
	}()
	for _, stream := range []string{s.Conn.names.Jobs(), s.Conn.names.Events()} {
		sub, err := s.Conn.nc.ChanQueueSubscribe(advisoryMaxDeliveries+stream+".*", "rekey", heard)
		if err != nil {
			return fmt.Errorf("listening to advisories: %w", err)
		}
		subs = append(subs, sub)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case msg := <-heard:
			s.handle(ctx, msg)
		}
	}
}

// handle rescues one message. When that fails, it is still in the stream, and the log says where.
func (s Stalled) handle(ctx context.Context, msg *nats.Msg) {
	log := s.Logger.Named("stalled")
	var a advisory
	if err := json.Unmarshal(msg.Data, &a); err != nil {
		log.Warn("an advisory that cannot be read", zap.String("subject", msg.Subject), zap.Error(err))
		return
	}
	log = log.With(zap.String("stream", a.Stream), zap.String("consumer", a.Consumer),
		zap.Uint64("seq", a.Seq), zap.Uint64("deliveries", a.Deliveries))
	s.Recorder.DeliveryStalled(a.Stream)
	ctx, cancel := context.WithTimeout(ctx, stalledTimeout)
	defer cancel()
	if err := s.rescue(ctx, a); err != nil {
		log.Error("NATS stopped delivering a message, and it could not be put back", zap.Error(err))
		return
	}
	log.Warn("NATS stopped delivering a message; it was put back. The consumer's max_deliver must be -1")
}

// rescue publishes a copy of the message behind all others. The old one is taken out of the
// queue of jobs; events stay as long as their stream keeps them.
func (s Stalled) rescue(ctx context.Context, a advisory) error {
	stream, err := s.Conn.js.Stream(ctx, a.Stream)
	if err != nil {
		return err
	}
	old, err := stream.GetMsg(ctx, a.Seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil // It was settled after all.
	}
	if err != nil {
		return err
	}
	if a.Stream == s.Conn.names.Events() {
		return s.republish(ctx, old)
	}
	return s.Conn.requeue(ctx, stream, old)
}

// requeue puts a message back behind all others of its queue. The ledger knows whether there is anything left to do.
func (c *Conn) requeue(ctx context.Context, queue jetstream.Stream, old *jetstream.RawStreamMsg) error {
	copied := &nats.Msg{Subject: old.Subject, Data: old.Data, Header: nats.Header{}}
	copied.Header.Set(names.HeaderMessage, strconv.FormatUint(messageOf(old.Header, old.Sequence), 10))
	if _, err := c.store(ctx, copied, queue.CachedInfo().Config.Name); err != nil {
		return err
	}
	return queue.DeleteMsg(ctx, old.Sequence)
}

// messageOf names a job's message for good.
func messageOf(h nats.Header, seq uint64) uint64 {
	if first, err := strconv.ParseUint(h.Get(names.HeaderMessage), 10, 64); err == nil {
		return first
	}
	return seq
}

// republish publishes an event under the identity that it has.
func (s Stalled) republish(ctx context.Context, old *jetstream.RawStreamMsg) error {
	// What cannot be understood has an identity as well, and ends in the dead letters this time.
	m := event.Receive(s.Conn.names, event.Message{
		Subject: old.Subject, Header: old.Header, Data: old.Data, Seq: old.Sequence, At: old.Time,
		Known: s.Secrets.Known.Set(), Marks: s.Conn.marks,
	})
	event, err := event.Read(s.Conn.names, m)
	if err != nil && !isAboutEvent(err) {
		return err
	}
	if _, err = NewOriginals(s.Conn).Replay(ctx, event.EventRef); err != nil {
		return err
	}
	// No worker takes the old one in any more, which would erase it.
	in := Intake{Conn: s.Conn, Secrets: s.Secrets, Logger: s.Logger}
	if in.allows() || !m.Dirty() {
		return nil
	}
	return in.erase(ctx, m)
}

// mostLeftovers bounds how many messages of a consumer one look puts back.
const mostLeftovers = 64

// leftovers are messages of the queue that their consumer has behind it, and that nothing would ever hand over or remove: a server that was killed
// remembers that a message was settled, and not that it was removed for it (nats-server 2.15 looks for them after a start in streams of
// the interest policy alone); or it gave a message up while no worker heard it say so.
type leftovers struct {
	settled map[string]uint64 // Up to which sequence each consumer had settled all at the latest look.
}

// look returns, by the consumer, up to which sequence a message is a leftover: each was behind its consumer at the look before, too, so that it is not
// one that the server is removing. It is empty where the stream holds no more than what its consumers count.
func (l *leftovers) look(queue layout.StreamSight, consumers []layout.ConsumerSight) map[string]uint64 {
	before := l.settled
	l.settled = map[string]uint64{}
	upTo, counted := map[string]uint64{}, uint64(0)
	for _, c := range consumers {
		if c.Stream != queue.Want.Name {
			continue
		}
		if c.Info == nil || queue.Info == nil {
			return nil
		}
		floor := c.Info.AckFloor.Stream
		l.settled[c.Name], upTo[c.Name] = floor, min(floor, before[c.Name])
		counted += c.Info.NumPending + uint64(max(c.Info.NumAckPending, 0))
	}
	if queue.Info == nil || queue.Info.State.Msgs <= counted {
		return nil
	}
	return upTo
}

// requeue puts the leftovers of the queue back. What fails is tried again at the next look.
func (u *Upkeep) requeue(ctx context.Context, want layout.Layout, sight layout.Sight) {
	for _, s := range sight.Streams {
		if s.Want.Name != want.Names.Jobs() {
			continue
		}
		upTo := u.leftovers.look(s, sight.Consumers)
		for _, c := range want.Consumers() {
			if c.Stream != s.Want.Name || upTo[c.Durable] == 0 {
				continue
			}
			const putting = "putting messages back that their consumer has behind it"
			if err := u.requeueOf(ctx, c, upTo[c.Durable]); err != nil && ctx.Err() == nil {
				u.failures.Warn(u.Logger.Named("upkeep"), putting, u.Conn.Explain(err), zap.String("consumer", c.Durable))
			}
		}
	}
}

// requeueOf puts the leftovers of one consumer back.
func (u *Upkeep) requeueOf(ctx context.Context, c layout.Consumer, upTo uint64) error {
	queue, err := u.Conn.js.Stream(ctx, c.Stream)
	if err != nil {
		return err
	}
	for _, filter := range layout.Filters(c.ConsumerConfig) {
		for range mostLeftovers {
			old, err := queue.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(filter))
			if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && old.Sequence > upTo {
				break
			}
			if err == nil {
				err = u.Conn.requeue(ctx, queue, old)
			}
			if err != nil {
				return err
			}
			u.Logger.Named("upkeep").Info("a message of the queue was left over, and is put back", zap.String("consumer", c.Durable), zap.Uint64("seq", old.Sequence))
		}
	}
	return nil
}
