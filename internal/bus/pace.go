package bus

import (
	"context"
	"errors"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/kv"
	"rekey/internal/pace"
)

// Pace shares the states of the API's rate buckets between all workers, in the bucket
// <NAMESPACE>_PACE. What it writes and sees tells the connection's clock the server's time.
type Pace struct {
	*kv.Store[pace.State]
	conn *Conn
}

// NewPace returns the shared states.
func NewPace(c *Conn) *Pace { return &Pace{Store: Store[pace.State](c, c.names.Pace()), conn: c} }

// Save replaces the state of that revision and returns the new one, or 0 when another worker
// was faster.
func (p *Pace) Save(ctx context.Context, key string, s pace.State, revision uint64) (uint64, error) {
	wrote := p.conn.clock.Begin()
	saved, err := p.Store.Save(ctx, key, s, revision)
	if errors.Is(err, jobs.ErrConflict) {
		return 0, nil
	}
	if err == nil {
		wrote(saved)
	}
	return saved, err
}

// Watch calls changed for the state of every rate bucket, now and live, and ready once between
// the two, until ctx ends.
func (p *Pace) Watch(ctx context.Context, changed func(key string, s pace.State, revision uint64), ready func()) error {
	return p.Store.Watch(ctx, func(e kv.Entry[pace.State]) {
		p.conn.clock.Saw(e.Revision, e.Stored)
		changed(e.Key, e.Value, e.Revision)
	}, ready)
}

// Clock says what must be added to this machine's clock to get the server's, on which the
// workers agree: something between the two.
func (p *Pace) Clock() (least, most time.Duration) { return p.conn.clock.Bounds() }
