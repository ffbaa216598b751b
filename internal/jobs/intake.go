package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rekey/internal/backoff"
	"rekey/internal/kinds"
	"rekey/internal/secret"
)

// creationTimeout is how long the holder of a target may be without a record: its intake is
// between two writes. After it, the intake was lost and the target is free.
const creationTimeout = 30 * time.Second

// openingLooks is into how many looks that time is divided for a message that is ahead of
// its record.
const creationPolls = 300

// maxRaces bounds how often an intake starts over because of a conflict; it waits a little in between, for another worker
// may be making the job that the event is to join.
const (
	maxRaces                 = 16
	raceDelay, raceDelayMost = time.Millisecond, 50 * time.Millisecond
)

// errBeingMade says that another intake is between two writes.
var errBeingMade = errors.New("is just being made")

// errNotBecome says that what is sealed could not be opened when the event was planned.
var errNotBecome = errors.New("what leaked could not be opened when the event was planned")

// Intake turns events into jobs: one event, one job for each action and target.
type Intake struct {
	ledger   Ledger
	targets  Targets
	queue    Queue
	accounts Accounts
	recorder IntakeRecorder
	secrets  Secrets
	now      func() time.Time
	turns    turns
	fresh    *Fresh
}

// IntakeRecorder counts the jobs that intake makes.
type IntakeRecorder interface {
	Enqueued(kind, lane, origin string)
}

// NewIntake returns the intake on these parts. now is the time that all workers share, see internal/clock.
func NewIntake(l Ledger, t Targets, q Queue, a Accounts, r IntakeRecorder, s Secrets, now func() time.Time) *Intake {
	return &Intake{ledger: l, targets: t, queue: q, accounts: a, recorder: r, secrets: s, now: now}
}

// Share lets the runner of this worker have the records that the intake makes. Not while it is at work.
func (d *Intake) Share(f *Fresh) { d.fresh = f }

// Accepted is what became of an event.
type Accepted struct {
	Result EventResult
	JobID  string // The job that does what the event asks for; the first, if there are several.
	// Ended is how that job had ended, where it had failed when the event asked for the same again.
	Ended Outcome
	// Started says that a slot runs the job, and settles the event.
	Started bool
	// Found are the secrets that policies found in the event, and those that are in its names; nil
	// when it has none.
	Found *Found
}

// Found are secrets that are in an event in the clear.
type Found struct{ secrets []secret.Value }

// found is nil when it has none.
func found(secrets []secret.Value) *Found {
	if len(secrets) == 0 {
		return nil
	}
	return &Found{secrets: secrets}
}

// InClear returns the secrets that were found in the event in the clear.
func (a Accepted) InClear() []secret.Value {
	if a.Found == nil {
		return nil
	}
	return a.Found.secrets
}

// Accept makes the job that an event asks for, or finds the one that does it already. It
// can be repeated after a crash at any step: each step is looked up before it is done.
// The error joins one *Malformed for each mistake in the event, or is a *Rejection; any other error means
// that nothing is decided yet.
func (d *Intake) Accept(ctx context.Context, e Event) (Accepted, error) {
	account, err := d.accounts.Resolve(e.Request.Kind, e.Request.Account)
	if err != nil {
		return Accepted{}, err
	}
	if exposed, err := d.secrets.secure(&e); err != nil {
		return Accepted{Found: found(exposed)}, err
	}
	if kinds.Of(e.Request.Kind).Becomes != nil && e.Request.Unfit == "" {
		return Accepted{}, errNotBecome // A redelivery finds it opened.
	}
	job := newJob(e, account)
	leave, alone, err := d.turns.take(ctx, job.TargetKey())
	if err != nil {
		return Accepted{}, err
	}
	started := false
	defer func() {
		if !started {
			leave()
		}
	}()
	if e.New && !e.Replayed && alone { // Of many events about one target, all but the first would try in vain.
		accepted, err := d.openNew(ctx, e, job, leave)
		if started = accepted.Started; !errors.Is(err, ErrConflict) {
			return accepted, err
		}
	}
	return d.takeInRounds(ctx, e, job)
}

// takeInRounds takes an event in, and starts over where others are about the same.
func (d *Intake) takeInRounds(ctx context.Context, e Event, job Job) (Accepted, error) {
	for round := 1; ; round++ {
		accepted, err := d.take(ctx, e, job)
		switch retry := errors.Is(err, ErrConflict) || errors.Is(err, errBeingMade); {
		case !retry:
			return accepted, err
		case round == maxRaces:
			return Accepted{}, fmt.Errorf("opening job %s: %w", job.ID, err)
		}
		if err := backoff.Sleep(ctx, backoff.Delay(raceDelay, raceDelayMost, round)); err != nil {
			return Accepted{}, err
		}
	}
}

// take finds the job of the event's identity, or opens one. ErrConflict asks for another round.
func (d *Intake) take(ctx context.Context, e Event, job Job) (Accepted, error) {
	entry, known, err := d.lookUp(ctx, job.ID)
	if err != nil {
		return Accepted{}, err
	}
	if id := job.anew(&entry.Record); known && id != "" {
		earlier := entry.Record
		job.ID = id
		entry, known, err = d.lookUp(ctx, job.ID)
		if err == nil && !known {
			err = job.conflict(&earlier)
		}
		if err != nil {
			return Accepted{}, err
		}
	}
	if known {
		return d.known(ctx, e, job, entry)
	}
	if at := job.ExpiresAt; !at.IsZero() && !at.After(d.now()) {
		return d.expired(ctx, job)
	}
	return d.open(ctx, job, e.Request.Separate && !rotates(job.Kind))
}

