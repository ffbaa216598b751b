// Package kv is a typed view of a JetStream key-value bucket: JSON values, compare-and-set
// writes, and the domain's own errors.
package kv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/jobs"
)

// Config names a bucket.
type Config struct {
	Bucket      string
	Description string
	TTL         time.Duration // How long a value is kept after its last write; zero is for ever.
	Replicas    int           // Default 1.
	// Memory keeps the values in memory only: they are never on a disk, and gone with the server.
	Memory bool
}

// Bucket is a bucket whose values are JSON of a T.
type Bucket[T any] struct {
	kv jetstream.KeyValue
}

// Open returns the bucket and creates it when it is missing. One that exists with other
// limits is used as it stands.
func Open[T any](ctx context.Context, js jetstream.JetStream, cfg Config) (*Bucket[T], error) {
	kv, err := js.KeyValue(ctx, cfg.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		storage := jetstream.FileStorage
		if cfg.Memory {
			storage = jetstream.MemoryStorage
		}
		kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: cfg.Bucket, Description: cfg.Description, TTL: cfg.TTL, Replicas: max(cfg.Replicas, 1),
			History: 1, Storage: storage,
		})
		if errors.Is(err, jetstream.ErrBucketExists) { // Another worker was faster.
			kv, err = js.KeyValue(ctx, cfg.Bucket)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("opening the bucket %s: %w", cfg.Bucket, err)
	}
	return &Bucket[T]{kv: kv}, nil
}

// Find returns the bucket, or jobs.ErrNotFound when it is missing. It makes none.
func Find[T any](ctx context.Context, js jetstream.JetStream, name string) (*Bucket[T], error) {
	kv, err := js.KeyValue(ctx, name)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, jobs.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("opening the bucket %s: %w", name, err)
	}
	return &Bucket[T]{kv: kv}, nil
}

// Load returns the value of key and its revision, or jobs.ErrNotFound, also for what no key can be.
func (b *Bucket[T]) Load(ctx context.Context, key string) (T, uint64, error) {
	var value T
	entry, err := b.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
		return value, 0, jobs.ErrNotFound
	}
	if err != nil {
		return value, 0, fmt.Errorf("reading key %s: %w", key, err)
	}
	if err := json.Unmarshal(entry.Value(), &value); err != nil {
		return value, 0, fmt.Errorf("decoding key %s: %w", key, err)
	}
	return value, entry.Revision(), nil
}

// Save writes the value of key when revision is still its latest (0: when there is none)
// and returns the new revision, or jobs.ErrConflict.
func (b *Bucket[T]) Save(ctx context.Context, key string, value T, revision uint64) (uint64, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return 0, fmt.Errorf("encoding key %s: %w", key, err)
	}
	if revision == 0 {
		revision, err = b.kv.Create(ctx, key, data)
	} else {
		revision, err = b.kv.Update(ctx, key, data, revision)
	}
	if isConflict(err) {
		return 0, jobs.ErrConflict
	}
	if err != nil {
		return 0, fmt.Errorf("writing key %s: %w", key, err)
	}
	return revision, nil
}

// Age is how long ago the latest value of key was written, by the server's own clock, or
// jobs.ErrConflict when revision is not the latest.
func (b *Bucket[T]) Age(ctx context.Context, key string, revision uint64) (time.Duration, error) {
	entry, err := b.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) || err == nil && entry.Revision() != revision {
		return 0, jobs.ErrConflict
	}
	if err != nil {
		return 0, fmt.Errorf("reading key %s: %w", key, err)
	}
	status, err := b.kv.Status(ctx)
	if err != nil {
		return 0, fmt.Errorf("asking for the time of %s: %w", b.kv.Bucket(), err)
	}
	stream, ok := status.(*jetstream.KeyValueBucketStatus)
	if !ok {
		return 0, fmt.Errorf("asking for the time of %s: it is kept in no stream", b.kv.Bucket())
	}
	return stream.StreamInfo().TimeStamp.Sub(entry.Created()), nil
}

// Put writes the value of key whatever stands there.
func (b *Bucket[T]) Put(ctx context.Context, key string, value T) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encoding key %s: %w", key, err)
	}
	if _, err := b.kv.Put(ctx, key, data); err != nil {
		return fmt.Errorf("writing key %s: %w", key, err)
	}
	return nil
}

// isConflict recognises a write that came too late: of a key that exists, or over
// another revision.
func isConflict(err error) bool {
	if errors.Is(err, jetstream.ErrKeyExists) {
		return true
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	// A replicated stream answers with a code of its own.
	return ok && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// Watch calls found for every key below the pattern (">" for all): first for the values
// that stand there, then live until ctx ends. known, when not nil, is called once between
// the two. A value that cannot be decoded ends the watch.
func (b *Bucket[T]) Watch(ctx context.Context, pattern string, found func(key string, value T), known func()) error {
	return b.watch(ctx, pattern, func(e Entry[T]) { found(e.Key, e.Value) }, known, jetstream.IgnoreDeletes())
}

// Entry is a value as it stands in the bucket.
type Entry[T any] struct {
	Key      string
	Value    T
	Revision uint64
	Stored   time.Time // When it was, on the server's clock.
}

// WatchEntries is Watch with all that is known of each value.
func (b *Bucket[T]) WatchEntries(ctx context.Context, pattern string, found func(Entry[T]), known func()) error {
	return b.watch(ctx, pattern, found, known, jetstream.IgnoreDeletes())
}

// Follow calls found for every key that is written after a revision, in order, until ctx
// ends. What was written over meanwhile is passed over. A value that cannot be decoded ends
// it.
func (b *Bucket[T]) Follow(ctx context.Context, revision uint64, found func(key string, value T)) error {
	return b.watch(ctx, ">", func(e Entry[T]) { found(e.Key, e.Value) }, nil, jetstream.IgnoreDeletes(), jetstream.ResumeFromRevision(revision+1))
}

func (b *Bucket[T]) watch(
	ctx context.Context, pattern string, found func(Entry[T]), known func(), opts ...jetstream.WatchOpt,
) error {
	watcher, err := b.kv.Watch(ctx, pattern, opts...)
	if err != nil {
		return fmt.Errorf("watching %s: %w", b.kv.Bucket(), err)
	}
	defer watcher.Stop() //nolint:errcheck // The watch is over; its subscription dies with ctx or connection.
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case entry, ok := <-watcher.Updates():
			if !ok && ctx.Err() != nil { // The watcher saw the end of ctx first.
				return context.Cause(ctx)
			}
			if !ok {
				return fmt.Errorf("watching %s: the watch ended", b.kv.Bucket())
			}
			if entry == nil {
				if known != nil {
					known()
				}
				continue
			}
			var value T
			if err := json.Unmarshal(entry.Value(), &value); err != nil {
				return fmt.Errorf("decoding key %s of %s: %w", entry.Key(), b.kv.Bucket(), err)
			}
			found(Entry[T]{Key: entry.Key(), Value: value, Revision: entry.Revision(), Stored: entry.Created()})
		}
	}
}

// All returns every value.
func (b *Bucket[T]) All(ctx context.Context) (map[string]T, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	all := map[string]T{}
	complete := errors.New("complete")
	err := b.Watch(ctx, ">", func(key string, value T) { all[key] = value }, func() { cancel(complete) })
	if !errors.Is(err, complete) {
		return nil, err
	}
	return all, nil
}
