package proof

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"rekey/internal/jobs"
)

// Announcer tells the world what is known of a target.
type Announcer interface {
	// AnnounceVerdict publishes the verdict of a concluded proof; its dead letter before that, where the job is not retried and the
	// target is alive. With maybeSent set, an earlier run may have done so: what was already published is not published twice.
	AnnounceVerdict(ctx context.Context, j jobs.Job, r jobs.Record, deadLetter, maybeSent bool) error
	// EnqueueCheck queues what looks at a dead target in case it is back. A copy is harmless.
	EnqueueCheck(ctx context.Context, j jobs.Job, r jobs.Record) error
}

// Repeater asks for a job under an identity: the same request once more makes no second one.
type Repeater interface {
	Repeat(ctx context.Context, id string, request map[string]any) error
}

// Retrier queues a job once more; a *jobs.Operator does.
type Retrier interface {
	Retry(ctx context.Context, id string, op jobs.Operation) (jobs.Record, error)
}

// Recorder counts verdicts.
type Recorder interface {
	// Proof counts a verdict, so long after the job was accepted. dead says that something shows that the target is dead.
	Proof(kind, verdict string, dead bool, d time.Duration)
	// TargetReverted counts a watched target that is back.
	TargetReverted(kind string)
}

// Config are the parts and settings of a Checker. All but Elsewhere are required.
type Config struct {
	Policy    func() Policy // As of now.
	Ledger    jobs.Ledger
	Reader    Reader
	Announcer Announcer
	Retrier   Retrier
	Repeater  Repeater
	Recorder  Recorder
	// Elsewhere reports whether another worker is to make a look that came due at a moment, as that of jobs.RunnerConfig. Nil: none is.
	Elsewhere func(ctx context.Context, j jobs.Job, due time.Time) (bool, error)
	Logger    *zap.Logger
	Now       func() time.Time // The time that all workers share, see internal/clock.
}

// Checker takes the proofs of jobs one look further.
type Checker struct {
	cfg Config
	log *zap.Logger
}

// New returns a Checker.
func New(cfg Config) *Checker { return &Checker{cfg: cfg, log: cfg.Logger.Named("proof")} }

const (
	// ahead is when a check is handed over again whose record a ledger with replicas does not have everywhere yet, and aheadPolls
	// how often until the record counts as missing.
	ahead      = time.Second
	aheadPolls = 8
	// worthNoting is how long the API's rate limit must hold up a look for the record to tell of it.
	worthNoting = 5 * time.Second
	// maxRaces bounds how often a write is repeated because another one came first.
	maxRaces = 10
	// storeTimeout bounds what follows a look: it is recorded and announced although the worker may be stopping.
	storeTimeout = 40 * time.Second
)

// Check takes the proof of a delivered job one step further. An error means that the ledger or the bus did not do their part; the
// message must be redelivered, and a look is made again.
func (c *Checker) Check(ctx context.Context, d jobs.Delivery) (jobs.Settlement, error) {
	entry, settlement, err := c.load(ctx, d)
	if err != nil || settlement != (jobs.Settlement{}) {
		return settlement, err
	}
	rec, now := &entry.Record, c.cfg.Now()
	switch {
	case rec.Proof.Verdict == jobs.VerdictReverted: // By this check, or by its watch. What was announced is not announced twice.
		return c.reverted(ctx, d.Job, rec, true)
	case rec.Proof.Verdict != jobs.VerdictPending:
		return c.conclude(ctx, d.Job, rec, true)
	case rec.Proof.NextCheckAt.IsZero(): // An operator has stopped it.
		return jobs.Settlement{Done: true}, nil
	case rec.Proof.NextCheckAt.After(now):
		return jobs.Settlement{Delay: rec.Proof.NextCheckAt.Sub(now)}, nil
	}
	if away, err := c.elsewhere(ctx, d.Job, rec); away || err != nil {
		return jobs.Settlement{Delay: jobs.ElsewhereDelay()}, err
	}
	return c.look(ctx, d.Job, entry)
}

// elsewhere reports whether another worker is to make the look that is due: one that does not know the account would find nothing.
func (c *Checker) elsewhere(ctx context.Context, job jobs.Job, rec *jobs.Record) (bool, error) {
	if c.cfg.Elsewhere == nil {
		return false, nil
	}
	return c.cfg.Elsewhere(ctx, job, rec.Proof.NextCheckAt)
}

// load loads the record of a delivered check. A settlement that is not zero says that there is nothing to do, or not yet.
func (c *Checker) load(ctx context.Context, d jobs.Delivery) (jobs.Entry, jobs.Settlement, error) {
	entry, err := c.cfg.Ledger.Load(ctx, d.Job.ID)
	missing := errors.Is(err, jobs.ErrNotFound)
	if err != nil && !missing {
		return entry, jobs.Settlement{}, fmt.Errorf("loading job %s: %w", d.Job.ID, err)
	}
	rec := &entry.Record
	switch {
	case missing, rec.Round < d.Job.Round, rec.Round == d.Job.Round && !rec.Done(): // A read that lags.
		return entry, jobs.Settlement{Done: d.Count > aheadPolls, Delay: ahead}, nil
	case rec.Round > d.Job.Round, rec.Proof == nil: // It was retried since, and has another check.
		return entry, jobs.Settlement{Done: true}, nil
	}
	return entry, jobs.Settlement{}, nil
}