// lookUp returns the record of a job, and whether there is one.
func (d *Intake) lookUp(ctx context.Context, id string) (Entry, bool, error) {
	entry, err := d.ledger.Load(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return Entry{}, false, nil
	}
	if err != nil {
		return Entry{}, false, fmt.Errorf("looking up job %s: %w", id, err)
	}
	return entry, true, nil
}

// expired refuses an event that came too late, unless it joined a job while there was time.
func (d *Intake) expired(ctx context.Context, job Job) (Accepted, error) {
	accepted, err := d.joined(ctx, job)
	if err != nil || accepted.JobID != "" {
		return accepted, err
	}
	// It may be on a job's record already, and have been cut off there.
	holder, err := d.targets.Load(ctx, job.TargetKey())
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Accepted{}, fmt.Errorf("looking up target %s: %w", job.Target(), err)
	}
	for _, id := range holder.jobs() {
		other, _, err := d.lookUp(ctx, id)
		if err != nil {
			return Accepted{}, err
		}
		if other.Record.joinedBy(job) {
			return Accepted{Result: EventDuplicate, JobID: id}, d.note(ctx, job.ID, id)
		}
	}
	return Accepted{}, &Malformed{Field: "expires_at", Detail: "the request expired at " + stamp(job.ExpiresAt)}
}

// known handles an event whose job the ledger has. When this very message made the job
// and was cut off before the job was queued, the queue gets it now. That it was delivered
// before is known from the record alone: a server that crashes forgets its latest deliveries.
func (d *Intake) known(ctx context.Context, e Event, job Job, entry Entry) (Accepted, error) {
	rec := &entry.Record
	if e.Replayed || len(rec.Events) > 0 && rec.Events[0].Seq == e.Seq {
		if err := d.queueAgain(ctx, job, rec); err != nil {
			return Accepted{}, err
		}
		return Accepted{Result: EventAccepted, JobID: job.ID}, nil
	}
	return d.duplicate(ctx, job, entry)
}

// duplicate handles a copy of an event whose job exists. It is worth a word where it asks for more time
// or a more urgent lane, and where the job has failed meanwhile.
func (d *Intake) duplicate(ctx context.Context, job Job, entry Entry) (Accepted, error) {
	rec := &entry.Record
	accepted := Accepted{Result: EventDuplicate, JobID: rec.JobID}
	switch {
	case rec.short(job):
		return accepted, d.lift(ctx, job, entry)
	case rec.failed() && !rec.lists(job.Event):
		accepted.Ended = rec.Outcome
		return accepted, d.repeat(ctx, job, entry)
	}
	return accepted, nil
}

// repeat records, on a job that has failed, an event that asks for the same once more.
func (d *Intake) repeat(ctx context.Context, job Job, entry Entry) error {
	rec, e := &entry.Record, job.recorded()
	e.Duplicate = true
	if !rec.fits(e) {
		return nil
	}
	rec.join(e, rec.ExpiresAt)
	if _, err := d.ledger.Update(ctx, entry); err != nil {
		return fmt.Errorf("recording a duplicate on job %s: %w", rec.JobID, err)
	}
	return nil
}

// create writes the record and puts the job into its lane, both at once: each waits for the
// disk. A worker that is handed the job before its record is there makes the record
// itself, and of two messages of one job the second finds nothing to do.
func (d *Intake) create(ctx context.Context, job Job) (Accepted, error) {
	err, queueErr := store(ctx, d.ledger, d.queue, d.fresh, job)
	if errors.Is(err, ErrConflict) { // The worker, or a copy of the event, was faster.
		err = d.made(ctx, job)
	}
	switch {
	case errors.Is(err, errCopy):
		return Accepted{Result: EventDuplicate, JobID: job.ID}, nil
	case err != nil:
		return Accepted{}, fmt.Errorf("recording job %s: %w", job.ID, err)
	case queueErr != nil:
		return Accepted{}, fmt.Errorf("queueing job %s: %w", job.ID, queueErr)
	}
	d.recorder.Enqueued(string(job.Kind), string(job.Lane), string(job.Origin))
	return Accepted{Result: EventAccepted, JobID: job.ID}, nil
}

// store writes the record of a job and its message, both at once.
func store(ctx context.Context, l Ledger, q Queue, fresh *Fresh, job Job) (recordErr, queueErr error) {
	made, queued := fresh.making(job.ID), make(chan error, 1)
	go func() { queued <- q.Enqueue(ctx, job) }()
	entry, recordErr := l.Create(ctx, NewRecord(job))
	made(entry, recordErr)
	return recordErr, <-queued
}

// errCopy says that a copy of the event has made the job.
var errCopy = errors.New("a copy of the event was faster")

// made reports that another message than this has made the record of a job: as errCopy, or as
// ErrConflict where that message asks for something else.
func (d *Intake) made(ctx context.Context, job Job) error {
	entry, err := d.ledger.Load(ctx, job.ID)
	switch {
	case err != nil:
		return err
	case !entry.Record.does(job):
		return ErrConflict
	case entry.Record.Events[0].Seq != job.Event.Seq:
		return errCopy
	}
	return nil
}

// queueAgain queues the job of an event that was cut off before that, or while a slot ran the job by the event. A message too many
// is harmless. What such a job needs, its next attempt, the end of a lost one or its announcement, its message sees to.
func (d *Intake) queueAgain(ctx context.Context, job Job, rec *Record) error {
	isNew := rec.State == StateQueued && rec.AttemptCount == 0
	if !isNew && !rec.answersByEvent() && (rec.Done() || !rec.ByEvent) {
		return nil
	}
	if err := d.queue.Enqueue(ctx, job); err != nil {
		return fmt.Errorf("queueing job %s: %w", job.ID, err)
	}
	if isNew {
		d.recorder.Enqueued(string(job.Kind), string(job.Lane), string(job.Origin))
	}
	return nil
}
