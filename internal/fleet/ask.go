package fleet

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"rekey/internal/audit"
	"rekey/internal/bus"
	"rekey/internal/event"
	"rekey/internal/jobs"
	"rekey/internal/stores"
)

// Now is the time that the workers share.
func (c *Client) Now() time.Time { return c.conn.Clock().Now() }

// Ready reports, as an error, that NATS cannot be asked now.
func (c *Client) Ready() error { return c.conn.Ready() }

// Explain names, in an error of JetStream, what is missing.
func (c *Client) Explain(err error) error { return c.conn.Explain(err) }

// Job returns the record of a job, or jobs.ErrNotFound.
func (c *Client) Job(ctx context.Context, id string) (jobs.PublicRecord, error) {
	return c.ledger.Find(ctx, id)
}

// FollowJobs calls changed for each change of a job after a revision, until ctx ends.
func (c *Client) FollowJobs(ctx context.Context, revision uint64, changed func(jobs.PublicRecord)) error {
	return c.ledger.Follow(ctx, revision, changed)
}

// StoredDeadLetters returns the latest dead letters as the stream has them, the latest first: what is done to them must not go by a
// cache.
func (c *Client) StoredDeadLetters(ctx context.Context, limit int) ([]bus.DeadLetter, error) {
	letters, err := bus.OpenDeadLetters(ctx, c.conn)
	if err != nil {
		return nil, err
	}
	return letters.List(ctx, limit)
}

// DeadLetter returns one dead letter, or jobs.ErrNotFound.
func (c *Client) DeadLetter(ctx context.Context, number uint64) (bus.DeadLetter, error) {
	letters, err := bus.OpenDeadLetters(ctx, c.conn)
	if err != nil {
		return bus.DeadLetter{}, err
	}
	letter, err := letters.Show(ctx, number)
	if err != nil {
		return letter, fmt.Errorf("dead letter %d: %w", number, err)
	}
	c.Settle(ctx, &letter)
	return letter, nil
}

// Settle notes on a dead letter that its job has succeeded since. What may not be read is not said.
func (c *Client) Settle(ctx context.Context, d *bus.DeadLetter) {
	if d.JobID == "" {
		return
	}
	if r, err := c.ledger.Find(ctx, d.JobID); err == nil {
		d.SettleWith(c.conn.Names(), r.Outcome, r.Verdict())
	}
}

// Published says where an event is stored.
type Published struct {
	Subject string `json:"subject"`
	Seq     uint64 `json:"seq"`
	// Duplicate says that nothing was stored: Seq is that of an event which had the same id just before.
	Duplicate bool `json:"duplicate,omitempty"`
}

// Publish stores a payload as an event of a class. id, when not empty, is its Nats-Msg-Id. A payload that no configuration makes an event is
// refused, as a *jobs.Malformed: it would be a dead letter at once.
func (c *Client) Publish(ctx context.Context, class string, data []byte, id string) (Published, error) {
	if err := event.Unreadable(c.conn.Names(), event.Message{Subject: c.conn.Names().Event(class), Data: data, Seq: 1, At: c.Now()}); err != nil {
		return Published{}, err
	}
	stored, err := c.conn.PublishRaw(ctx, class, data, id)
	return Published{Subject: c.conn.Names().Event(class), Seq: stored.Seq, Duplicate: stored.Duplicate}, err
}

// EachResult calls do for each result since a moment, and returns how long the stream keeps results.
func (c *Client) EachResult(ctx context.Context, since time.Time, do func(audit.Result) error) (time.Duration, error) {
	return c.conn.EachResult(ctx, since, do)
}

// ChainEnds returns what workers have noted of the ends of their chains of results.
func (c *Client) ChainEnds(ctx context.Context) (audit.Ends, error) {
	return stores.NewChains(c.conn, zap.NewNop()).Ends(ctx)
}
