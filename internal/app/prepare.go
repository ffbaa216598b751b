package app

import (
	"context"
	"time"

	"go.uber.org/zap"

	"rekey/internal/bus"
	"rekey/internal/ledger"
)

// openTimeout bounds one attempt to prepare JetStream. The next one finds what was made, and asks
// again where an answer was lost.
const openTimeout = 10 * time.Second

// stores are what lives in JetStream.
type stores struct {
	chains    *bus.Chains
	ledger    *ledger.Ledger
	schedules *scheduleStore
	notify    *notifyStore
}

// prepare creates what is missing in JetStream. NATS may come up later than the worker,
// so it is attempted until it works or ctx ends.
func (w *worker) prepare(ctx context.Context) (stores, error) {
	const longest = 15 * time.Second
	for delay := 250 * time.Millisecond; ; delay = min(2*delay, longest) {
		s, err := w.open(ctx)
		if err == nil {
			w.prepared.Store(true)
			return s, nil
		}
		w.log.Warn("JetStream is not ready", zap.Duration("delay", delay), zap.Error(w.conn.Explain(err)))
		timer := time.NewTimer(delay)
		select {
		case <-ctx.Done():
			timer.Stop()
			return stores{}, context.Cause(ctx)
		case <-timer.C:
		}
	}
}

func (w *worker) open(ctx context.Context) (s stores, err error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := w.conn.Ready(); err != nil {
		return s, err
	}
	layout := bus.Layout{Names: w.names, Replicas: w.Config.NATS.Replicas, Logger: w.Logger}
	if err := layout.Ensure(ctx, w.conn); err != nil {
		return s, err
	}
	s.ledger, err = ledger.Open(ctx, w.conn.JetStream(), ledger.Config{Namespace: w.Config.NATS.Namespace, Replicas: w.Config.NATS.Replicas})
	if err != nil {
		return s, err
	}
	if err := w.pace.Open(ctx); err != nil {
		return s, err
	}
	if w.tokens != nil {
		if err := w.tokens.Open(ctx); err != nil {
			return s, err
		}
	}
	s.schedules, err = openScheduleStore(ctx, w.conn, w.names, w.Config.NATS.Replicas)
	if err != nil {
		return s, err
	}
	if s.notify, err = openNotifyStore(ctx, w.conn, w.names, w.Config.NATS.Replicas); err != nil {
		return s, err
	}
	if s.chains, err = bus.OpenChains(ctx, w.conn, w.names, w.Config.NATS.Replicas, w.Logger); err != nil {
		return s, err
	}
	if !w.Config.NATS.IsEmbedded() && w.Config.NATS.Replicas == 1 {
		w.log.Warn("each stream has one copy: a lost server is lost data; nats.replicas says how many there are to be")
	}
	if err := w.conn.AskTime(ctx, w.names); err != nil { // Before anything is compared with it.
		return s, err
	}
	return s, layout.Inspect(ctx, w.conn)
}