// look looks at the target once, and records what that shows.
func (c *Checker) look(ctx context.Context, job jobs.Job, entry jobs.Entry) (jobs.Settlement, error) {
	policy, rec := c.cfg.Policy(), &entry.Record
	job.Search = rec.Search
	l := &look{checker: c, policy: policy, job: job, rec: rec, now: c.cfg.Now()}
	l.over = l.now.Sub(rec.FinishedAt) >= policy.Within
	l.read(ctx)
	l.done()
	if l.held() && l.now.Sub(rec.FinishedAt) < 2*policy.Within {
		l.over = false // A rate limit may take as long again.
	}
	if ctx.Err() != nil { // The worker stops; what failed for that is no finding.
		return jobs.Settlement{}, nil
	}
	if wait := l.heldUntil.Sub(l.now); wait > 0 && wait < worthNoting && !l.over {
		return jobs.Settlement{Delay: wait}, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	saved, err := c.write(ctx, entry, l.apply)
	if errors.Is(err, errOvertaken) {
		return jobs.Settlement{Delay: ahead}, nil
	}
	if err != nil {
		return jobs.Settlement{}, err
	}
	rec = &saved.Record
	if rec.Proof.Verdict == jobs.VerdictPending {
		return jobs.Settlement{Delay: max(rec.Proof.NextCheckAt.Sub(c.cfg.Now()), 0)}, nil
	}
	if rec.Proof.Verdict == jobs.VerdictReverted {
		return c.watched(ctx, job, rec)
	}
	c.concluded(rec)
	return c.conclude(ctx, job, rec, false)
}

// errOvertaken says that another look was made meanwhile, or that the job was retried.
var errOvertaken = errors.New("another look was made meanwhile")

// write changes a record, and repeats that where another writer came first.
func (c *Checker) write(ctx context.Context, entry jobs.Entry, apply func(*jobs.Record)) (jobs.Entry, error) {
	id, round, looks := entry.Record.JobID, entry.Record.Round, entry.Record.Proof.Checks
	for range maxRaces {
		apply(&entry.Record)
		saved, err := c.cfg.Ledger.Update(ctx, entry)
		if err == nil {
			return saved, nil
		}
		if !errors.Is(err, jobs.ErrConflict) {
			return jobs.Entry{}, fmt.Errorf("recording the proof of job %s: %w", id, err)
		}
		fresh, err := c.cfg.Ledger.Load(ctx, id)
		if err != nil {
			return jobs.Entry{}, fmt.Errorf("reading job %s again: %w", id, err)
		}
		if p := fresh.Record.Proof; fresh.Record.Round != round || p == nil || p.Checks != looks || p.NextCheckAt.IsZero() {
			return jobs.Entry{}, errOvertaken
		}
		entry = fresh
	}
	return jobs.Entry{}, fmt.Errorf("recording the proof of job %s: %w", id, jobs.ErrConflict)
}

// concluded counts and logs a verdict, once.
func (c *Checker) concluded(rec *jobs.Record) {
	verdict, took := rec.Proof.Verdict, rec.Proof.CheckedAt.Sub(rec.AcceptedAt)
	c.cfg.Recorder.Proof(string(rec.Kind), string(verdict), verdict.Dead(), took)
	line := []zap.Field{
		zap.String("job_id", rec.JobID), zap.String("kind", string(rec.Kind)), zap.String("target", rec.Target), zap.String("account", rec.Account),
		zap.String("verdict", string(verdict)), zap.Int("checks", rec.Proof.Checks), zap.Duration("duration", took), zap.String("says", rec.Proof.Why()),
	}
	if verdict.Alive() {
		c.log.Error("the target is alive", line...)
	} else {
		c.log.Info("proof concluded", line...)
	}
}

// conclude announces the verdict of a proof, and retries a job whose target is still alive where the policy says so.
func (c *Checker) conclude(ctx context.Context, job jobs.Job, rec *jobs.Record, maybeSent bool) (jobs.Settlement, error) {
	retry := c.cfg.Policy().retries(rec)
	if err := c.cfg.Announcer.AnnounceVerdict(ctx, job, *rec, !retry, maybeSent); err != nil {
		return jobs.Settlement{}, fmt.Errorf("announcing the verdict on job %s: %w", rec.JobID, err)
	}
	if rec.LookedAt() {
		if err := c.cfg.Announcer.EnqueueCheck(ctx, job, *rec); err != nil {
			return jobs.Settlement{}, fmt.Errorf("watching the target of job %s: %w", rec.JobID, err)
		}
	}
	if !retry {
		return jobs.Settlement{Done: true}, nil
	}
	op := jobs.Operation{Action: jobs.ActionRetry, By: jobs.ByProof, Reason: "the target is still alive: " + rec.Proof.Why()}
	_, err := c.cfg.Retrier.Retry(ctx, rec.JobID, op)
	if err != nil && !jobs.UnderWay(err) && !errors.Is(err, jobs.ErrSucceeded) {
		return jobs.Settlement{}, fmt.Errorf("retrying job %s, whose target is still alive: %w", rec.JobID, err)
	}
	return jobs.Settlement{Done: true}, nil
}
