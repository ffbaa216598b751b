package bus

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/kv"
	"rekey/internal/names"
	"rekey/internal/pace"
)

// Pace shares the states of the API's rate buckets between all workers, in the bucket
// <NAMESPACE>_PACE. What it writes and sees tells the connection's clock the server's time.
type Pace struct {
	conn     *Conn
	names    names.Names
	replicas int
	bucket   atomic.Pointer[kv.Bucket[pace.State]]
}

// errNotOpen says that the shared state was used before Open.
var errNotOpen = errors.New("the shared state of the rate buckets is not open yet")

// NewPace returns the shared state, which is of use after Open.
func NewPace(c *Conn, names names.Names, replicas int) *Pace {
	return &Pace{conn: c, names: names, replicas: replicas}
}

// Open opens the bucket and creates it when it is missing.
func (p *Pace) Open(ctx context.Context) error {
	bucket, err := kv.Open[pace.State](ctx, p.conn.js, Bucket(p.names, p.names.Pace(), p.replicas))
	if err != nil {
		return err
	}
	p.bucket.Store(bucket)
	return nil
}

// Load returns the state of a rate bucket and its revision; the zero State and 0 when there is none.
func (p *Pace) Load(ctx context.Context, key string) (pace.State, uint64, error) {
	bucket := p.bucket.Load()
	if bucket == nil {
		return pace.State{}, 0, errNotOpen
	}
	state, revision, err := bucket.Load(ctx, key)
	if errors.Is(err, jobs.ErrNotFound) {
		return pace.State{}, 0, nil
	}
	return state, revision, err
}

// Save replaces the state of that revision and returns the new one, or 0 when another worker
// was faster.
func (p *Pace) Save(ctx context.Context, key string, s pace.State, revision uint64) (uint64, error) {
	bucket := p.bucket.Load()
	if bucket == nil {
		return 0, errNotOpen
	}
	wrote := p.conn.clock.Begin()
	saved, err := bucket.Save(ctx, key, s, revision)
	if errors.Is(err, jobs.ErrConflict) {
		return 0, nil
	}
	if err == nil {
		wrote(saved)
	}
	return saved, err
}

// Watch calls changed for the state of every rate bucket, now and live, and known once between
// the two, until ctx ends.
func (p *Pace) Watch(ctx context.Context, changed func(key string, s pace.State, revision uint64), known func()) error {
	bucket := p.bucket.Load()
	if bucket == nil {
		return errNotOpen
	}
	return bucket.Watch(ctx, func(e kv.Entry[pace.State]) {
		p.conn.clock.Saw(e.Revision, e.Stored)
		changed(e.Key, e.Value, e.Revision)
	}, known)
}

// All returns the states of all rate buckets.
func (p *Pace) All(ctx context.Context) (map[string]pace.State, error) {
	bucket := p.bucket.Load()
	if bucket == nil {
		return nil, errNotOpen
	}
	return bucket.All(ctx)
}

// Clock says what must be added to this machine's clock to get the server's, on which the
// workers agree: something between the two.
func (p *Pace) Clock() (least, most time.Duration) { return p.conn.clock.Bounds() }
