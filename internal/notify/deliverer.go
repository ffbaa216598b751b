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

// State is what is remembered of a receiver, of a notification that a receiver has refused, or of the incident of a target at a
// pager. It holds no secret.
type State struct {
	Failures    int       `json:"failures,omitempty"` // In a row, of a receiver; all, of a notification.
	RetryAt     time.Time `json:"retry_at,omitzero"`  // Not before this moment.
	FailedAt    time.Time `json:"failed_at,omitzero"` // When the latest failure was.
	Error       string    `json:"error,omitempty"`    // What it was.
	DeliveredAt time.Time `json:"delivered_at,omitzero"`
	Opened      string    `json:"opened,omitempty"`   // Of an incident: what opened it; empty when it is closed.
	Sequence    uint64    `json:"sequence,omitempty"` // Of an incident: the latest result that opened or closed it.
}

// Store keeps states over restarts, for all workers. The bus implements it.
type Store interface {
	// Load returns the state under a key and its revision, or a zero one.
	Load(ctx context.Context, key string) (State, uint64, error)
	// Save writes a state over its revision and returns the new one, or jobs.ErrConflict.
	Save(ctx context.Context, key string, s State, revision uint64) (uint64, error)
}

// DeadLetters takes what is given up.
type DeadLetters interface {
	// Add stores a dead letter.
	Add(ctx context.Context, l DeadLetter) error
}

// Recorder counts notifications.
type Recorder interface {
	Notified(receiver, result string)
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
	CodeExhausted = "exhausted" // It got too old while the receiver was down.
	CodeRefused   = "refused"   // The receiver refused it until its attempts were spent.
	CodeGone      = "gone"      // The receiver wants nothing any more.
	CodeMalformed = "malformed" // The template fails, or it is no result.
)

// DeadLetter is a notification that was given up.
type DeadLetter struct {
	Delivery Delivery
	Receiver string
	Code     string
	Reason   string
	JobID    string
	Kind     jobs.Kind
}

// Delivery is a result as it was handed over for a receiver.
type Delivery struct {
	Data     []byte
	Key      string    // Names the delivery among those of its receiver, the same each time.
	Sequence uint64    // Its place among the results; 0 where Again is set.
	Since    time.Time // When it was stored; its age counts from there.
	Count    uint64    // How often it was handed over; 1 is the first time.
	Again    bool      // An operator has it sent once more, whatever the filter says by now.
}

// goneFor is how long nothing is sent to a receiver that has said that it is gone.
const goneFor = time.Hour

// noteDelivery is how old the moment of the last delivery may get in the store.
const noteDelivery = 10 * time.Second

// maxRaces is how often a write is attempted that others are faster with.
const maxRaces = 10

// Config is what a Deliverer is made of.
type Config struct {
	Receiver    Receiver
	Sender      *Sender
	Store       Store
	DeadLetters DeadLetters
	Recorder    Recorder
	Logger      *zap.Logger
	Now         func() time.Time // The time that all workers share, see internal/clock; default time.Now.
}

// Deliverer takes notifications to one receiver. What it knows is in the store: any number of them, in
// any number of workers, may serve the same receiver.
type Deliverer struct {
	Config
	composer *Composer
	log      *zap.Logger
}

// NewDeliverer returns the Deliverer of a receiver.
func NewDeliverer(cfg Config) (*Deliverer, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	composer, err := NewComposer(&cfg.Receiver)
	if err != nil {
		return nil, fmt.Errorf("receiver %s: %w", cfg.Receiver.Name, err)
	}
	if err := cfg.Receiver.Retry.Validate(); err != nil {
		return nil, fmt.Errorf("receiver %s: %w", cfg.Receiver.Name, err)
	}
	return &Deliverer{Config: cfg, composer: composer, log: cfg.Logger.Named("notify").With(zap.String("receiver", cfg.Receiver.Name))}, nil
}

// ReceiverKey is where the state of a receiver is in the store.
func ReceiverKey(name string) string { return "receiver." + name }

func (c *Deliverer) messageKey(d *Delivery) string { return "message." + c.Receiver.Name + "." + d.Key }

