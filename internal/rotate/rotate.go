package rotate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"rekey/internal/deliver"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/secret"
)

// API is what a rotation asks the API, as the account of its job. Errors are a *jobs.Failure.
type API interface {
	Ask(ctx context.Context, job jobs.Job, a kinds.Ask) (kinds.Told, error)
	// Works reports whether a credential works, and when that was by the API's clock. A token that it gets is revoked at once.
	Works(ctx context.Context, job jobs.Job, l kinds.Login) (works bool, at time.Time, err error)
}

// Accounts knows the configured accounts of the worker itself, by their client id or public key.
type Accounts interface {
	// Behind are those that authenticate with another secret than this one.
	Behind(identity string, value secret.Value) []string
	// Uses are those that authenticate with a secret, or may do so.
	Uses(identity string, held kinds.HeldSecret) []string
	// Own are the secrets with which they authenticate now.
	Own(identity string) []secret.Value
}

// Recorder counts what becomes of rotations.
type Recorder interface {
	// Rotation counts a result.
	Rotation(rotation, result string)
}

// What becomes of a full account, and of an old secret that is in use as its end nears.
const (
	WhenFullWait   = "wait"          // The rotation waits until a slot is free.
	WhenFullDelete = "delete_unused" // The older secret is deleted once it was unused for QuietFor.
	OverdueAlert   = "alert"         // The rotation goes on waiting.
	OverdueDelete  = "delete"        // The old secret is deleted before it ends by itself.
)

// Spec is a configured rotation.
type Spec struct {
	Name string
	Kind jobs.Kind // Of its jobs.
	// In is the parameter that says where what is rotated is, and Place its value.
	In, Place string
	// Subject is what is rotated: the client id of a service account, or the id of an API key.
	Subject  string
	Lifetime time.Duration // Of the new secret, in whole hours. Of no meaning where it has no end.
	QuietFor time.Duration // How long the old secret must have been unused before it is deleted.
	WhenFull string
	Overdue  string
	Stores   []deliver.Store
}

// Config are the parts of a Rotator. All are required but Random.
type Config struct {
	Specs    func() map[string]Spec // As of now, by their names.
	API      API
	Accounts Accounts
	Sealer   jobs.Sealer
	Recorder Recorder
	Logger   *zap.Logger
	Now      func() time.Time // The time that all workers share, see internal/clock.
	Random   func(n int) int  // In [0, n); default math/rand.
}

// Rotator takes rotations further. It implements jobs.Rotator.
type Rotator struct {
	cfg Config
	log *zap.Logger
}

var _ jobs.Rotator = (*Rotator)(nil)

// New returns a Rotator.
func New(cfg Config) *Rotator {
	if cfg.Random == nil {
		cfg.Random = rand.IntN
	}
	return &Rotator{cfg: cfg, log: cfg.Logger.Named("rotate")}
}

// pass is one pass of one rotation.
type pass struct {
	*Rotator

	jobs.RotationPass

	spec    Spec
	rotates *kinds.Rotates
	keeper  kinds.Keeper // How the API keeps the credentials: all that differs between kinds.
	one     string       // What is rotated, as texts call it.
	answer  jobs.Answer  // Of the last request that changed something.
}

// wait is how long a pass that has done all it can waits; zero: the next one follows at once.
type wait = time.Duration

// step is what is done in one step.
type step func(ctx context.Context) (wait, error)

// ended is the end of a rotation, on its way up through the steps.
type ended struct {
	outcome jobs.Outcome
	detail  string
}

// Error says how it ended.
func (e *ended) Error() string { return string(e.outcome) + ": " + e.detail }

// Rotate takes the rotation one step further.
func (r *Rotator) Rotate(ctx context.Context, p jobs.RotationPass) (jobs.RotationResult, error) {
	s, err := r.newPass(p)
	if err != nil {
		return jobs.RotationResult{}, err
	}
	if p.Job.DryRun {
		return s.rehearse(ctx)
	}
	if s.State.Rotation == nil {
		if err := s.open(ctx); err != nil {
			return jobs.RotationResult{}, err
		}
	}
	if p.Abandon == "" {
		return s.conclude(s.step()(ctx))
	}
	w, err := s.abandon(ctx)
	if why, ok := errors.AsType[*kept](err); ok {
		return s.keepOn(ctx, why)
	}
	return s.conclude(w, err)
}

