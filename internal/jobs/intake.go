package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rekey/internal/secret"
)

// openingGrace is how long the holder of a target may be without a record: its intake is
// between two writes. After it, the intake was lost and the target is free.
const openingGrace = 30 * time.Second

// openingLooks is into how many looks that time is divided for a message that is ahead of
// its record.
const openingLooks = 300

// maxRaces bounds how often an intake starts over because somebody else was faster.
const maxRaces = 16

// Desk turns events into jobs: one event, one job for each action and target.
type Desk struct {
	ledger   Ledger
	targets  Targets
	queue    Queue
	accounts Accounts
	recorder IntakeRecorder
	secrets  Secrets
}

// IntakeRecorder counts the jobs that intake makes.
type IntakeRecorder interface {
	Enqueued(kind, lane, origin string)
}

// NewDesk returns the intake on these parts.
func NewDesk(l Ledger, t Targets, q Queue, a Accounts, r IntakeRecorder, s Secrets) *Desk {
	return &Desk{ledger: l, targets: t, queue: q, accounts: a, recorder: r, secrets: s}
}

// Accepted is what became of an event.
type Accepted struct {
	Result Intake
	JobID  string // The job that does what the event asks for; the first, if there are several.
	// Found are the secrets that policies found in the event; nil when there are none.
	Found *Found
}

// Found are secrets that stand in an event in the clear.
type Found struct{ secrets []secret.Value }

// InClear returns the secrets that policies found in the event in the clear.
func (a Accepted) InClear() []secret.Value {
	if a.Found == nil {
		return nil
	}
	return a.Found.secrets
}

// Accept makes the job that an event asks for, or finds the one that does it already. It
// can be repeated after a crash at any step: each step is looked up before it is done.
// The error joins one *Malformed for each mistake in the event; any other error means
// that nothing is decided yet.
func (d *Desk) Accept(ctx context.Context, e Event) (Accepted, error) {
	account, err := d.accounts.Resolve(e.Request.Kind, e.Request.Account)
	if err != nil {
		return Accepted{}, err
	}
	if e.Request, err = d.secrets.secure(e.Request); err != nil {
		return Accepted{}, err
	}
	job := newJob(e, account)
	switch entry, err := d.ledger.Load(ctx, job.ID); {
	case err == nil:
		return d.known(ctx, e, job, entry.Record)
	case !errors.Is(err, ErrNotFound):
		return Accepted{}, fmt.Errorf("looking up job %s: %w", job.ID, err)
	}
	if at := job.ExpiresAt; !at.IsZero() && !at.After(time.Now()) {
		return d.expired(ctx, job)
	}
	for range maxRaces {
		accepted, err := d.open(ctx, e, job)
		if !errors.Is(err, ErrConflict) {
			return accepted, err
		}
	}
	return Accepted{}, fmt.Errorf("opening job %s: %w", job.ID, ErrConflict)
}

// expired refuses an event that came too late, unless it joined a job while there was time.
func (d *Desk) expired(ctx context.Context, job Job) (Accepted, error) {
	into, err := d.targets.Joined(ctx, job.ID)
	switch {
	case err == nil:
		return Accepted{Result: IntakeDuplicate, JobID: into}, nil
	case !errors.Is(err, ErrNotFound):
		return Accepted{}, fmt.Errorf("looking up what job %s joined: %w", job.ID, err)
	}
	// It may stand on a job's record already, and have been cut off there.
	holder, err := d.targets.Load(ctx, job.TargetKey())
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Accepted{}, fmt.Errorf("looking up target %s: %w", job.Target(), err)
	}
	for _, id := range []string{holder.JobID, holder.Beside} {
		if id == "" {
			continue
		}
		other, err := d.ledger.Load(ctx, id)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return Accepted{}, fmt.Errorf("looking up job %s: %w", id, err)
		}
		if other.Record.HasEvent(job.Event) {
			return Accepted{Result: IntakeDuplicate, JobID: id}, d.note(ctx, job.ID, id)
		}
	}
	return Accepted{}, &Malformed{Field: "expires_at", Detail: "the request expired at " + stamp(job.ExpiresAt)}
}

