package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"rekey/internal/jobs"
)

// State is what is remembered of a target, or of a notification that a target has refused. It holds
// no secret.
type State struct {
	Failures    int       `json:"failures,omitempty"` // In a row, of a target; all, of a notification.
	RetryAt     time.Time `json:"retry_at,omitzero"`  // Not before this moment.
	FailedAt    time.Time `json:"failed_at,omitzero"` // When the latest failure was.
	Error       string    `json:"error,omitempty"`    // What it was.
	DeliveredAt time.Time `json:"delivered_at,omitzero"`
}

// Store keeps states over restarts, for all workers. The bus implements it.
type Store interface {
	// Load returns the state under a key and its revision, or a zero one.
	Load(ctx context.Context, key string) (State, uint64, error)
	// Save writes a state over its revision, or returns jobs.ErrConflict.
	Save(ctx context.Context, key string, s State, revision uint64) error
}

// Letters takes what is given up.
type Letters interface {
	Bury(ctx context.Context, l Letter) error
}

// Recorder counts notifications.
type Recorder interface {
	Notified(target, result string)
}

// The results of rekey_notifications_total.
const (
	ResultDelivered = "delivered"
	ResultFailed    = "failed"   // An attempt that did not work; another one follows.
	ResultGivenUp   = "given_up" // It is a dead letter now.
)

// Results lists the results of notifications.
func Results() []string { return []string{ResultDelivered, ResultFailed, ResultGivenUp} }

// The codes of notifications that are given up.
const (
	CodeExhausted = "exhausted" // It got too old while the target was down.
	CodeRefused   = "refused"   // The target refused it until its attempts were spent.
	CodeGone      = "gone"      // The target wants nothing any more.
	CodeMalformed = "malformed" // The template fails, or it is no result.
)

// Letter is a notification that was given up.
type Letter struct {
	Delivery Delivery
	Target   string
	Code     string
	Reason   string
	JobID    string
	Kind     jobs.Kind
}

// Delivery is a result as it was handed over for a target.
type Delivery struct {
	Data  []byte
	Key   string    // Names the delivery among those of its target, the same each time.
	Since time.Time // When it was stored; its age counts from there.
	Count uint64    // How often it was handed over; 1 is the first time.
	Again bool      // An operator has it sent once more, whatever the filter says by now.
}

// goneFor is how long nothing is sent to a target that has said that it is gone.
const goneFor = time.Hour

// noteDelivery is how old the moment of the last delivery may get in the store.
const noteDelivery = 10 * time.Second

// maxRaces is how often a write is attempted that others are faster with.
const maxRaces = 10

// Config is what a Courier is made of.
type Config struct {
	Target   Target
	Sender   *Sender
	Store    Store
	Letters  Letters
	Recorder Recorder
	Logger   *zap.Logger
	Now      func() time.Time // The time that all workers share, see internal/clock; default time.Now.
}

// Courier takes notifications to one target. What it knows is in the store: any number of them, in
// any number of workers, may serve the same target.
type Courier struct {
	Config
	composer *Composer
	log      *zap.Logger
}

// NewCourier returns the Courier of a target.
func NewCourier(cfg Config) (*Courier, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	composer, err := NewComposer(cfg.Target.Type, cfg.Target.Template)
	if err != nil {
		return nil, fmt.Errorf("target %s: %w", cfg.Target.Name, err)
	}
	if err := cfg.Target.Retry.Validate(); err != nil {
		return nil, fmt.Errorf("target %s: %w", cfg.Target.Name, err)
	}
	return &Courier{Config: cfg, composer: composer, log: cfg.Logger.Named("notify").With(zap.String("target", cfg.Target.Name))}, nil
}

// TargetKey is where the state of a target stands in the store.
func TargetKey(name string) string { return "target." + name }

func (c *Courier) messageKey(d *Delivery) string { return "message." + c.Target.Name + "." + d.Key }

// Room says how many notifications may be taken now, and if none, how long to wait. After a failure
// one alone finds out whether the target is back.
func (c *Courier) Room(ctx context.Context) (room int, wait time.Duration, err error) {
	state, _, err := c.Store.Load(ctx, TargetKey(c.Target.Name))
	switch wait := state.RetryAt.Sub(c.Now()); {
	case err != nil:
		return 0, 0, err
	case wait > 0:
		return 0, wait, nil
	case state.Failures > 0:
		return 1, 0, nil
	}
	return c.Target.parallel(), 0, nil
}

// Deliver takes one notification a step further. With an error it comes again.
func (c *Courier) Deliver(ctx context.Context, d Delivery) (jobs.Settlement, error) {
	result, err := ReadResult(d.Data)
	if err != nil {
		return c.giveUp(ctx, d, &result, CodeMalformed, err)
	}
	if !d.Again && !c.Target.Filter.Matches(&result.record) {
		return jobs.Settlement{Done: true}, nil
	}
	target, message, err := c.standings(ctx, &d)
	if err != nil {
		return jobs.Settlement{}, err
	}
	now := c.Now()
	if due := later(target.RetryAt, message.RetryAt); now.Before(due) {
		return jobs.Settlement{Delay: due.Sub(now)}, nil // It came early.
	}
	if !now.Before(d.Since.Add(c.Target.Retry.MaxAge)) {
		return c.giveUp(ctx, d, &result, CodeExhausted, tooOld(c.Target.Retry.MaxAge, cmp.Or(message.Error, target.Error)))
	}
	m, err := c.composer.Compose(&result)
	if err != nil {
		return c.giveUp(ctx, d, &result, CodeMalformed, err)
	}
	_, err = c.Sender.Send(ctx, &c.Target, m)
	if failure, ok := errors.AsType[*Failure](err); ok {
		return c.failed(ctx, d, &result, target, message, failure)
	}
	c.delivered(ctx, &result, target)
	return jobs.Settlement{Done: true}, nil
}

