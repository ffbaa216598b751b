package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rekey/internal/kinds"
)

// openNew takes the target for the job of a new event, for most events are, and most targets were never taken. ErrConflict says that
// the target, or the job, is there already, or that the event has expired: then what there is must be looked at.
// A slot that has the job gives the turn of the target back.
func (d *Intake) openNew(ctx context.Context, e Event, job Job, leave func()) (Accepted, error) {
	if at := job.ExpiresAt; !at.IsZero() && !at.After(d.now()) {
		return Accepted{}, ErrConflict
	}
	taken := time.Now()
	if err := d.hold(ctx, job, Holder{}); err != nil {
		return Accepted{}, err
	}
	if e.Start != nil && job.oneCall() && e.Start(Opened{Job: job, Taken: taken, Recorded: leave}) {
		d.recorder.Enqueued(string(job.Kind), string(job.Lane), string(job.Origin))
		return Accepted{Result: EventAccepted, JobID: job.ID, Started: true}, nil
	}
	return d.create(ctx, job)
}

// hold makes the job the holder of its target, over what the target had.
func (d *Intake) hold(ctx context.Context, job Job, holder Holder) error {
	holder.JobID, holder.At = job.ID, d.now()
	if err := d.targets.Save(ctx, job.TargetKey(), holder); err != nil {
		return fmt.Errorf("taking target %s: %w", job.Target(), err)
	}
	return nil
}

// open takes the target for the job, or joins the unfinished job that does the same. ErrConflict
// asks for another round.
func (d *Intake) open(ctx context.Context, job Job, separate bool) (Accepted, error) {
	key := job.TargetKey()
	holder, err := d.targets.Load(ctx, key)
	switch {
	case errors.Is(err, ErrNotFound):
		holder = Holder{}
	case err != nil:
		return Accepted{}, fmt.Errorf("looking up target %s: %w", job.Target(), err)
	case holder.JobID == job.ID:
		age, err := d.holdAge(ctx, job, holder)
		if err != nil {
			return Accepted{}, err
		}
		if age < creationTimeout/2 { // Ours from before a crash, or a copy of the event is as far as we are.
			return d.create(ctx, job)
		} // Ours from long before: taken anew, for others may take it over by now.
	default:
		accepted, err := d.joinAny(ctx, job, &holder, separate)
		if err != nil || accepted.JobID != "" {
			return accepted, err
		}
	}
	if err := d.hold(ctx, job, holder); err != nil {
		return Accepted{}, err
	}
	return d.create(ctx, job)
}

// heldFor is how long ago the target was taken by its holder.
func (d *Intake) holdAge(ctx context.Context, job Job, h Holder) (time.Duration, error) {
	age, err := d.targets.Age(ctx, job.TargetKey(), h)
	if err != nil {
		return 0, fmt.Errorf("looking up when target %s was taken: %w", job.Target(), err)
	}
	return age, nil
}

// joined handles an event whose identity has joined a job before; the zero Accepted says that it has
// not. Where it did so with another request, that is a conflict.
func (d *Intake) joined(ctx context.Context, job Job) (Accepted, error) {
	into, err := d.targets.Joined(ctx, job.ID)
	if errors.Is(err, ErrNotFound) {
		return Accepted{}, nil
	}
	if err != nil {
		return Accepted{}, fmt.Errorf("looking up what job %s joined: %w", job.ID, err)
	}
	other, known, err := d.lookUp(ctx, into)
	switch {
	case err != nil:
		return Accepted{}, err
	case !known:
		return Accepted{Result: EventDuplicate, JobID: into}, nil
	case !other.Record.does(job):
		return Accepted{}, job.conflict(&other.Record)
	}
	return d.duplicate(ctx, job, other)
}

