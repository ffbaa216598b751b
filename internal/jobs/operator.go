package jobs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"rekey/internal/kinds"
)

// Originals gives back the parameters that a job's first event asked for it with, secrets
// included, or ErrNotFound when the event is not kept any more.
type Originals interface {
	Params(ctx context.Context, rec *Record) (Params, error)
}

// Operator does to jobs what people ask for. Every operation is recorded on the job.
type Operator struct {
	ledger    Ledger
	targets   Targets
	queue     Queue
	originals Originals
	now       func() time.Time
}

// NewOperator returns an Operator on these parts. now is the time that all workers share, see internal/clock: it says when
// an operation was done, for a job's age may count from there.
func NewOperator(l Ledger, t Targets, q Queue, o Originals, now func() time.Time) *Operator {
	return &Operator{ledger: l, targets: t, queue: q, originals: o, now: now}
}

// Retry queues a job once more: one that was refused, exhausted or cancelled begins
// anew with all its attempts, one that waits is due at once. ErrSucceeded and
// ErrRunning say that there is nothing to do, ErrAsked that it is queued already. After an error it can be repeated.
func (o *Operator) Retry(ctx context.Context, id string, op Operation) (Record, error) {
	return o.change(ctx, id, func(entry Entry) (Record, error) {
		begun, rec := time.Now(), entry.Record
		if err := o.mayRetry(ctx, entry); err != nil {
			return rec, err
		}
		params, err := o.params(ctx, &rec)
		if err != nil {
			return rec, err
		}
		if rec.State == StateQueued && !rec.CancelAsked {
			return rec, o.once(ctx, rec.job(params))
		}
		rec.Round++ // Another message, and another result.
		job := rec.job(params)
		if rec.Done() {
			if err := o.takeTarget(ctx, job); err != nil {
				return rec, err
			}
		}
		// The queue comes first: a message too many is harmless, one too few is a job that
		// no worker runs. The runner puts a message back whose round is ahead of the record.
		if err := o.queue.Enqueue(ctx, job); err != nil {
			return rec, fmt.Errorf("queueing job %s: %w", id, err)
		}
		op.At = o.now().UTC()
		rec.reopen(op)
		entry.Record = rec
		if _, err := o.ledger.Update(ctx, entry); err != nil {
			return rec, fmt.Errorf("recording the operation on job %s: %w", id, err)
		}
		if passed(begun) < creationTimeout/2 {
			return rec, nil
		}
		// That took so long that the message may have been forgotten for want of the record.
		return rec, o.queue.Enqueue(ctx, job)
	})
}

// once is ErrAsked, once the message of what was asked for before is there: it may have been lost, and one too many is harmless.
func (o *Operator) once(ctx context.Context, job Job) error {
	if err := o.queue.Enqueue(ctx, job); err != nil {
		return fmt.Errorf("queueing job %s: %w", job.ID, err)
	}
	return ErrAsked
}

// mayRetry reports, as an error, that there is nothing to retry.
func (o *Operator) mayRetry(ctx context.Context, entry Entry) error {
	rec := &entry.Record
	if rec.Outcome.Success() && !rec.Alive() {
		return ErrSucceeded
	}
	if rec.State != StateRunning {
		return nil
	}
	age, err := o.ledger.Age(ctx, entry)
	if err == nil && age < rec.Claim.lease() {
		err = ErrRunning
	}
	return err
}

// Cancel asks a job to end before its next attempt. A worker does it: when it comes to the job in its lane, or after
// the call that is under way. ErrEnded says that it has an outcome already, and ErrAsked that it was cancelled before.
func (o *Operator) Cancel(ctx context.Context, id string, op Operation) (Record, error) {
	return o.change(ctx, id, func(entry Entry) (Record, error) {
		rec := entry.Record
		if rec.Done() {
			return rec, ErrEnded
		}
		wake := rec.job(Params{})
		wake.Wake = true
		if rec.CancelAsked {
			return rec, o.once(ctx, wake)
		}
		rec.CancelAsked = true
		op.At = o.now().UTC()
		rec.note(op)
		entry.Record = rec
		if _, err := o.ledger.Update(ctx, entry); err != nil {
			return rec, fmt.Errorf("recording the operation on job %s: %w", id, err)
		}
		return rec, o.queue.Enqueue(ctx, wake)
	})
}