// standing is a state as it stands in the store.
type standing struct {
	State
	revision uint64
}

// standings loads what is known of the target and of the notification.
func (c *Courier) standings(ctx context.Context, d *Delivery) (target, message standing, err error) {
	if target, err = c.load(ctx, TargetKey(c.Target.Name)); err != nil {
		return target, message, err
	}
	if d.Count > 1 { // Of one that comes for the first time nothing is known.
		message, err = c.load(ctx, c.messageKey(d))
	}
	return target, message, err
}

func (c *Courier) load(ctx context.Context, key string) (standing, error) {
	state, revision, err := c.Store.Load(ctx, key)
	return standing{State: state, revision: revision}, err
}

// delivered notes that a notification arrived. It is not sent again because that cannot be noted,
// and what was noted meanwhile about another one, such as a wait, stays.
func (c *Courier) delivered(ctx context.Context, r *Result, target standing) {
	c.Recorder.Notified(c.Target.Name, ResultDelivered)
	c.log.Debug("notification delivered", zap.String("job_id", r.record.JobID))
	now := c.Now()
	if target.Failures > 0 {
		c.log.Info("the target takes notifications again", zap.Int("failures", target.Failures))
	} else if now.Sub(target.DeliveredAt) < noteDelivery {
		return
	}
	target.Failures, target.RetryAt, target.DeliveredAt = 0, time.Time{}, now.UTC()
	err := c.Store.Save(ctx, TargetKey(c.Target.Name), target.State, target.revision)
	if err != nil && !errors.Is(err, jobs.ErrConflict) {
		c.log.Warn("noting that the target takes notifications", zap.Error(err))
	}
}

// failed decides what becomes of a notification after an attempt that did not work.
func (c *Courier) failed(ctx context.Context, d Delivery, r *Result, target, message standing, f *Failure) (jobs.Settlement, error) {
	if ctx.Err() != nil {
		return jobs.Settlement{}, nil //nolint:nilerr // We were stopped; that says nothing of the target.
	}
	now := c.Now()
	if !f.RetryAt.IsZero() {
		f.RetryAt = now.Add(time.Until(f.RetryAt))
	}
	s := next(c.Target.Retry, now, d, target.State, message.State, f, rand.Float64()) //nolint:gosec // The jitter of a delay needs no cryptographic randomness.
	c.tell(r, target.State, f, s)
	if err := c.noteFailure(ctx, s.target, target.revision, f.Class); err != nil {
		return jobs.Settlement{}, err
	}
	if s.code != "" {
		return c.giveUp(ctx, d, r, s.code, s.why)
	}
	c.Recorder.Notified(c.Target.Name, ResultFailed)
	if f.Class == ClassRefused {
		if err := c.Store.Save(ctx, c.messageKey(&d), s.message, message.revision); err != nil {
			return jobs.Settlement{}, err
		}
	}
	return jobs.Settlement{Delay: s.at.Sub(now)}, nil
}

// noteFailure writes how a target stands after a failure. What others found out meanwhile is joined
// to it: the longest wait counts.
func (c *Courier) noteFailure(ctx context.Context, state State, revision uint64, class Class) error {
	key := TargetKey(c.Target.Name)
	for range maxRaces {
		err := c.Store.Save(ctx, key, state, revision)
		if !errors.Is(err, jobs.ErrConflict) {
			return err
		}
		if class == ClassRefused {
			return nil // That says little of the target.
		}
		fresh, err := c.load(ctx, key)
		if err != nil {
			return err
		}
		state.Failures, state.RetryAt = max(state.Failures, fresh.Failures), later(state.RetryAt, fresh.RetryAt)
		state.DeliveredAt, revision = later(state.DeliveredAt, fresh.DeliveredAt), fresh.revision
	}
	return fmt.Errorf("noting that the target fails: %w", jobs.ErrConflict)
}

// tell logs a failure: loudly when it is news.
func (c *Courier) tell(r *Result, target State, f *Failure, s step) {
	fields := []zap.Field{zap.String("job_id", r.record.JobID), zap.Time("retry_at", s.at), zap.Error(f)}
	switch {
	case f.Class == ClassGone:
		c.log.Error("the target says that it is gone: take it out of the configuration or give it another address", fields...)
	case f.Class == ClassUnavailable && target.Failures == 0:
		c.log.Warn("the target takes no notifications; they wait for it", fields...)
	default:
		c.log.Debug("notification not delivered", fields...)
	}
}

// giveUp makes a dead letter of a notification.
func (c *Courier) giveUp(ctx context.Context, d Delivery, r *Result, code string, why error) (jobs.Settlement, error) {
	err := c.Letters.Bury(ctx, Letter{
		Delivery: d, Target: c.Target.Name, Code: code, Reason: why.Error(), JobID: r.record.JobID, Kind: r.record.Kind,
	})
	if err != nil {
		return jobs.Settlement{}, err
	}
	c.Recorder.Notified(c.Target.Name, ResultGivenUp)
	c.log.Error("notification given up: it is among the dead letters",
		zap.String("job_id", r.record.JobID), zap.String("code", code), zap.Error(why))
	return jobs.Settlement{Done: true}, nil
}
