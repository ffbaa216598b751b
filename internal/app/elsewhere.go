package app

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"rekey/internal/jobs"
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
}

// rules returns them, the latest first.
func (o *others) rules(ctx context.Context, w *worker) ([]*jobs.Rules, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.at.IsZero() && time.Since(o.at) < othersFresh {
		return o.have, nil
	}
	latest, err := stores.LoadRules(ctx, w.conn)
	if err != nil && !errors.Is(err, jobs.ErrNotFound) {
		return nil, err
	}
	var have []*jobs.Rules
	if err == nil {
		for _, one := range latest.Of(w.Name, w.conn.Clock().Now()) {
			rules, err := one.Rules(w.Config.NATS.Namespace)
			if err != nil {
				return nil, err
			}
			have = append(have, rules)
		}
	}
	o.at, o.have = time.Now(), have
	return have, nil
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
