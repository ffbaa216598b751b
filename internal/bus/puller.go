package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"rekey/internal/backoff"
	"rekey/internal/fair"
	"rekey/internal/jobs"
	"rekey/internal/quiet"
	"rekey/internal/redact"
)

// fetchWait is how long one pull request stays open. It is never cut short: what the server
// has sent by then would be lost until ackWait is over. So it is also how long a stop takes.
const fetchWait = 500 * time.Millisecond

// puller pulls messages of one consumer ahead of their handling, as many as depth, and keeps
// all that are held (ahead or in hand) alive at the server.
type puller struct {
	conn  *Conn
	cons  jetstream.Consumer
	depth int
	out   chan *delivery
	taken chan struct{} // Holds a token after a message was taken from out.
	renew time.Duration // How often the server gets a sign of life for held messages.
	after atomic.Uint64 // How many messages the server had behind the last one that it handed over.
	log   *zap.Logger

	mu   sync.Mutex // Guards hold.
	held map[*delivery]struct{}
}

// delivery is a message between its delivery and its settlement.
type delivery struct {
	jetstream.Msg
	puller *puller
	meta   *jetstream.MsgMetadata
	opened *jobs.Opened // The message is an event whose job is to be run; nil: it is a job.
}

func newPuller(c *Conn, cons jetstream.Consumer, depth int, log *zap.Logger) *puller {
	return &puller{
		conn: c,
		cons: cons, depth: depth, out: make(chan *delivery, depth), taken: make(chan struct{}, 1),
		renew: cons.CachedInfo().Config.AckWait / 3, log: log, held: map[*delivery]struct{}{},
	}
}

// run pulls until ctx ends; then it closes out. What is left in out is not handled.
func (f *puller) run(ctx context.Context) {
	defer close(f.out)
	const pulling = "pulling messages"
	var failures quiet.Failures
	for ctx.Err() == nil {
		if len(f.out) > f.depth/2 {
			select {
			case <-ctx.Done():
			case <-f.taken:
			}
			continue
		}
		err := f.pull(f.depth - len(f.out))
		if err == nil {
			failures.Over(pulling)
			continue
		}
		if ctx.Err() == nil && f.conn.nc.IsConnected() { // Else the connection says why.
			failures.Warn(f.log, pulling, err, zap.String("consumer", f.cons.CachedInfo().Name))
		}
		f.conn.suspect()
		_ = backoff.Sleep(ctx, time.Second) // The loop ends with ctx.
	}
}

// took tells the feed that a consumer took a message from out.
func (f *puller) took() {
	select {
	case f.taken <- struct{}{}:
	default: // The feed knows already.
	}
}

// pull hands over what one pull request brings.
func (f *puller) pull(room int) error {
	batch, err := f.cons.Fetch(room, jetstream.FetchMaxWait(fetchWait))
	if err != nil {
		return err
	}
	none := true
	for msg := range batch.Messages() {
		h, err := f.take(msg)
		if err != nil {
			return err
		}
		f.out <- h // Never blocks: no more than room are pulled.
		none = false
	}
	if none { // Other workers have what was behind the last one.
		f.after.Store(0)
	}
	return batch.Error()
}

func (f *puller) take(msg jetstream.Msg) (*delivery, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, err
	}
	f.after.Store(meta.NumPending)
	h := &delivery{Msg: msg, puller: f, meta: meta}
	h.hold()
	return h, nil
}

// behind is how many messages have to be handled before one that is published now, as far as this worker knows.
func (f *puller) behind() int { return len(f.out) + int(f.after.Load()) }

// hold keeps a message alive until drop.
func (h *delivery) hold() {
	h.puller.mu.Lock()
	defer h.puller.mu.Unlock()
	h.puller.held[h] = struct{}{}
}

// drop ends the care for a message. It comes before the settlement: a sign of life behind
// a delayed put-back would undo the delay.
func (h *delivery) drop() {
	h.puller.mu.Lock()
	defer h.puller.mu.Unlock()
	delete(h.puller.held, h)
}

