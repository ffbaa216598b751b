package jobs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"rekey/internal/backoff"
	"rekey/internal/kinds"
)

// errLeaseLost is the cause of a call that is cut off because another worker may have the job.
var errLeaseLost = errors.New("the lease on the job was lost")

// errCallTimeout is the cause of a call that took too long.
var errCallTimeout = errors.New("the attempt took longer than its timeout")

// leaseMargin is how much longer a lease is than the call that it covers.
const leaseMargin = 10 * time.Second

// Bounds of the writes that record what a call did.
const (
	storeTimeout   = 10 * time.Second      // One write to the ledger.
	storePatience  = 2 * storeTimeout      // All rounds of a write, before the message is left to be redelivered.
	claimPatience  = leaseMargin / 2       // All rounds of a claim. The call must end before the lease still.
	settlePatience = 2 * storePatience     // Everything after a call.
	storePause     = 50 * time.Millisecond // Between the first two rounds; it doubles.
	storePauseMost = time.Second
)

// claimPoll is how often another message of a job that runs looks at it again: a lift into
// a more urgent lane must not wait for the end of a lease when the attempt ends before.
const claimPoll = 5 * time.Second

// Opened is a new job that has taken its target, and of which nothing else is stored.
type Opened struct {
	Job   Job
	Taken time.Time // When it took its target, by this machine's clock.
	// Recorded is called when the job has its record, or will not get one from this: until then other events about its target wait.
	Recorded func()
}

// Begin runs a new job at once and without a message of its own: the event that made it answers for it. The first thing that is stored
// of the job is the claim, which fails where there is a record of it. What may not be called for now, or needs another attempt, is
// queued. An error, and a settlement that is not done, ask for the event once more: its intake finds what is recorded and queues the job.
func (r *Runner) Begin(ctx context.Context, o Opened) (Settlement, error) {
	recorded := sync.OnceFunc(o.Recorded)
	defer recorded()
	if passed(o.Taken) > creationTimeout/2 { // The target may be another job's soon.
		return Settlement{}, nil
	}
	job, entry := o.Job, Entry{Record: NewRecord(o.Job)}
	if !r.mayBegin(ctx, job, &entry.Record) {
		err, queueErr := store(context.WithoutCancel(ctx), r.cfg.Ledger, r.cfg.Queue, r.cfg.Fresh, job)
		if errors.Is(err, ErrConflict) {
			return Settlement{}, nil
		}
		return Settlement{Done: true, Queued: true}, errors.Join(err, queueErr)
	}
	entry.Record.ByEvent, entry.Record.Deliveries = true, 1
	begun, now := time.Now(), r.cfg.Now()
	entry, err := r.begin(ctx, job, entry, now)
	recorded()
	var settlement Settlement
	if err == nil {
		settlement, err = r.carryOut(ctx, job, entry, begun, now)
	}
	switch {
	case errors.Is(err, errClaimRace): // A copy of the event made the record.
		return Settlement{}, nil
	case errors.Is(err, errLeaseLost):
		return Settlement{Leave: true}, nil
	case err != nil || settlement.Done:
		return settlement, err
	}
	return Settlement{Done: true, Queued: true}, r.cfg.Queue.Enqueue(context.WithoutCancel(ctx), job)
}

// mayBegin reports whether step would make an attempt of a new job. A permit comes last: it is counted, and has to be used.
func (r *Runner) mayBegin(ctx context.Context, job Job, rec *Record) bool {
	return job.oneCall() && r.cfg.Retry.tooLate(r.cfg.Now(), rec) == nil && r.cfg.Pacer.PermitNow(ctx, job)
}

// oneCall reports whether the job is done by a call: it is no rotation, which takes steps, and there is a kind for what leaked.
func (j Job) oneCall() bool { return kinds.Of(j.Kind).Rotates == nil && j.Unfit == "" }

// attempt claims the job, makes the call and records what came of it.
func (r *Runner) attempt(ctx context.Context, job Job, entry Entry) (Settlement, error) {
	begun, now := time.Now(), r.cfg.Now()
	entry, err := r.begin(ctx, job, entry, now)
	if err != nil {
		return Settlement{}, err
	}
	return r.carryOut(ctx, job, entry, begun, now)
}