// StopWatch ends the watch of a job's target. The message of its check ends when it is due. ErrNotWatched and ErrPending say
// that there is no watch.
func (o *Operator) StopWatch(ctx context.Context, id string, op Operation) (Record, error) {
	return o.change(ctx, id, func(entry Entry) (Record, error) {
		rec := entry.Record
		if err := rec.mayLook(); err != nil {
			return rec, err
		}
		proof := *rec.Proof
		proof.NextCheckAt = time.Time{}
		rec.Proof, rec.Proving = &proof, nil
		op.At = o.now().UTC()
		rec.note(op)
		entry.Record = rec
		_, err := o.ledger.Update(ctx, entry)
		return rec, err
	})
}

// CheckNow has a watched target looked at at once. The look is due in the ledger before its message is queued, and so is made when its watch
// goes on where that message is lost. ErrNotWatched and ErrPending say that there is no watch.
func (o *Operator) CheckNow(ctx context.Context, id string, op Operation, checks CheckQueue) (Record, error) {
	return o.change(ctx, id, func(entry Entry) (Record, error) {
		rec := entry.Record
		if err := rec.mayLook(); err != nil {
			return rec, err
		}
		proof := *rec.Proof
		op.At = o.now().UTC()
		proof.NextCheckAt, rec.Proof = op.At, &proof
		rec.note(op)
		entry.Record = rec
		if _, err := o.ledger.Update(ctx, entry); err != nil {
			return rec, err
		}
		wake := rec.job(Params{})
		wake.Wake = true
		return rec, checks.EnqueueCheck(ctx, wake, rec)
	})
}

// mayLook reports, as ErrNotWatched or ErrPending, that the target is not watched.
func (r *Record) mayLook() error {
	switch {
	case r.Looking():
		return ErrPending
	case !r.Watched():
		return ErrNotWatched
	}
	return nil
}

// Lookout is the job of a watch whose message carries no parameters. Those that are secret are left out: a watch needs none.
func (r *Record) Lookout() Job {
	plain := maps.Clone(r.Params)
	for _, p := range kinds.Of(r.Kind).Secrets() {
		delete(plain, p.Name)
	}
	return r.job(Params{plain: plain, target: r.Target, key: r.TargetKey})
}

// Drop records that the dead letter of a job that was written at a moment is dropped. Where it is of an earlier end of the job, which was
// retried since, that says nothing of the latest.
func (o *Operator) Drop(ctx context.Context, id string, written time.Time, op Operation) error {
	_, err := o.change(ctx, id, func(entry Entry) (Record, error) {
		op.At = o.now().UTC()
		entry.Record.note(op)
		if entry.Record.Done() && !written.Before(entry.Record.ReopenedAt) {
			entry.Record.DroppedAt = op.At
		}
		_, err := o.ledger.Update(ctx, entry)
		return entry.Record, err
	})
	return err
}

// Release takes the claim of a worker that is gone off a job, which is due at once then, and reports whether it did. What
// became of the call that was under way is not known: its attempt is closed as that of a lost worker, without waiting for
// the end of the lease.
func (o *Operator) Release(ctx context.Context, id string, gone func(Claim) bool) (released bool, err error) {
	_, err = o.change(ctx, id, func(entry Entry) (Record, error) {
		rec := entry.Record
		if released = rec.State == StateRunning && gone(rec.Claim); !released {
			return rec, nil
		}
		rec.closeLost(o.now())
		rec.requeue()
		entry.Record = rec
		_, err := o.ledger.Update(ctx, entry)
		return rec, err
	})
	return released && err == nil, err
}

