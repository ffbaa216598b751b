package app

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"rekey/internal/jobs"
	"rekey/internal/kv"
	"rekey/internal/quiet"
	"rekey/internal/stores"
)

// othersFresh is for how long what another worker has loaded is not read again: each event and job that this worker does not know asks for it.
const othersFresh = time.Second

// others are the rules that other workers have loaded, without their policies.
type others struct {
	failures quiet.Failures

	mu   sync.Mutex // Guards the rest.
	at   time.Time  // When they were read; zero: they were not.
	have []*jobs.Rules
	err  error // Why they could not be read.
}

// rules returns them, the latest first.
func (o *others) rules(ctx context.Context, w *worker) ([]*jobs.Rules, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.at.IsZero() && time.Since(o.at) < othersFresh {
		return o.have, o.err // All that wait for a question that had no answer do not ask it in turn.
	}
	o.have, o.err = o.read(ctx, w)
	if !errors.Is(o.err, context.Canceled) {
		o.at = time.Now()
	}
	return o.have, o.err
}

// read reads them.
func (o *others) read(ctx context.Context, w *worker) ([]*jobs.Rules, error) {
	latest, err := stores.LoadRules(ctx, w.conn)
	var known []stores.Known
	switch {
	case err == nil:
		known = latest.Of(w.Name, w.conn.Clock().Now())
	case errors.Is(err, kv.ErrUndecodable):
		o.ignore(w, err)
	case !errors.Is(err, jobs.ErrNotFound):
		return nil, err
	}
	var have []*jobs.Rules
	for _, one := range known {
		rules, err := one.Rules(w.Config.NATS.Namespace)
		if err != nil {
			o.ignore(w, err)
			continue
		}
		have = append(have, rules)
	}
	return have, nil
}

// ignore passes over what cannot be read: it tells nothing about what others have loaded, and what this worker does not know must not wait for it.
func (o *others) ignore(w *worker, err error) {
	o.failures.Warn(w.log, "the rules that another worker has shown cannot be read and are ignored", err)
}

// elsewhere reports whether another worker is to have a job, or a look at its target, that came due at a moment.
func (w *worker) elsewhere(ctx context.Context, j jobs.Job, due time.Time) (bool, error) {
	err := w.fanout.Elsewhere(ctx, j, due, w.conn.Clock().Now())
	if !errors.Is(err, jobs.ErrElsewhere) {
		return false, err
	}
	w.others.failures.Warn(w.log, "job is left to another worker", err, zap.String("job_id", j.ID), zap.String("kind", string(j.Kind)), zap.String("account", j.Account))
	return true, nil
}