// known handles an event whose job the ledger has. When this very message made the job
// and was cut off before the job was queued, the queue gets it now. That it was delivered
// before is told by the record alone: a server that crashes forgets its latest deliveries.
func (d *Desk) known(ctx context.Context, e Event, job Job, r Record) (Accepted, error) {
	ours := e.Replayed || len(r.Events) > 0 && r.Events[0].Seq == e.Seq
	if !ours {
		return Accepted{Result: IntakeDuplicate, JobID: job.ID}, nil
	}
	if r.State == StateQueued && r.AttemptCount == 0 {
		if err := d.enqueue(ctx, job); err != nil {
			return Accepted{}, err
		}
	}
	return Accepted{Result: IntakeAccepted, JobID: job.ID}, nil
}

// open takes the target for the job, or joins the unfinished job that has it. ErrConflict
// asks for another round.
func (d *Desk) open(ctx context.Context, e Event, job Job) (Accepted, error) {
	key := job.TargetKey()
	holder, err := d.targets.Load(ctx, key)
	switch {
	case errors.Is(err, ErrNotFound):
		holder = Holder{}
	case err != nil:
		return Accepted{}, fmt.Errorf("looking up target %s: %w", job.Target(), err)
	case holder.JobID == job.ID:
		age, err := d.heldFor(ctx, job, holder)
		if err != nil {
			return Accepted{}, err
		}
		if age < openingGrace/2 { // Ours from before a crash, or a copy of the event is as far as we are.
			return d.create(ctx, e, job)
		} // Ours from long before: taken anew, for others may take it over by now.
	default:
		into, err := d.joinable(ctx, e, job, &holder)
		if err != nil || into != "" {
			return Accepted{Result: IntakeDuplicate, JobID: into}, err
		}
	}
	holder.JobID, holder.At = job.ID, time.Now()
	if err := d.targets.Save(ctx, key, holder); err != nil {
		return Accepted{}, fmt.Errorf("taking target %s: %w", job.Target(), err)
	}
	return d.create(ctx, e, job)
}

// heldFor is how long ago the target was taken by its holder.
func (d *Desk) heldFor(ctx context.Context, job Job, h Holder) (time.Duration, error) {
	age, err := d.targets.Age(ctx, job.TargetKey(), h)
	if err != nil {
		return 0, fmt.Errorf("looking up when target %s was taken: %w", job.Target(), err)
	}
	return age, nil
}

// joinable joins the unfinished job that has the target, or the one beside it, and returns
// its id. It returns "" when the target is to be taken over: then holder remembers what
// those jobs did and may still do.
func (d *Desk) joinable(ctx context.Context, e Event, job Job, holder *Holder) (string, error) {
	into, err := d.targets.Joined(ctx, job.ID)
	if err == nil {
		return into, nil
	}
	if !errors.Is(err, ErrNotFound) {
		return "", fmt.Errorf("looking up what job %s joined: %w", job.ID, err)
	}
	candidates := []string{holder.JobID, holder.Beside}
	holder.Beside = ""
	for _, id := range candidates {
		if id == "" {
			continue
		}
		other, err := d.ledger.Load(ctx, id)
		switch {
		case errors.Is(err, ErrNotFound) && id == holder.JobID:
			if err := d.abandoned(ctx, job, *holder); err != nil {
				return "", err
			}
			continue
		case errors.Is(err, ErrNotFound):
			continue
		case err != nil:
			return "", fmt.Errorf("looking up job %s: %w", id, err)
		}
		if other.Record.HasEvent(e.EventRef) || !other.Record.Done() && !e.Request.Separate {
			return id, d.join(ctx, e, job, other)
		}
		holder.follow(&other.Record)
	}
	return "", nil
}

