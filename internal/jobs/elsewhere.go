package jobs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// ReloadTime is how long what names an account or a rotation that this worker does not know is put back, from when it came due or another worker has
// loaded the name, whichever is later: all workers get a new configuration within it.
const ReloadTime = 15 * time.Minute

// ElsewhereDelay is how long it is put back at a time: half a second to one and a half, at random. After the same time each, it could meet the same idle
// worker again and again, as these renew their requests for messages at one pace.
func ElsewhereDelay() time.Duration {
	return time.Second/2 + rand.N(time.Second) //nolint:gosec // Which worker gets it needs no secrecy.
}

// ErrElsewhere says that another worker has loaded a configuration for an event or job, and this one has not yet.
var ErrElsewhere = errors.New("another worker has loaded a configuration for it, and this one has not yet")

// Elsewhere reports, as an ErrElsewhere, that these rules have no account for a job which came due at a moment, while those that another worker has
// loaded have one: an attempt here would be spent in vain. Another error says that this is not known.
func (r *Rules) Elsewhere(ctx context.Context, j Job, due, now time.Time) error {
	request := Request{Kind: j.Kind, Account: j.Account, Params: j.Params}
	_, _, err := r.resolve(request)
	if err == nil {
		return nil
	}
	return r.elsewhere(request, err, due, now, func() ([]*Rules, error) { return r.Others(ctx) })
}

// elsewhere is Elsewhere for a request that these rules do not know, as an error says. others are the rules that other workers have loaded.
func (r *Rules) elsewhere(request Request, unknown error, due, now time.Time, others func() ([]*Rules, error)) error {
	if r.Others == nil {
		return nil
	}
	recent := func(at time.Time) bool { return now.Before(at.Add(ReloadTime)) }
	list, err := others()
	if err != nil && recent(due) {
		return err
	}
	for _, one := range list {
		if _, _, err := one.resolve(request); err == nil && (recent(due) || recent(one.LoadedAt)) {
			// It is no mistake of the event: what is wrapped would count as one.
			return fmt.Errorf("%w: %s", ErrElsewhere, unknown.Error())
		}
	}
	return nil
}

// Elsewhere is that of the rules in force.
func (f *Fanout) Elsewhere(ctx context.Context, j Job, due, now time.Time) error {
	return f.rules.Load().Elsewhere(ctx, j, due, now)
}

// elsewhere reports whether another worker is to have the job.
func (r *Runner) elsewhere(ctx context.Context, job Job, rec *Record) (bool, error) {
	if r.cfg.Elsewhere == nil {
		return false, nil
	}
	due := rec.AcceptedAt
	if rec.RetryAt.After(due) {
		due = rec.RetryAt
	}
	return r.cfg.Elsewhere(ctx, job, due)
}