// redelivered reports whether the message was handed over before.
func (h *delivery) redelivered() bool { return h.meta.NumDelivered > 1 }

// keepAlive tells the server, three times per its AckWait, that held messages are in work.
// An error needs no handling: the server hands the message over again, and the ledger
// holds the claim.
func (f *puller) keepAlive(ctx context.Context) {
	ticker := time.NewTicker(f.renew)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			f.signOfLife()
		}
	}
}

func (f *puller) signOfLife() {
	f.mu.Lock()
	all := slices.Collect(maps.Keys(f.held))
	f.mu.Unlock()
	for _, h := range all { // There may be thousands: the lock is for one at a time.
		f.renewOne(h)
	}
}

// renewOne tells the server that a message is in work, if it still is.
func (f *puller) renewOne(h *delivery) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.held[h]; !ok {
		return
	}
	if err := h.InProgress(); err != nil {
		f.log.Debug("keeping a message alive", zap.Error(err))
	}
}

// serve pulls messages and handles them with n workers until ctx ends; then it returns
// when those in hand are handled. handle sees the ended ctx for those not begun.
func (f *puller) serve(ctx context.Context, n int, handle func(*delivery)) {
	f.whileAlive(ctx, func(workers *sync.WaitGroup) {
		for range n {
			workers.Go(func() {
				for h := range f.out {
					f.took()
					handle(h)
				}
			})
		}
	})
}

// serveInTurn is serve for messages of several senders, which take turns. More of them are held than are pulled ahead, so that one that came
// behind many of another sender is handed over before these.
func (f *puller) serveInTurn(ctx context.Context, n int, turns fair.Config, sender func(*delivery) string, handle func(*delivery)) {
	queue := fair.New[*delivery](turns)
	f.whileAlive(ctx, func(workers *sync.WaitGroup) {
		workers.Go(func() {
			defer queue.Close()
			for h := range f.out {
				f.took()
				queue.Put(sender(h), h, len(h.Data()))
			}
		})
		for range n {
			workers.Go(func() {
				for h, done, ok := queue.Take(); ok; h, done, ok = queue.Take() {
					handle(h)
					done()
				}
			})
		}
	})
}

// whileAlive pulls messages until ctx ends, and keeps those that are held alive at the server until all workers have ended, beyond the end of ctx.
func (f *puller) whileAlive(ctx context.Context, start func(workers *sync.WaitGroup)) {
	alive, done := context.WithCancel(context.WithoutCancel(ctx))
	defer done()
	var keeper, workers sync.WaitGroup
	keeper.Go(func() { f.keepAlive(alive) })
	workers.Go(func() { f.run(ctx) })
	start(&workers)
	workers.Wait()
	done()
	keeper.Wait()
}

// settleTimeout bounds the server's confirmation of one settled message.
const settleTimeout = 5 * time.Second

// settle is the one place that tells the server what became of a message, and waits for
// its confirmation. Without one the server hands the message over again after ackWait,
// and the ledger says what was done already.
func settle(ctx context.Context, nc *nats.Conn, msg jetstream.Msg, v jobs.Settlement) error {
	answer := []byte("+ACK")
	if !v.Done {
		delay, err := json.Marshal(map[string]int64{"delay": max(v.Delay, time.Millisecond).Nanoseconds()})
		if err != nil {
			return fmt.Errorf("encoding a delay: %w", err)
		}
		answer = append([]byte("-NAK "), delay...)
	}
	// A settlement goes out although the worker is stopping.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	_, err := nc.RequestWithContext(ctx, msg.Reply(), answer)
	if errors.Is(err, nats.ErrReconnectBufExceeded) {
		err = errOffline
	}
	if err != nil {
		return fmt.Errorf("settling message %s: %w", redact.Scrub(msg.Subject()), err)
	}
	return nil
}
