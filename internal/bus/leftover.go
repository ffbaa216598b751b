package bus

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"rekey/internal/layout"
)

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
