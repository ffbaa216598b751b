package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"rekey/internal/backoff"
	"rekey/internal/event"
	"rekey/internal/jobs"
	"rekey/internal/layout"
	"rekey/internal/names"
	"rekey/internal/notify"
	"rekey/internal/quiet"
)

const (
	// deliveryGrace is how long a request that is under way may take when the worker stops.
	deliveryGrace = 5 * time.Second
	// deliveryPoll is the longest time for which a receiver that waits is not looked at: another
	// worker may have found that it is back.
	deliveryPoll = time.Second
)

// errCutOff ends requests that are still under way some time after a stop.
var errCutOff = fmt.Errorf("cut off: %w", jobs.ErrStopping)

// Deliverer delivers results to a receiver.
type Deliverer interface {
	// Capacity says how many may be delivered now, and if none, how long to wait.
	Capacity(ctx context.Context) (capacity int, wait time.Duration, err error)
	// Deliver takes one a step further. With an error it is redelivered.
	Deliver(ctx context.Context, d notify.Delivery) (jobs.Settlement, error)
}

// SubscriberRecorder shows how many results a receiver has before it.
type SubscriberRecorder interface {
	SetNotificationsPending(receiver string, n float64)
}

// Subscriber reads the results of which one receiver is notified. All workers share it.
type Subscriber struct {
	Conn         *Conn
	Subscription layout.Subscription
	Deliverer    Deliverer
	Recorder     SubscriberRecorder
	Logger       *zap.Logger

	retries, results jetstream.Consumer // Nil until they are opened.
	reported         time.Time
	failures         quiet.Failures
}

// openSubscription makes the receiver's consumers where they are missing.
func (c *Conn) openSubscription(ctx context.Context, i layout.Subscription) (results, again jetstream.Consumer, err error) {
	if results, err = c.consumer(ctx, i.Results(c.names)); err != nil {
		return nil, nil, err
	}
	again, err = c.consumer(ctx, i.Retries(c.names))
	return results, again, err
}

// Run takes notices to the receiver until ctx ends, and returns when those under way are settled.
// What NATS does not do is attempted again, and told once.
func (n *Subscriber) Run(ctx context.Context) error {
	under, release := lingering(ctx, deliveryGrace)
	defer release()
	const notServed = "the receiver is not served at the moment"
	for ctx.Err() == nil {
		err := n.step(ctx, under)
		if err == nil {
			n.failures.Over(notServed)
			continue
		}
		n.results = nil // It may be gone.
		if ctx.Err() == nil {
			n.failures.Warn(n.Logger.Named("notices"), notServed, err, zap.String("receiver", n.Subscription.Receiver))
		}
		_ = backoff.Sleep(ctx, deliveryPoll) // The loop ends with ctx.
	}
	return nil
}

// step takes as many notices to the receiver as may be, or waits for a while.
func (n *Subscriber) step(ctx, under context.Context) (err error) {
	if n.results == nil {
		if n.results, n.retries, err = n.Conn.openSubscription(ctx, n.Subscription); err != nil {
			n.results = nil
			return err
		}
	}
	if err := n.report(ctx); err != nil {
		return err
	}
	capacity, wait, err := n.Deliverer.Capacity(ctx)
	if err != nil {
		return err
	}
	if capacity == 0 {
		_ = backoff.Sleep(ctx, min(wait, deliveryPoll)) // The caller looks at ctx.
		return nil
	}
	return n.deliverSome(ctx, under, capacity)
}

// turn takes some notices to the receiver: first what is sent again, if there is any.
func (n *Subscriber) deliverSome(ctx, under context.Context, capacity int) error {
	batch, err := n.retries.FetchNoWait(capacity)
	if err != nil {
		return fmt.Errorf("pulling what is sent again: %w", err)
	}
	took, err := n.serve(ctx, under, batch, n.retries)
	if err != nil || took > 0 {
		return err
	}
	if batch, err = n.results.Fetch(capacity, jetstream.FetchMaxWait(fetchWait)); err != nil {
		return fmt.Errorf("pulling results: %w", err)
	}
	_, err = n.serve(ctx, under, batch, n.results)
	return err
}

