package bus

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/kv"
)

// keepPace is how long the state of a rate bucket is kept.
const keepPace = 24 * time.Hour

// Pauses tells all workers until when a rate bucket of the API is closed, in the bucket
// <NAMESPACE>_PACE.
type Pauses struct {
	conn     *Conn
	names    Names
	replicas int
	bucket   atomic.Pointer[kv.Bucket[paceValue]]
}

type paceValue struct {
	PausedUntil time.Time `json:"paused_until"`
}

// errNotOpen says that the shared pauses were used before Open.
var errNotOpen = errors.New("the shared pauses are not open yet")

// NewPauses returns the shared pauses, which are of use after Open.
func NewPauses(c *Conn, names Names, replicas int) *Pauses {
	return &Pauses{conn: c, names: names, replicas: replicas}
}

// Open opens the bucket and creates it when it is missing.
func (p *Pauses) Open(ctx context.Context) error {
	bucket, err := kv.Open[paceValue](ctx, p.conn.js, kv.Config{
		Bucket: p.names.Pace(), Description: "Until when the API's rate buckets are closed.", TTL: keepPace, Replicas: p.replicas,
	})
	if err != nil {
		return err
	}
	p.bucket.Store(bucket)
	return nil
}

// Announce tells every worker that the bucket is closed until a moment. A pause only ever
// grows: an earlier end never replaces a later one.
func (p *Pauses) Announce(ctx context.Context, bucket string, until time.Time) error {
	pauses := p.bucket.Load()
	if pauses == nil {
		return errNotOpen
	}
	for {
		have, revision, err := pauses.Load(ctx, bucket)
		if err != nil && !errors.Is(err, jobs.ErrNotFound) {
			return err
		}
		if !until.After(have.PausedUntil) {
			return nil
		}
		_, err = pauses.Save(ctx, bucket, paceValue{PausedUntil: until}, revision)
		if !errors.Is(err, jobs.ErrConflict) {
			return err
		}
	}
}

// Watch calls changed for every bucket's pause, now and live, until ctx ends.
func (p *Pauses) Watch(ctx context.Context, changed func(bucket string, until time.Time)) error {
	pauses := p.bucket.Load()
	if pauses == nil {
		return errNotOpen
	}
	return pauses.Watch(ctx, ">", func(key string, v paceValue) { changed(key, v.PausedUntil) }, nil)
}
