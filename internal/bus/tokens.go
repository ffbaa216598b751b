package bus

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/kv"
	"rekey/internal/names"
)

// Tokens shares sealed bearer tokens between all workers, in the bucket <NAMESPACE>_TOKENS,
// which is in memory only.
type Tokens struct {
	conn     *Conn
	names    names.Names
	replicas int
	bucket   atomic.Pointer[kv.Bucket[SealedToken]]
}

// SealedToken is a bearer token that only workers can open, or that one of them fetches.
type SealedToken struct {
	Sealed       string    `json:"sealed,omitempty"`
	Expires      time.Time `json:"expires,omitzero"`
	Renew        time.Time `json:"renew,omitzero"`
	FetchedUntil time.Time `json:"fetched_until,omitzero"`
	// FetchedBy and Instance are the worker that fetches it, and its process.
	FetchedBy string `json:"fetched_by,omitempty"`
	Instance  string `json:"instance,omitempty"`
}

// NewTokens returns the shared tokens, which are of use after Open.
func NewTokens(c *Conn, names names.Names, replicas int) *Tokens {
	return &Tokens{conn: c, names: names, replicas: replicas}
}

// Open opens the bucket and creates it when it is missing.
func (t *Tokens) Open(ctx context.Context) error {
	bucket, err := kv.Open[SealedToken](ctx, t.conn.js, Bucket(t.names, t.names.Tokens(), t.replicas))
	if err != nil {
		return err
	}
	t.bucket.Store(bucket)
	return nil
}

// Find opens the bucket if it is there, and returns jobs.ErrNotFound if not. It makes none.
func (t *Tokens) Find(ctx context.Context) error {
	bucket, err := kv.Find[SealedToken](ctx, t.conn.js, t.names.Tokens())
	if err != nil {
		return err
	}
	t.bucket.Store(bucket)
	return nil
}

// Load returns the token of a key and its revision; the zero SealedToken and 0 when there is none.
func (t *Tokens) Load(ctx context.Context, key string) (SealedToken, uint64, error) {
	bucket := t.bucket.Load()
	if bucket == nil {
		return SealedToken{}, 0, errNotOpen
	}
	token, revision, err := bucket.Load(ctx, key)
	if errors.Is(err, jobs.ErrNotFound) {
		return SealedToken{}, 0, nil
	}
	return token, revision, err
}

// Save replaces the token of that revision and returns the new one, or 0 when another worker
// was faster.
func (t *Tokens) Save(ctx context.Context, key string, token SealedToken, revision uint64) (uint64, error) {
	bucket := t.bucket.Load()
	if bucket == nil {
		return 0, errNotOpen
	}
	saved, err := bucket.Save(ctx, key, token, revision)
	if errors.Is(err, jobs.ErrConflict) {
		return 0, nil
	}
	return saved, err
}
