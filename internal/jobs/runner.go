package jobs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"
)

// Revoker makes the call that a job asks for. Its error is a *Failure.
type Revoker interface {
	Revoke(ctx context.Context, j Job) (Answer, error)
}

// Pacer gives leave to call the API for a job, as fast as its rate limits allow, or says
// when the job is to ask again. A job that was given leave calls at once.
type Pacer interface {
	Permit(ctx context.Context, j Job) Permit
	// PermitNow is Permit for a job that is queued where it has none: it plans no turn.
	PermitNow(ctx context.Context, j Job) bool
}

// Permit is when a job may call, by this machine's clock. The zero Permit is now.
type Permit struct {
	// At is when the job is to ask again: an estimate of when its call can be made.
	At time.Time
	// NotBefore is the moment before which the API wants no call at all; zero when it said nothing.
	NotBefore time.Time
}

// Announcer tells the world that a job is done: its result, and its dead letter where the
// outcome asks for one. With maybeSent set, an earlier run may have done so: what was already
// announced is not announced twice.
type Announcer interface {
	Announce(ctx context.Context, j Job, r Record, maybeSent bool) error
}

// RunRecorder counts what the runner does.
type RunRecorder interface {
	FirstAttemptDelay(lane string, d time.Duration)
	Attempt(kind, reason string)
	// JobFinished counts a job; trace is the traceparent that it belongs to.
	JobFinished(kind, outcome string, d time.Duration, trace string)
}

// ErrStopping is the cause with which the context of a run is cancelled when the worker
// shuts down: it tells shutdown from failure.
var ErrStopping = errors.New("the worker is stopping")

// errClaimRace says that the record changed between reading and claiming it.
var errClaimRace = errors.New("the record changed before it was claimed")

// RunnerConfig are the parts and settings of a Runner. All are required but Fresh, Rotator, Instance, Gone, Prove, Now and Random.
type RunnerConfig struct {
	Worker      string           // Name of this worker, unique in the fleet.
	Instance    string           // Names this process among all that have had the worker's name.
	Embedded    bool             // The server of the ledger runs inside this process.
	Gone        func(Claim) bool // Reports that it is certain that the holder of a claim lives no more. Nil: it never is.
	Version     string           // Its release, for the record; empty is not recorded.
	Prove       bool             // What has succeeded is checked, unless the request wants no proof.
	CallTimeout time.Duration    // Longest attempt. The lease is 10 s longer.
	Retry       RetryPolicy
	Ledger      Ledger
	Fresh       *Fresh // What the intake of this worker has just made. Nil: all is read from the ledger.
	Targets     Targets
	Queue       Queue
	// Elsewhere reports whether another worker is to have a job that came due at a moment, because this one does not know its account or rotation
	// yet. Nil: none is.
	Elsewhere func(ctx context.Context, j Job, due time.Time) (bool, error)
	Revoker   Revoker
	Rotator   Rotator // Nil: a job that rotates fails with ReasonConfig.
	Pacer     Pacer
	Announcer Announcer
	Recorder  RunRecorder
	Logger    *zap.Logger
	Now       func() time.Time // The time that all workers share, see internal/clock; default time.Now.
	Random    func() float64   // In [0, 1), for the jitter; default math/rand.
}

// Runner takes a delivered job one step further: to its outcome or to its next attempt.
type Runner struct {
	cfg      RunnerConfig
	log      *zap.Logger
	attempts *attemptLog
}

// NewRunner returns a Runner.
func NewRunner(cfg RunnerConfig) (*Runner, error) {
	if cfg.Worker == "" || cfg.CallTimeout <= 0 {
		return nil, errors.New("runner: worker and call timeout are required")
	}
	if err := cfg.Retry.Validate(); err != nil {
		return nil, err
	}
	if cfg.Gone == nil {
		cfg.Gone = func(Claim) bool { return false }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = rand.Float64
	}
	log := cfg.Logger.Named("jobs")
	return &Runner{cfg: cfg, log: log, attempts: newAttemptLog(log)}, nil
}

// Delivery is a job as the queue handed it over.
type Delivery struct {
	Job Job
	// Count is how often the queue has handed this message over, from 1. It is a lower bound:
	// a queue that crashes forgets its latest deliveries.
	Count uint64
}

// Settlement is what is to become of a delivery. Only the queue's settle acts on it.
type Settlement struct {
	// Done says that the queue can forget the job; else it hands it over again after Delay.
	Done  bool
	Delay time.Duration
	// Queued says, of what is done, that the job is not: it goes on by a message of its own.
	Queued bool
	// Leave says that another worker has the job: the message is not settled, for that
	// would settle the delivery of the other one.
	Leave bool
}

func done() Settlement { return Settlement{Done: true} }