// Capacity says how many notifications may be taken now, and if none, how long to wait. After a failure
// one alone finds out whether the receiver is back.
func (c *Deliverer) Capacity(ctx context.Context) (capacity int, wait time.Duration, err error) {
	state, _, err := c.Store.Load(ctx, ReceiverKey(c.Receiver.Name))
	switch wait := state.RetryAt.Sub(c.Now()); {
	case err != nil:
		return 0, 0, err
	case wait > 0:
		return 0, wait, nil
	case state.Failures > 0:
		return 1, 0, nil
	}
	return c.Receiver.parallel(), 0, nil
}

// Deliver takes one notification a step further. With an error it is redelivered.
func (c *Deliverer) Deliver(ctx context.Context, d Delivery) (jobs.Settlement, error) {
	result, err := ReadResult(d.Data)
	if err != nil {
		return c.giveUp(ctx, d, &result, CodeMalformed, err)
	}
	if !d.Again && !c.Receiver.wants(&result) {
		return jobs.Settlement{Done: true}, nil
	}
	receiver, message, err := c.states(ctx, &d)
	if err != nil {
		return jobs.Settlement{}, err
	}
	now := c.Now()
	if due := later(receiver.RetryAt, message.RetryAt); now.Before(due) {
		return jobs.Settlement{Delay: due.Sub(now)}, nil // It came early.
	}
	action := ActionNone
	if c.Receiver.Type.Pages() {
		var settlement jobs.Settlement
		if action, settlement, err = c.incident(ctx, &d, &result); err != nil || action == ActionNone {
			return settlement, err
		}
	}
	settlement, err := c.attempt(ctx, &d, &result, action, receiver, message)
	if err == nil && settlement.Done && action != ActionNone {
		c.release(ctx, &d, &result)
	}
	return settlement, err
}

// attempt sends a notification, unless it is too old.
func (c *Deliverer) attempt(ctx context.Context, d *Delivery, result *Result, action Action, receiver, message stored) (jobs.Settlement, error) {
	if !c.Now().Before(d.Since.Add(c.Receiver.Retry.MaxAge)) {
		return c.giveUp(ctx, *d, result, CodeExhausted, tooOld(c.Receiver.Retry.MaxAge, cmp.Or(message.Error, receiver.Error)))
	}
	m, err := c.composer.Compose(result, action)
	if err != nil {
		return c.giveUp(ctx, *d, result, CodeMalformed, err)
	}
	_, err = c.Sender.Send(ctx, &c.Receiver, m)
	failure, failed := errors.AsType[*Failure](err)
	if failed && failure.Class != ClassPartly {
		return c.failed(ctx, *d, result, receiver, message, failure)
	}
	if failed {
		c.log.Warn("some recipients refused the mail; the others have it", zap.String("job_id", result.record.JobID), zap.Error(failure))
	}
	c.delivered(ctx, result, receiver)
	return jobs.Settlement{Done: true}, nil
}

// stored is a state as it is in the store.
type stored struct {
	State
	revision uint64
}

// states loads what is known of the receiver and of the notification.
func (c *Deliverer) states(ctx context.Context, d *Delivery) (receiver, message stored, err error) {
	if receiver, err = c.load(ctx, ReceiverKey(c.Receiver.Name)); err != nil {
		return receiver, message, err
	}
	if d.Count > 1 { // Of one that comes for the first time nothing is known.
		message, err = c.load(ctx, c.messageKey(d))
	}
	return receiver, message, err
}

func (c *Deliverer) load(ctx context.Context, key string) (stored, error) {
	state, revision, err := c.Store.Load(ctx, key)
	return stored{State: state, revision: revision}, err
}

// delivered notes that a notification arrived. It is not sent again because that cannot be noted,
// and what was noted meanwhile about another one, such as a wait, stays.
func (c *Deliverer) delivered(ctx context.Context, r *Result, receiver stored) {
	c.Recorder.Notified(c.Receiver.Name, ResultDelivered)
	c.log.Debug("notification delivered", zap.String("job_id", r.record.JobID))
	now := c.Now()
	if receiver.Failures > 0 {
		c.log.Info("the receiver takes notifications again", zap.Int("failures", receiver.Failures))
	} else if now.Sub(receiver.DeliveredAt) < noteDelivery {
		return
	}
	receiver.Failures, receiver.RetryAt, receiver.DeliveredAt = 0, time.Time{}, now.UTC()
	_, err := c.Store.Save(ctx, ReceiverKey(c.Receiver.Name), receiver.State, receiver.revision)
	if err != nil && !errors.Is(err, jobs.ErrConflict) {
		c.log.Warn("noting that the receiver takes notifications", zap.Error(err))
	}
}