// serve handles a batch and returns how many there were.
func (n *Subscriber) serve(ctx, under context.Context, batch jetstream.MessageBatch, from jetstream.Consumer) (took int, err error) {
	var running sync.WaitGroup
	for msg := range batch.Messages() {
		took++
		running.Go(func() { n.handle(ctx, under, msg, from == n.retries) })
	}
	running.Wait()
	return took, batch.Error()
}

// handle takes one notice a step further and settles its message.
func (n *Subscriber) handle(ctx, under context.Context, msg jetstream.Msg, isRetry bool) {
	log := n.Logger.Named("notices").With(zap.String("receiver", n.Subscription.Receiver))
	verdict, err := jobs.Settlement{}, error(nil)
	if ctx.Err() == nil {
		verdict, err = n.deliver(under, msg, isRetry)
	}
	if err != nil {
		verdict = jobs.Settlement{Delay: redeliverDelay(1)}
		n.failures.Warn(log, "notification is not settled; it is redelivered", err, zap.Duration("delay", verdict.Delay))
	}
	if err := settle(ctx, n.Conn.nc, msg, verdict); err != nil {
		n.failures.Warn(log, "the server did not confirm the settlement; the notification is redelivered", err)
	}
}

func (n *Subscriber) deliver(ctx context.Context, msg jetstream.Msg, isRetry bool) (jobs.Settlement, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return jobs.Settlement{}, err
	}
	d := notify.Delivery{
		Data: msg.Data(), Key: fmt.Sprint(meta.Sequence.Stream), Sequence: meta.Sequence.Stream, Since: meta.Timestamp, Count: meta.NumDelivered, Again: isRetry,
	}
	if isRetry {
		d.Key, d.Sequence = "again-"+d.Key, 0
	}
	return n.Deliverer.Deliver(ctx, d)
}

// report shows, once in a while, what the receiver has before it.
func (n *Subscriber) report(ctx context.Context) error {
	if time.Since(n.reported) < statsEvery {
		return nil
	}
	pending := 0.0
	for _, cons := range []jetstream.Consumer{n.results, n.retries} {
		info, err := cons.Info(ctx)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("reading the state of consumer %s: %w", layout.ConsumerOfReceiver(n.Subscription.Receiver), err)
		}
		if err == nil {
			pending += float64(before(info))
		}
	}
	n.Recorder.SetNotificationsPending(n.Subscription.Receiver, pending)
	n.reported = time.Now()
	return nil
}

func before(info *jetstream.ConsumerInfo) int { return int(info.NumPending) + info.NumAckPending }

// lingering is ctx, but goes on for a while when ctx ends.
func lingering(ctx context.Context, grace time.Duration) (out context.Context, release func()) {
	out, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		_ = backoff.Sleep(out, grace) // Cut off either way.
		cancel(errCutOff)
	})
	return out, func() { stop(); cancel(nil) }
}

// SubscriptionState is what a receiver has in NATS now.
type SubscriptionState struct {
	Known   bool // Some worker has begun to serve it.
	Pending int  // Notices that it has before it.
}

// SubscriptionState reads what a receiver has in NATS.
func (c *Conn) SubscriptionState(ctx context.Context, receiver string) (SubscriptionState, error) {
	var state SubscriptionState
	for _, stream := range []string{c.names.Results(), c.names.Jobs()} {
		info, err := c.receiverConsumer(ctx, stream, receiver)
		if err != nil {
			return state, err
		}
		if info != nil {
			state.Known, state.Pending = true, state.Pending+before(info)
		}
	}
	return state, nil
}

// RemoveSubscription deletes what a receiver has in NATS, which no worker must be serving, and returns how many results were
// not delivered to it. What an operator has sent again stays until it is delivered.
func (c *Conn) RemoveSubscription(ctx context.Context, receiver string) (left int, err error) {
	info, err := c.receiverConsumer(ctx, c.names.Results(), receiver)
	if err != nil {
		return 0, err
	}
	if info != nil {
		left = before(info)
		if err := c.removeConsumer(ctx, c.names.Results(), receiver); err != nil {
			return left, err
		}
	}
	info, err = c.receiverConsumer(ctx, c.names.Jobs(), receiver)
	if err != nil || info == nil || before(info) > 0 {
		return left, err
	}
	return left, c.removeConsumer(ctx, c.names.Jobs(), receiver)
}