// putBack asks for the job again at a moment.
func putBack(now, at time.Time) Settlement { return Settlement{Delay: max(at.Sub(now), 0)} }

// Run takes the job one step further. An error means that the ledger or the bus did not
// do their part and nothing is known to be settled; the message must be redelivered.
func (r *Runner) Run(ctx context.Context, d Delivery) (Settlement, error) {
	for range maxRaces {
		entry, err := r.load(ctx, d)
		if errors.Is(err, errNoJob) {
			return done(), nil
		}
		if err != nil {
			return Settlement{}, err
		}
		settlement, err := r.step(ctx, d, entry)
		if errors.Is(err, errLeaseLost) {
			r.log.Warn("another worker has the job", append(fields(&entry.Record), zap.Error(err))...)
			return Settlement{Leave: true}, nil
		}
		if !errors.Is(err, errClaimRace) {
			return settlement, err
		}
	}
	return Settlement{Delay: time.Second}, nil
}

// step decides what a job in this state needs. errClaimRace asks to look at it again.
func (r *Runner) step(ctx context.Context, d Delivery, entry Entry) (Settlement, error) {
	rec, now := &entry.Record, r.cfg.Now()
	if d.Job.Round > rec.Round && d.Count <= creationPolls {
		return Settlement{Delay: creationTimeout / creationPolls}, nil // An operator is between queueing and recording it.
	}
	if rec.Done() {
		return r.doneBefore(ctx, d, *rec)
	}
	if d.Job.Wake && !rec.CancelAsked {
		return done(), nil // What it was to tell is dealt with.
	}
	if left, err := r.claimed(ctx, entry); err != nil || left > 0 { // Another worker has it, or had it and was lost.
		return Settlement{Delay: min(left, claimPoll)}, err
	}
	if rec.closeLost(now) { // No worker runs it: what is written next says so.
		r.attempts.failed(rec)
	}
	if rec.Rotates() {
		return r.stepRotation(ctx, d, entry)
	}
	if rec.CancelAsked {
		return r.cancel(ctx, d.Job, entry)
	}
	if err := r.cfg.Retry.tooLate(now, rec); err != nil {
		return r.giveUp(ctx, d.Job, entry, err)
	}
	if rec.RetryAt.After(now) && !rec.Paced {
		return putBack(now, rec.RetryAt), nil
	}
	if rec.Unfit != "" {
		settlement, err := r.finish(ctx, d.Job, entry, OutcomeRefused, rec.Unfit)
		return settlement, r.raced(err)
	}
	return r.takeTurn(ctx, d, entry)
}

// takeTurn attempts a job that is due, unless another worker is to have it, or its rate bucket has no permit.
func (r *Runner) takeTurn(ctx context.Context, d Delivery, entry Entry) (Settlement, error) {
	if away, err := r.elsewhere(ctx, d.Job, &entry.Record); away || err != nil {
		return Settlement{Delay: ElsewhereDelay()}, err
	}
	asked := time.Now()
	if permit := r.cfg.Pacer.Permit(ctx, d.Job); permit.At.After(asked) {
		return r.hold(ctx, d.Job, entry, Permit{At: r.shared(permit.At), NotBefore: r.shared(permit.NotBefore)})
	}
	entry.Record.Deliveries = d.Count
	return r.attempt(ctx, d.Job, entry)
}

// claimed returns how long the claim of a worker that is not known to be gone still holds; zero: the job is free.
func (r *Runner) claimed(ctx context.Context, entry Entry) (time.Duration, error) {
	if entry.Record.State != StateRunning || r.cfg.Gone(entry.Record.Claim) {
		return 0, nil
	}
	return r.leaseLeft(ctx, entry)
}

// shared converts a moment of this machine's clock into one of the time that all workers share. The zero time stays zero.
func (r *Runner) shared(at time.Time) time.Time {
	if at.IsZero() {
		return at
	}
	return r.cfg.Now().Add(time.Until(at))
}

// leaseLeft is how long the claim on a running job still holds, by the ledger's clock.
func (r *Runner) leaseLeft(ctx context.Context, entry Entry) (time.Duration, error) {
	age, err := r.cfg.Ledger.Age(ctx, entry)
	if errors.Is(err, ErrConflict) { // It was renewed, or has ended.
		return 0, errClaimRace
	}
	if err != nil {
		return 0, fmt.Errorf("looking up the claim on job %s: %w", entry.Record.JobID, err)
	}
	return entry.Record.Claim.lease() - age, nil
}

// errNoJob says that a message is about no job: there is none to be woken, or another one does
// what it asks for, or the record of its id is that of another request.
var errNoJob = errors.New("there is no such job")

// wakeLooks is how often a message that only wakes is handed over until its job counts as
// missing. A ledger with replicas may not have it everywhere yet.
const wakePolls = 8