// failed decides what becomes of a notification after an attempt that did not work.
func (c *Deliverer) failed(ctx context.Context, d Delivery, r *Result, receiver, message stored, f *Failure) (jobs.Settlement, error) {
	if ctx.Err() != nil {
		return jobs.Settlement{}, nil //nolint:nilerr // We were stopped; that says nothing of the receiver.
	}
	now := c.Now()
	if !f.RetryAt.IsZero() {
		f.RetryAt = now.Add(time.Until(f.RetryAt))
	}
	s := next(c.Receiver.Retry, now, d, receiver.State, message.State, f, rand.Float64()) //nolint:gosec // The jitter of a delay needs no cryptographic randomness.
	c.logFailure(r, receiver.State, f, s)
	if err := c.noteFailure(ctx, s.receiver, receiver.revision, f.Class); err != nil {
		return jobs.Settlement{}, err
	}
	if s.code != "" {
		return c.giveUp(ctx, d, r, s.code, s.why)
	}
	c.Recorder.Notified(c.Receiver.Name, ResultFailed)
	if f.Class == ClassRefused {
		if _, err := c.Store.Save(ctx, c.messageKey(&d), s.message, message.revision); err != nil {
			return jobs.Settlement{}, err
		}
	}
	return jobs.Settlement{Delay: s.at.Sub(now)}, nil
}

// noteFailure writes the state of a receiver after a failure. What others found out meanwhile is joined
// to it: the longest wait counts.
func (c *Deliverer) noteFailure(ctx context.Context, state State, revision uint64, class Class) error {
	key := ReceiverKey(c.Receiver.Name)
	for range maxRaces {
		_, err := c.Store.Save(ctx, key, state, revision)
		if !errors.Is(err, jobs.ErrConflict) {
			return err
		}
		if class == ClassRefused {
			return nil // That says little of the receiver.
		}
		fresh, err := c.load(ctx, key)
		if err != nil {
			return err
		}
		state.Failures, state.RetryAt = max(state.Failures, fresh.Failures), later(state.RetryAt, fresh.RetryAt)
		state.DeliveredAt, revision = later(state.DeliveredAt, fresh.DeliveredAt), fresh.revision
	}
	return fmt.Errorf("noting that the receiver fails: %w", jobs.ErrConflict)
}

// logFailure logs a failure: loudly when it is news.
func (c *Deliverer) logFailure(r *Result, receiver State, f *Failure, s step) {
	fields := []zap.Field{zap.String("job_id", r.record.JobID), zap.Time("retry_at", s.at), zap.Error(f)}
	switch {
	case f.Class == ClassGone:
		c.log.Error("the receiver says that it is gone: take it out of the configuration or give it another address", fields...)
	case f.Class == ClassUnavailable && receiver.Failures == 0:
		c.log.Warn("the receiver takes no notifications; they wait for it", fields...)
	default:
		c.log.Debug("notification not delivered", fields...)
	}
}

// giveUp makes a dead letter of a notification.
func (c *Deliverer) giveUp(ctx context.Context, d Delivery, r *Result, code string, why error) (jobs.Settlement, error) {
	err := c.DeadLetters.Add(ctx, DeadLetter{
		Delivery: d, Receiver: c.Receiver.Name, Code: code, Reason: why.Error(), JobID: r.record.JobID, Kind: r.record.Kind,
	})
	if err != nil {
		return jobs.Settlement{}, err
	}
	c.Recorder.Notified(c.Receiver.Name, ResultGivenUp)
	c.log.Error("notification given up: it is among the dead letters",
		zap.String("job_id", r.record.JobID), zap.String("code", code), zap.Error(why))
	return jobs.Settlement{Done: true}, nil
}