// newPass finds the rotation of a job, and that it is about what it was about when it began.
func (r *Rotator) newPass(p jobs.RotationPass) (*pass, error) {
	name := p.Job.Params.Get(kinds.ParamRotation)
	if p.State.Rotation != nil {
		name = p.State.Name
	}
	spec, ok := r.cfg.Specs()[name]
	if !ok {
		return nil, misconfigured("rotation %s is not configured any more: configure it again, or abandon the rotation there", name)
	}
	rotates := kinds.Of(p.Job.Kind).Rotates
	if rotates == nil {
		return nil, misconfigured("jobs of kind %s rotate nothing", p.Job.Kind)
	}
	if have := p.State.Rotation; spec.Kind != p.Job.Kind || have != nil && (have.Subject != spec.Subject || have.In != spec.In || have.Place != spec.Place) {
		return nil, misconfigured("rotation %s began with another %s than it is configured for now: put that back until it is over", name, rotates.Words.Subject)
	}
	keeper, ok := rotates.Keeper(spec.In, spec.Place, spec.Subject)
	if !ok {
		return nil, misconfigured("jobs of kind %s do not rotate what %s names", p.Job.Kind, spec.In)
	}
	return &pass{Rotator: r, RotationPass: p, spec: spec, rotates: rotates, keeper: keeper, one: rotates.Words.One}, nil
}

func misconfigured(format string, args ...any) error {
	return &jobs.Failure{Reason: jobs.ReasonConfig, Err: fmt.Errorf(format, args...)}
}

// open begins the record of the rotation.
func (s *pass) open(ctx context.Context) error {
	s.State.Rotation = &jobs.Rotation{
		Name: s.spec.Name, In: s.spec.In, Place: s.spec.Place, Subject: s.spec.Subject, Seen: map[string]jobs.SeenSecret{},
	}
	s.count(resultBegun)
	s.State.Begin(jobs.StepLook, s.now(), s.willLook())
	return s.keep(ctx)
}

// willLook says what is done first.
func (s *pass) willLook() string {
	return fmt.Sprintf("reads which %s there are, and the longest lifetime that is allowed", s.rotates.Words.Many)
}

// step is what is to be done now.
func (s *pass) step() step {
	switch s.State.Step {
	case jobs.StepLook:
		return s.look
	case jobs.StepRoom:
		return s.room
	case jobs.StepCreate:
		return s.create
	case jobs.StepDeliver:
		return s.deliver
	case jobs.StepProve:
		return s.prove
	case jobs.StepAdopt:
		return s.adopt
	case jobs.StepDelete:
		return s.remove
	case jobs.StepVerify:
		return s.verify
	case jobs.StepAbandon: // The operator's wish was taken back, or is not recorded any more.
		return s.resume
	}
	return func(context.Context) (wait, error) {
		return 0, misconfigured("this release of Rekey does not know the step %q of the rotation", s.State.Step)
	}
}

// conclude turns what came of a step into the result of the pass.
func (s *pass) conclude(w wait, err error) (jobs.RotationResult, error) {
	result := jobs.RotationResult{Wait: w, Answer: s.answer}
	if s.answer.Method == "" {
		result.Answer.Unchanged = true
	}
	end, over := errors.AsType[*ended](err)
	if !over {
		return result, err
	}
	result.Outcome, result.Detail = end.outcome, end.detail
	return result, nil
}

// advance ends the step that is under way and begins the next one. Both are recorded before anything else is done.
func (s *pass) advance(ctx context.Context, says string, next jobs.RotationStep, will string) (wait, error) {
	now := s.now()
	s.State.End(now, says)
	s.State.Begin(next, now, will)
	s.log.Info("rotation step", zap.String("job_id", s.Job.ID), zap.String("rotation", s.State.Name), zap.String("step", string(next)), zap.String("says", says))
	return 0, s.keep(ctx)
}

// hold says what the step waits for.
func (s *pass) hold(ctx context.Context, w wait, what string) (wait, error) {
	s.State.Wait(s.now(), what)
	return w, s.keep(ctx)
}

// keep records the state. Without that, nothing may go on.
func (s *pass) keep(ctx context.Context) error {
	if err := s.Keep(ctx, s.State); err != nil {
		return &jobs.Failure{Reason: jobs.ReasonInterrupted, Err: err}
	}
	return nil
}

func (s *pass) now() time.Time { return s.cfg.Now() }

// Bounds of how often a waiting rotation looks, and of how long a secret of unknown origin is watched.
const (
	leastPoll, mostPoll   = 250 * time.Millisecond, 15 * time.Minute
	leastWatch, mostWatch = time.Second, 10 * time.Minute
)

// poll is how long a waiting rotation waits until its next look.
func (s *pass) poll() time.Duration {
	const looks = 16 // In the time that the old secret must be unused.
	return min(max(s.spec.QuietFor/looks, leastPoll), mostPoll)
}

// watch is how long a secret that may be an orphan must stay unused.
func (s *pass) watch() time.Duration {
	const share = 4
	return min(max(s.spec.QuietFor/share, leastWatch), mostWatch)
}