// abandoned reports, as an error, that the holder of a target, which has no record, may
// still get one.
func (d *Desk) abandoned(ctx context.Context, job Job, h Holder) error {
	age, err := d.heldFor(ctx, job, h)
	if err == nil && age < openingGrace {
		err = fmt.Errorf("job %s on the same target is just being made", h.JobID)
	}
	return err
}

// follow remembers a job that had the target before.
func (h *Holder) follow(r *Record) {
	if r.Outcome == OutcomeRevoked {
		h.Revoked = r.JobID
	}
	if !r.Done() && h.Beside == "" {
		h.Beside = r.JobID
	}
}

// join records the event on the job that has its target. A more urgent event lifts an
// unfinished job into its lane; the queue gets it there first, so that a crash in between
// leaves one message too many, which is harmless, and never one too few.
func (d *Desk) join(ctx context.Context, e Event, job Job, other Entry) error {
	into := &other.Record
	if !into.Done() && job.Lane.MoreUrgentThan(into.Lane) {
		into.Lane = job.Lane
		if err := d.queue.Enqueue(ctx, into.job(job.Params)); err != nil {
			return fmt.Errorf("lifting job %s into lane %s: %w", into.JobID, job.Lane, err)
		}
	}
	if !into.HasEvent(e.EventRef) {
		into.join(e.EventRef, job.ExpiresAt)
		if _, err := d.ledger.Update(ctx, other); err != nil {
			return fmt.Errorf("joining job %s: %w", into.JobID, err)
		}
	}
	return d.note(ctx, job.ID, into.JobID)
}

// note keeps which job does what the given one was asked for.
func (d *Desk) note(ctx context.Context, jobID, into string) error {
	if err := d.targets.Join(ctx, jobID, into); err != nil {
		return fmt.Errorf("noting that job %s joined %s: %w", jobID, into, err)
	}
	return nil
}

// create writes the record and puts the job into its lane, both at once: each waits for the
// disk. A worker that is handed the job before its record stands there makes the record
// itself, and of two messages of one job the second finds nothing to do.
func (d *Desk) create(ctx context.Context, e Event, job Job) (Accepted, error) {
	queued := make(chan error, 1)
	go func() { queued <- d.queue.Enqueue(ctx, job) }()
	_, err := d.ledger.Create(ctx, NewRecord(job))
	queueErr := <-queued
	if errors.Is(err, ErrConflict) { // The worker, or a copy of the event, was faster.
		err = d.made(ctx, e, job)
	}
	switch {
	case errors.Is(err, errCopy):
		return Accepted{Result: IntakeDuplicate, JobID: job.ID}, nil
	case err != nil:
		return Accepted{}, fmt.Errorf("recording job %s: %w", job.ID, err)
	case queueErr != nil:
		return Accepted{}, fmt.Errorf("queueing job %s: %w", job.ID, queueErr)
	}
	d.recorder.Enqueued(string(job.Kind), string(job.Lane), string(job.Origin))
	return Accepted{Result: IntakeAccepted, JobID: job.ID}, nil
}

// errCopy says that a copy of the event has made the job.
var errCopy = errors.New("a copy of the event was faster")

// made reports, as errCopy, that the record of a job stands there for another message than this.
func (d *Desk) made(ctx context.Context, e Event, job Job) error {
	entry, err := d.ledger.Load(ctx, job.ID)
	if err == nil && entry.Record.Events[0].Seq != e.Seq {
		return errCopy
	}
	return err
}

func (d *Desk) enqueue(ctx context.Context, job Job) error {
	if err := d.queue.Enqueue(ctx, job); err != nil {
		return fmt.Errorf("queueing job %s: %w", job.ID, err)
	}
	d.recorder.Enqueued(string(job.Kind), string(job.Lane), string(job.Origin))
	return nil
}