// Requeue puts a job that has no outcome into the queue once more, unchanged, for its message was lost. A message too
// many is harmless.
func (o *Operator) Requeue(ctx context.Context, id string) error {
	entry, err := o.ledger.Load(ctx, id)
	if err != nil || entry.Record.Done() {
		return err
	}
	params, err := o.params(ctx, &entry.Record)
	if err != nil {
		return err
	}
	return o.queue.Enqueue(ctx, entry.Record.job(params))
}

// CheckQueue takes checks of jobs that have succeeded. Putting the same one twice is harmless.
type CheckQueue interface {
	EnqueueCheck(ctx context.Context, j Job, r Record) error
}

// Recheck puts the check of a job whose target is still looked at into the queue once more, for its message was lost.
func (o *Operator) Recheck(ctx context.Context, id string, checks CheckQueue) (queued bool, err error) {
	entry, err := o.ledger.Load(ctx, id)
	if err != nil || !entry.Record.LookedAt() {
		return false, err
	}
	params, err := o.params(ctx, &entry.Record)
	if err != nil {
		return false, err
	}
	return true, checks.EnqueueCheck(ctx, entry.Record.job(params), entry.Record)
}

// change loads a record and changes it, again after a conflict.
func (o *Operator) change(ctx context.Context, id string, change func(Entry) (Record, error)) (Record, error) {
	for range maxRaces {
		entry, err := o.ledger.Load(ctx, id)
		if err != nil {
			return Record{}, fmt.Errorf("loading job %s: %w", id, err)
		}
		rec, err := change(entry)
		if !errors.Is(err, ErrConflict) {
			return rec, err
		}
	}
	return Record{}, fmt.Errorf("changing job %s: %w", id, ErrConflict)
}

// params returns what the job needs to be queued anew. The record has it all, secrets sealed; a
// secret that was allowed to stay in the clear only the original event has.
func (o *Operator) params(ctx context.Context, rec *Record) (Params, error) {
	hidden := rec.hiddenSecret()
	if hidden == "" {
		raw := make(map[string]any, len(rec.Params))
		for name, value := range rec.Params {
			raw[name] = value
		}
		for name, id := range rec.BackAs { // What came back has the target's meaning under another id.
			raw[name] = id
		}
		for name, text := range rec.Sealed {
			raw[name] = text // A secret parameter takes its sealed form as well.
		}
		params, err := NewParams(rec.Kind, raw)
		params.target, params.key = rec.Target, rec.TargetKey
		return params, err
	}
	params, err := o.originals.Params(ctx, rec)
	if errors.Is(err, ErrNotFound) {
		return Params{}, fmt.Errorf("the event with the %s of job %s is not kept any more; submit the %[1]s again", hidden, rec.JobID)
	}
	if err != nil {
		return Params{}, fmt.Errorf("reading the event of job %s: %w", rec.JobID, err)
	}
	return params, nil
}

// hiddenSecret names the secret of which the record has no more than a fingerprint, or is "".
func (r *Record) hiddenSecret() string {
	for _, p := range kinds.Of(r.Kind).Secrets() {
		if _, shown := r.Params[p.Name]; shown && r.Sealed[p.Name] == "" {
			return p.Name
		}
	}
	return ""
}

// takeTarget makes the job the holder of its target again, unless another job that does the same is
// at work.
func (o *Operator) takeTarget(ctx context.Context, job Job) error {
	key := job.TargetKey()
	holder, err := o.targets.Load(ctx, key)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("looking up target %s: %w", job.Target(), err)
	}
	candidates := holder.jobs()
	holder.Others = nil
	for _, id := range candidates {
		if id == job.ID {
			continue
		}
		other, err := o.ledger.Load(ctx, id)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("looking up job %s: %w", id, err)
		}
		if !other.Record.Done() && other.Record.does(job) {
			return fmt.Errorf("job %s on the same target is at work", id)
		}
		holder.follow(&other.Record, job)
	}
	if holder.JobID == job.ID {
		return nil
	}
	holder.JobID, holder.At = job.ID, o.now()
	if err := o.targets.Save(ctx, key, holder); err != nil {
		return fmt.Errorf("taking target %s: %w", job.Target(), err)
	}
	return nil
}