// carryOut makes the call of a job that was claimed for an attempt which began at a moment, by this machine's clock and by the shared time.
func (r *Runner) carryOut(ctx context.Context, job Job, entry Entry, begun, now time.Time) (Settlement, error) {
	answer, failure, entry := r.call(ctx, entry, r.revoke(job, &entry.Record))
	if failure != nil && errors.Is(failure.Err, errLeaseLost) {
		return Settlement{}, fmt.Errorf("running job %s: %w", job.ID, errLeaseLost)
	}
	// What the API has answered is recorded although the worker may be stopping.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settlePatience)
	defer cancel()
	entry.Record.end(now.Add(time.Since(begun)), answer, failure)
	return r.decide(ctx, job, entry, answer, failure)
}

// begin claims the job for a new attempt.
func (r *Runner) begin(ctx context.Context, job Job, entry Entry, now time.Time) (Entry, error) {
	first := entry.Record.AttemptCount == 0
	entry.Record.begin(now, r.cfg.Worker, r.cfg.CallTimeout+leaseMargin)
	entry.Record.Claim.Instance, entry.Record.Claim.Embedded = r.cfg.Instance, r.cfg.Embedded
	entry.Record.lastAttempt().Version = r.cfg.Version
	entry, err := r.claim(ctx, entry)
	if err == nil && first {
		r.cfg.Recorder.FirstAttemptDelay(string(job.Lane), now.Sub(job.AcceptedAt))
	}
	return entry, err
}

// claim records that this worker begins an attempt, before the call. A write without an
// answer is repeated, and found where it was done after all: a claim left behind would
// hold the job up until its lease ends and look like a call that may have taken effect. A
// worker that stops sees it through for the same reason. errClaimRace says that another
// writer changed the record.
func (r *Runner) claim(ctx context.Context, entry Entry) (Entry, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), claimPatience)
	defer cancel()
	unanswered := false
	for n := 1; ; n++ {
		claimed, err := r.cfg.Ledger.Update(ctx, entry)
		if err == nil {
			return claimed, nil
		}
		if errors.Is(err, ErrConflict) {
			if !unanswered {
				return Entry{}, errClaimRace
			}
			claimed, err = r.cfg.Ledger.Load(ctx, entry.Record.JobID)
			if err == nil && claimed.Record.sameStep(&entry.Record) {
				return claimed, nil
			}
			if err == nil {
				return Entry{}, errClaimRace
			}
		}
		unanswered = true
		if backoff.Sleep(ctx, backoff.Delay(storePause, storePauseMost, n)) != nil {
			return Entry{}, fmt.Errorf("claiming job %s: %w", entry.Record.JobID, err)
		}
	}
}

// revoke is the call of a job that makes one.
func (r *Runner) revoke(job Job, rec *Record) leasedCall {
	job.Search, job.Meaning = rec.Search.copied(), rec.Meaning
	return func(ctx context.Context, held *heldEntry) (Answer, error) {
		if r.proves(rec) {
			job.KeepMeaning = func(ctx context.Context, meaning map[string]string) error { return r.keepMeaning(ctx, held, meaning) }
		}
		job.Keep = func(ctx context.Context, search Search) error { return r.keepSearch(ctx, held, search) }
		return r.cfg.Revoker.Revoke(ctx, job)
	}
}

// leasedCall is what is done while the lease on a job is kept alive.
type leasedCall func(ctx context.Context, held *heldEntry) (Answer, error)

// call makes the call within its timeout while the lease is kept alive. It returns the
// entry of the last renewal.
func (r *Runner) call(ctx context.Context, entry Entry, call leasedCall) (Answer, *Failure, Entry) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	callCtx, stop := context.WithTimeoutCause(ctx, r.cfg.CallTimeout, fmt.Errorf("%w of %s", errCallTimeout, r.cfg.CallTimeout))
	defer stop()
	held := &heldEntry{entry: entry}
	kept := r.keepLease(callCtx, held, cancel)
	answer, err := call(callCtx, held)
	cause := context.Cause(callCtx)
	stop()
	<-kept
	entry = held.entry
	if err == nil {
		return answer, nil, entry
	}
	return answer, r.failed(err, cause), entry
}

