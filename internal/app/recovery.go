package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"rekey/internal/bus"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/ledger"
)

const (
	// heldByNone is for how long a message must be held by a worker that is gone. Where this process runs the only server,
	// no worker is there yet.
	heldByNone = 10 * time.Millisecond
	// heldByOthers is the same where others work on: it is longer than most of what they do.
	heldByOthers = time.Second
	// longestClaim is longer than any claim: an older one is over by itself.
	longestClaim = 24 * time.Hour
)

// recovery takes up what was left behind: at the start what a predecessor held that was killed, and later the jobs whose
// messages were lost with their stream.
type recovery struct {
	*worker
	ledger   *ledger.Ledger
	operator *jobs.Operator
	checks   jobs.CheckQueue
	named    bool // The name was given to this worker, and no other process that lives has it.
}

// startRecovery takes up what a killed predecessor held, before this worker takes anything. That it is gone is certain in
// two cases: this process holds the lock on the store of the server, or nothing answers any more under the predecessor's
// instance of this worker's own name. All other claims keep their lease.
func (w *worker) startRecovery(ctx context.Context, s storage) {
	r := &recovery{worker: w, ledger: s.ledger, operator: fleet.Own(w.conn, s.ledger, w.Config, w.keys, w.Known).Operator(), checks: w.newAnnouncer(nil, nil)}
	switch {
	case w.embedded == nil && w.Config.Worker.Name != "":
		r.named = r.appear(ctx)
	case w.embedded != nil && w.embedded.IsLocked():
		if err := w.conn.HandOverAgain(ctx, heldByNone); err != nil && ctx.Err() == nil {
			w.log.Warn("what a killed worker held comes when its time is over", zap.Error(err))
		}
	}
	w.background(partRecovery, r.run) //nolint:contextcheck // As the other parts.
}

// appear shows that this worker lives, and reports whether it is certain that no other process has its name.
func (r *recovery) appear(ctx context.Context) bool {
	presence := bus.Presence{Conn: r.conn, Worker: r.Name, Instance: r.self.Instance}
	namesake, err := presence.Appear(ctx)
	if err != nil && ctx.Err() == nil {
		r.log.Warn("whether another process has this worker's name is not known; claims keep their lease", zap.String("worker", r.Name), zap.Error(err))
	}
	if namesake != "" {
		r.log.Error("another process that runs has the same worker.name: give each worker a name of its own; until then claims keep their lease",
			zap.String("worker", r.Name), zap.String("instance", namesake))
	}
	if err != nil || namesake != "" {
		return false
	}
	r.self.OwnsName(presence)
	return true
}

// isGone reports whether a claim is one of a process that ran the embedded server before this one.
func (w *worker) isGone(c jobs.Claim) bool {
	return w.embedded != nil && w.embedded.IsLocked() && c.Embedded && c.Instance != w.self.Instance
}

func (r *recovery) run(ctx context.Context) error {
	if r.named {
		r.takeUp(ctx)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.lost:
		}
		if err := r.requeue(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("queueing unfinished jobs again: %w", err)
		}
	}
}

// requeue queues the jobs and the checks again whose messages were lost with their stream.
func (r *recovery) requeue(ctx context.Context) error {
	since := r.conn.Clock().Now().Add(-r.lookedAt())
	n, checks := 0, 0
	err := r.each(ctx, time.Time{}, func(rec jobs.PublicRecord) error {
		if !rec.Done() {
			n++
			return r.operator.Requeue(ctx, rec.JobID)
		}
		if !rec.LookedAt() || rec.AcceptedAt.Before(since) {
			return nil
		}
		did, err := r.operator.Recheck(ctx, rec.JobID, r.checks)
		if did {
			checks++
		}
		return err
	})
	if n+checks > 0 {
		r.log.Warn("jobs and checks whose messages were lost with their stream are queued again", zap.Int("jobs", n), zap.Int("checks", checks))
	}
	return err
}

// lookedAt is how old a job may be whose target is still looked at.
func (r *recovery) lookedAt() time.Duration {
	c := r.running.Load()
	return c.Retry.MaxAge + 2*c.Proof.Within + c.Proof.Watch
}

// takeUp releases what a predecessor of this worker's name had claimed, and has handed over again what it held. What fails
// is not lost: it comes when its lease is over.
func (r *recovery) takeUp(ctx context.Context) {
	n, isGone := 0, func(c jobs.Claim) bool { return r.self.IsGone(ctx, c.Worker, c.Instance) }
	err := r.each(ctx, r.conn.Clock().Now().Add(-longestClaim), func(rec jobs.PublicRecord) error {
		if rec.State != jobs.StateRunning {
			return nil
		}
		did, err := r.operator.Release(ctx, rec.JobID, isGone)
		if did {
			n++
		}
		return err
	})
	if n > 0 {
		r.log.Warn("jobs that a killed worker of the same name had claimed are due at once", zap.String("worker", r.Name), zap.Int("jobs", n))
	}
	err = errors.Join(err, r.conn.HandOverAgain(ctx, heldByOthers))
	if err != nil && ctx.Err() == nil {
		r.log.Warn("what a killed worker held comes when its time is over", zap.Error(err))
	}
}

// each calls do for the records that were written since a moment. A job for which it fails is logged, and does not hold up the
// others.
func (r *recovery) each(ctx context.Context, since time.Time, do func(jobs.PublicRecord) error) error {
	return r.ledger.Each(ctx, since, func(rec jobs.PublicRecord) error {
		if err := do(rec); err != nil && ctx.Err() == nil {
			r.log.Warn("a job cannot be taken up", zap.String("job_id", rec.JobID), zap.Error(err))
		}
		return nil
	})
}