// receiverConsumer returns the state of a receiver's consumer, or nil when there is none.
func (c *Conn) receiverConsumer(ctx context.Context, stream, receiver string) (*jetstream.ConsumerInfo, error) {
	cons, err := c.js.Consumer(ctx, stream, layout.ConsumerOfReceiver(receiver))
	if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil //nolint:nilnil // It is as documented.
	}
	if err != nil {
		return nil, fmt.Errorf("reading consumer %s of stream %s: %w", layout.ConsumerOfReceiver(receiver), stream, err)
	}
	return cons.CachedInfo(), nil
}

func (c *Conn) removeConsumer(ctx context.Context, stream, receiver string) error {
	err := c.js.DeleteConsumer(ctx, stream, layout.ConsumerOfReceiver(receiver))
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("deleting consumer %s of stream %s: %w", layout.ConsumerOfReceiver(receiver), stream, err)
	}
	return nil
}

// Errors of Renotify that callers branch on.
var (
	// ErrNoReceiver says that no worker serves the receiver.
	ErrNoReceiver = errors.New("no worker has this receiver of notifications")
	// ErrNotWhole says that a dead letter does not carry the whole result.
	ErrNotWhole = errors.New("the result was too large for its dead letter")
)

// DeadLetterNotification stores the dead letter of a notification. It carries the result as it was published,
// which holds no secrets.
func (c *Conn) DeadLetterNotification(ctx context.Context, l notify.DeadLetter) error {
	msg := &nats.Msg{Subject: c.names.DeadNotification(), Header: nats.Header{}, Data: l.Delivery.Data}
	if limit := c.carries(); len(l.Delivery.Data) > limit {
		msg.Header.Set(names.HeaderTruncated, strconv.Itoa(len(l.Delivery.Data)))
		msg.Data = l.Delivery.Data[:min(limit, event.CutPayload)]
	}
	msg.Header.Set(names.HeaderReceiver, l.Receiver)
	msg.Header.Set(names.HeaderCode, l.Code)
	msg.Header.Set(names.HeaderReason, headerText(l.Reason))
	msg.Header.Set(names.HeaderJobID, l.JobID)
	msg.Header.Set(names.HeaderKind, string(l.Kind))
	id := fmt.Sprintf("notify.%s.%s.%d.dead", l.Receiver, l.Delivery.Key, l.Delivery.Since.UnixNano())
	if err := c.publishOnce(ctx, c.names.DeadLetters(), msg, id, l.Delivery.Count > 1, l.Delivery.Since); err != nil {
		return fmt.Errorf("putting a notification among the dead letters: %w", err)
	}
	return nil
}

// Renotify sends the result of a dead letter to its receiver once more. The letter must come from
// Show. Its notification has the id that it had, so that a receiver who has it drops it.
func (c *Conn) Renotify(ctx context.Context, letter DeadLetter) error {
	if nats.Header(letter.Header).Get(names.HeaderTruncated) != "" {
		return ErrNotWhole
	}
	_, err := c.js.Consumer(ctx, c.names.Jobs(), layout.ConsumerOfReceiver(letter.Receiver))
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("%w: %s", ErrNoReceiver, letter.Receiver)
	}
	if err != nil {
		return fmt.Errorf("looking for the receiver %s: %w", letter.Receiver, err)
	}
	msg := &nats.Msg{Subject: c.names.Renotify(letter.Receiver), Data: []byte(letter.Payload), Header: nats.Header{}}
	id := fmt.Sprintf("renotify.%d.%d", letter.Number, letter.At.UnixNano())
	if _, err := c.js.PublishMsg(ctx, msg, jetstream.WithMsgID(id), jetstream.WithExpectStream(c.names.Jobs())); err != nil {
		return fmt.Errorf("sending the notification again: %w", err)
	}
	return nil
}