// joinAny joins an unfinished job on the target that does what the job would do. The zero Accepted says
// that the target is to be taken over: then holder remembers what the jobs that it named did and may
// still do.
func (d *Intake) joinAny(ctx context.Context, job Job, holder *Holder, separate bool) (Accepted, error) {
	accepted, err := d.joined(ctx, job)
	if err != nil || accepted.JobID != "" {
		return accepted, err
	}
	candidates := holder.jobs()
	holder.Others = nil
	for _, id := range candidates {
		other, known, err := d.lookUp(ctx, id)
		if err == nil && !known && id == holder.JobID {
			err = d.abandoned(ctx, job, *holder)
		}
		if err != nil {
			return Accepted{}, err
		}
		rec := &other.Record
		if known && (rec.joinedBy(job) || !separate && rec.joinable(job)) {
			return Accepted{Result: EventDuplicate, JobID: id}, d.join(ctx, job, other)
		}
		holder.follow(rec, job)
	}
	return Accepted{}, nil
}

// abandoned reports, as an error, that the holder of a target, which has no record, may
// still get one.
func (d *Intake) abandoned(ctx context.Context, job Job, h Holder) error {
	age, err := d.holdAge(ctx, job, h)
	if err == nil && age < creationTimeout {
		err = fmt.Errorf("job %s on the same target %w", h.JobID, errBeingMade)
	}
	return err
}

// follow remembers a job that had the target of another one before.
func (h *Holder) follow(r *Record, job Job) {
	if !r.actsOn(job) {
		return
	}
	if r.Outcome == OutcomeRevoked {
		h.Revoked = r.JobID
	}
	if !r.Done() && len(h.Others) < maxOthers {
		h.Others = append(h.Others, r.JobID)
	}
}

// actsOn reports whether the recorded job has the target of another one. An intake that lost a race
// may have left its job as the holder of a target under an id whose record says something else.
func (r *Record) actsOn(j Job) bool {
	return r.Kind == j.Kind && r.Target == j.Target() && r.DryRun == j.DryRun && (!kinds.Of(r.Kind).PerAccount || r.Account == j.Account)
}

// join records the event on the job that does what it asks for, and on its own identity.
func (d *Intake) join(ctx context.Context, job Job, other Entry) error {
	if err := d.lift(ctx, job, other); err != nil {
		return err
	}
	return d.note(ctx, job.ID, other.Record.JobID)
}

// lift records an event on an unfinished job. A more urgent one lifts it into its lane; the queue gets
// it there first, so that a crash in between leaves one message too many, which is harmless, and
// never one too few.
func (d *Intake) lift(ctx context.Context, job Job, other Entry) error {
	into := &other.Record
	wanted := into.wants(job)
	if !into.Done() && job.Lane.MoreUrgentThan(into.Lane) {
		into.Lane = job.Lane
		if err := d.queue.Enqueue(ctx, into.job(job.Params)); err != nil {
			return fmt.Errorf("lifting job %s into lane %s: %w", into.JobID, job.Lane, err)
		}
	}
	if !wanted {
		return nil
	}
	into.join(job.recorded(), job.ExpiresAt)
	into.NoProof = into.NoProof && job.NoProof
	if _, err := d.ledger.Update(ctx, other); err != nil {
		return fmt.Errorf("joining job %s: %w", into.JobID, err)
	}
	return nil
}

// wants reports whether an event is to be written on the record: it is not there yet, or asks for
// more than the unfinished job was asked for.
func (r *Record) wants(j Job) bool {
	return !r.HasEvent(j.Event) || r.short(j)
}

// short reports whether an event asks an unfinished job for more: a more urgent lane, more time, or a proof.
func (r *Record) short(j Job) bool {
	return !r.Done() && (j.Lane.MoreUrgentThan(r.Lane) || outlasts(j.ExpiresAt, r.ExpiresAt) || r.NoProof && !j.NoProof)
}

// note keeps which job does what the given one was asked for.
func (d *Intake) note(ctx context.Context, jobID, into string) error {
	if err := d.targets.Join(ctx, jobID, into); err != nil {
		return fmt.Errorf("noting that job %s joined %s: %w", jobID, into, err)
	}
	return nil
}