// failed is the failure of a call, with why it was cut off where it was.
func (r *Runner) failed(err, cause error) *Failure {
	failure, ok := errors.AsType[*Failure](err)
	if !ok {
		failure = &Failure{Reason: ReasonProtocol, MaybeEffective: true, Err: err}
	}
	failure.RetryAt = r.shared(failure.RetryAt)
	if failure.Err == nil {
		failure.Err = errors.New("no details are known")
	}
	switch {
	case errors.Is(cause, errLeaseLost):
		failure.Err = fmt.Errorf("%w: %w", errLeaseLost, failure.Err)
	case errors.Is(cause, ErrStopping) && failure.Reason == ReasonUnavailable:
		failure.Reason = ReasonInterrupted
	case errors.Is(cause, errCallTimeout) && failure.Reason == ReasonUnavailable && !errors.Is(failure.Err, errCallTimeout):
		failure.Err = fmt.Errorf("%w: %w", cause, failure.Err)
	}
	return failure
}

// heldEntry is the entry of a job whose call is under way, with its latest revision.
type heldEntry struct {
	mu    sync.Mutex // Guards entry, until the lease is no longer kept.
	entry Entry
}

// keepLease renews the claim every third of the lease until ctx ends; then it closes the channel.
// When the claim is lost, the call is cut off.
func (r *Runner) keepLease(ctx context.Context, held *heldEntry, cancel context.CancelCauseFunc) <-chan struct{} {
	kept := make(chan struct{})
	lease := r.cfg.CallTimeout + leaseMargin
	go func() {
		defer close(kept)
		ticker := time.NewTicker(lease / 3)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if errors.Is(r.renew(ctx, held, lease), errLeaseLost) {
					cancel(errLeaseLost)
					return
				}
			}
		}
	}()
	return kept
}

// renew renews the claim.
func (r *Runner) renew(ctx context.Context, held *heldEntry, lease time.Duration) error {
	held.mu.Lock()
	defer held.mu.Unlock()
	entry := held.entry
	entry.Record.Claim = entry.Record.Claim.renewed(r.cfg.Now(), lease)
	renewed, err := r.write(ctx, entry)
	if err == nil {
		held.entry = renewed
	}
	return err
}

// save writes the record of a job that this worker has claimed. A write without an answer
// is repeated: the ledger may be choosing a new leader, and an attempt that is not
// recorded would be made again.
func (r *Runner) save(ctx context.Context, entry Entry) (Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, storePatience)
	defer cancel()
	for n := 1; ; n++ {
		saved, err := r.write(ctx, entry)
		if err == nil || errors.Is(err, errLeaseLost) {
			return saved, err
		}
		if backoff.Sleep(ctx, backoff.Delay(storePause, storePauseMost, n)) != nil {
			return Entry{}, err
		}
	}
}

// write updates the record of a claimed job. Intake may have joined events to it since
// it was read: those are taken over and the write is repeated. Any other change means
// that the claim is lost, unless it is our own write whose answer was lost.
func (r *Runner) write(ctx context.Context, entry Entry) (Entry, error) {
	for range maxRaces {
		writeCtx, cancel := context.WithTimeout(ctx, storeTimeout)
		saved, err := r.cfg.Ledger.Update(writeCtx, entry)
		cancel()
		if err == nil {
			return saved, nil
		}
		if !errors.Is(err, ErrConflict) {
			return Entry{}, fmt.Errorf("recording job %s: %w", entry.Record.JobID, err)
		}
		fresh, err := r.cfg.Ledger.Load(ctx, entry.Record.JobID)
		if err != nil {
			return Entry{}, fmt.Errorf("reading job %s again: %w", entry.Record.JobID, err)
		}
		if fresh.Record.sameStep(&entry.Record) {
			return fresh, nil
		}
		if !fresh.Record.Claim.sameHolder(Claim{Worker: r.cfg.Worker, Instance: r.cfg.Instance}) || fresh.Record.AttemptCount != entry.Record.AttemptCount {
			return Entry{}, fmt.Errorf("recording job %s: %w", entry.Record.JobID, errLeaseLost)
		}
		entry.Record.adopt(&fresh.Record)
		entry.Revision = fresh.Revision
	}
	return Entry{}, fmt.Errorf("recording job %s: %w", entry.Record.JobID, ErrConflict)
}