// load returns the record of the job, and makes it when it is not there. That it is not there is
// never taken for certain: a ledger with replicas may answer from one that lags.
func (r *Runner) load(ctx context.Context, d Delivery) (Entry, error) {
	job := d.Job
	if entry, ok := r.cfg.Fresh.take(ctx, job.ID); ok && d.Count <= 1 && job.Round == 0 && !job.Wake && entry.Record.does(job) {
		return entry, nil
	}
	entry, err := r.cfg.Ledger.Load(ctx, job.ID)
	if errors.Is(err, ErrNotFound) && !job.Wake {
		entry, err = r.create(ctx, job)
	}
	if errors.Is(err, ErrNotFound) && job.Wake && d.Count > wakePolls {
		return Entry{}, errNoJob
	}
	if errors.Is(err, ErrConflict) { // Intake, or a copy of the message was faster.
		entry, err = r.cfg.Ledger.Load(ctx, job.ID)
	}
	if err != nil {
		return Entry{}, fmt.Errorf("loading job %s: %w", job.ID, err)
	}
	if !entry.Record.does(job) {
		// Two events of one identity were taken in at once, and the other one made the record. The
		// intake of this one finds it, and says that they are in conflict.
		return Entry{}, errNoJob
	}
	return entry, nil
}

// create makes the record of a job that came before its intake made it. errNoJob says that
// there is to be none: the intake was cut off there, and its event joined another job since.
func (r *Runner) create(ctx context.Context, job Job) (Entry, error) {
	into, err := r.cfg.Targets.Joined(ctx, job.ID)
	if err == nil {
		var other Entry
		other, err = r.cfg.Ledger.Load(ctx, into)
		if err == nil && other.Record.does(job) {
			return Entry{}, errNoJob
		}
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Entry{}, fmt.Errorf("looking up what it joined: %w", err)
	}
	return r.cfg.Ledger.Create(ctx, NewRecord(job))
}

// doneBefore settles a message of a finished job. When it is the one that ended the job, its
// worker may have been lost between the record and the announcement. Other messages of the
// job leave that to it: the queue has it until the result is out.
func (r *Runner) doneBefore(ctx context.Context, d Delivery, rec Record) (Settlement, error) {
	if d.Job.Message == rec.FinishedBy || rec.answersByEvent() && !d.Job.Wake {
		if err := r.cfg.Announcer.Announce(ctx, d.Job, rec, true); err != nil {
			return Settlement{}, fmt.Errorf("announcing job %s: %w", rec.JobID, err)
		}
	}
	return done(), nil
}

// worthNoting is how long a job must wait for its permit, and by how much an estimate must be
// off, for the record to tell of it. Each such write costs as much as a step of the job.
const worthNoting = 5 * time.Second

// hold puts a job off until its turn comes. It spends nothing. A job whose turn would come
// after its last permitted moment comes back at that moment: estimates change.
func (r *Runner) hold(ctx context.Context, job Job, entry Entry, permit Permit) (Settlement, error) {
	rec, now := &entry.Record, r.cfg.Now()
	if err := r.cfg.Retry.tooLate(permit.NotBefore, rec); err != nil {
		return r.giveUp(ctx, job, entry, fmt.Errorf("the API's rate limit: %w", err))
	}
	at := permit.At
	if last := r.cfg.Retry.last(rec); at.After(last) {
		at = last
	}
	if known := rec.RetryAt; at.Sub(now) < worthNoting || rec.Paced && at.Sub(known).Abs() < worthNoting {
		return putBack(now, at), nil
	}
	rec.await(at)
	if _, err := r.cfg.Ledger.Update(ctx, entry); err != nil {
		return Settlement{}, r.raced(fmt.Errorf("holding job %s: %w", rec.JobID, err))
	}
	return putBack(r.cfg.Now(), at), nil
}

// giveUp ends a job that no worker has claimed and that may not be attempted any more.
func (r *Runner) giveUp(ctx context.Context, job Job, entry Entry, why error) (Settlement, error) {
	settlement, err := r.finish(ctx, job, entry, OutcomeExhausted, why.Error())
	return settlement, r.raced(err)
}

// cancel ends a job that no worker runs, as an operator asked.
func (r *Runner) cancel(ctx context.Context, job Job, entry Entry) (Settlement, error) {
	settlement, err := r.finish(ctx, job, entry, OutcomeCancelled, entry.Record.cancelDetail())
	return settlement, r.raced(err)
}

// raced turns a conflict on a record that no worker had claimed into another look at it.
func (r *Runner) raced(err error) error {
	if errors.Is(err, ErrConflict) || errors.Is(err, errLeaseLost) {
		return errClaimRace
	}
	return err
}
