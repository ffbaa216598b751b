package app

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"rekey/internal/backoff"
	"rekey/internal/bus"
	"rekey/internal/layout"
	"rekey/internal/ledger"
	"rekey/internal/quiet"
	"rekey/internal/stores"
	"rekey/internal/wire"
)

// openTimeout bounds one attempt to prepare JetStream. The next one finds what was made, and asks
// again where an answer was lost.
const openTimeout = 10 * time.Second

// storage is what lives in JetStream.
type storage struct {
	chains    *stores.Chains
	ledger    *ledger.Ledger
	schedules stores.Schedules
	notify    *stores.Receivers
}

// preparation is how far a worker is with what it needs in JetStream.
type preparation struct {
	mu   sync.Mutex // Guards what follows.
	done bool
	err  error // Why the last attempt failed.
}

func (p *preparation) set(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done, p.err = err == nil, err
}

// check reports, as an error, that something is missing yet, and why.
func (p *preparation) check() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.done:
		return nil
	case p.err != nil:
		return fmt.Errorf("streams and buckets are not prepared yet: %w", p.err)
	}
	return errors.New("streams and buckets are not prepared yet")
}

// prepare creates what is missing in JetStream. NATS may come up later than the worker,
// so it is attempted until it works or ctx ends.
func (w *worker) prepare(ctx context.Context) (storage, error) {
	const longest = 15 * time.Second
	w.upkeep = &bus.Upkeep{
		Conn: w.conn, Layout: func() layout.Layout { return wire.Layout(w.running.Load()) }, Recorder: w.metrics, Logger: w.Logger,
		Made: func(streams []string) {
			// An event is the message of a job that a slot runs at once.
			lost := slices.Contains(streams, w.conn.Names().Jobs()) || slices.Contains(streams, w.conn.Names().Events())
			if !lost || slices.Contains(streams, "KV_"+ledger.RecordsBucket(w.Config.NATS.Namespace)) {
				return // No message was lost of a job that the ledger knows.
			}
			select {
			case w.lost <- struct{}{}:
			default: // It is to look already.
			}
		},
	}
	var failures quiet.Failures
	for n := 1; ; n++ {
		s, err := w.open(ctx)
		w.prepared.set(w.conn.Explain(err))
		if err == nil {
			w.background(partUpkeep, w.upkeep.Run) //nolint:contextcheck // As the other parts.
			return s, nil
		}
		err = w.conn.Explain(err)
		delay := backoff.Delay(250*time.Millisecond, longest, n)
		if repeated, news := failures.News("prepare", err); news {
			w.log.Warn("JetStream is not ready", zap.Duration("delay", delay), zap.Error(err), repeated)
		}
		if err := backoff.Sleep(ctx, delay); err != nil {
			return storage{}, err
		}
	}
}

func (w *worker) open(ctx context.Context) (s storage, err error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := w.conn.Ready(); err != nil {
		return s, err
	}
	if err := w.upkeep.Look(ctx); err != nil {
		return s, err
	}
	s.ledger = ledger.New(w.conn.JetStream(), ledger.Config{Namespace: w.Config.NATS.Namespace, Replicas: w.Config.NATS.Replicas})
	s.schedules, s.notify, s.chains = stores.NewSchedules(w.conn), stores.NewReceivers(w.conn), stores.NewChains(w.conn, w.Logger)
	if !w.Config.NATS.IsEmbedded() && w.Config.NATS.Replicas == 1 {
		w.log.Warn("each stream has one copy: a lost server is lost data; nats.replicas says how many there are to be")
	}
	return s, w.conn.AskTime(ctx) // Before anything is compared with it.
}

// startKeys reads the keys. Configured ones must be there; derived ones may come late, as their
// accounts' secrets may.
func (w *worker) startKeys() error {
	external := !w.Config.NATS.IsEmbedded()
	if !external && len(w.Config.Seal.Keys) == 0 {
		if err := wire.MakeStoreKey(filepath.Join(w.Config.NATS.Embedded.StoreDir, wire.StoreKey)); err != nil {
			return err
		}
	}
	w.Known.Use(wire.SecretPlaces(w.Config)) // With the key that may just have been made.
	keys, err := wire.KeysOf(w.Config, w.accounts, w.LookupEnv)
	if err != nil && (!external || len(w.Config.Seal.Keys) > 0) {
		return fmt.Errorf("reading the keys of sealed values: %w", err)
	}
	if keys.ID() == "" {
		w.log.Warn("there is no key yet to seal secrets with, and to mark events of doors and clients: configure seal.keys; until then, what comes "+
			"over HTTP is answered with 503, and events in the names of doors and clients are not taken in", zap.Error(err))
	}
	w.keys = keys
	w.conn.UseMarks(wire.Sealer{Keyring: keys})
	return nil
}
