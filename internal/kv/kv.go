// Package kv is a typed view of a JetStream key-value bucket: JSON values, compare-and-set
// writes, and the domain's own errors.
package kv

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/backoff"
	"rekey/internal/direct"
	"rekey/internal/jobs"
)

// Config names a bucket.
type Config struct {
	Bucket      string
	Description string
	TTL         time.Duration // How long a value is kept after its last write; zero: without a limit.
	Replicas    int           // Default 1.
	// Memory keeps the values in memory only: they are never on a disk, and gone with the server.
	Memory bool
}

// Bucket is a bucket whose values are JSON of a T.
type Bucket[T any] struct {
	kv jetstream.KeyValue
	js jetstream.JetStream
}

// duplicateWindow is that of a bucket's stream; revisions tell copies apart there.
const duplicateWindow = 2 * time.Minute

// Stream is the stream that keeps the bucket, as every client of NATS makes it but for one thing: it takes no roll-ups.
// A client that may write one key could remove all others with a header.
func (c Config) Stream() jetstream.StreamConfig {
	storage := jetstream.FileStorage
	if c.Memory {
		storage = jetstream.MemoryStorage
	}
	window := duplicateWindow
	if c.TTL > 0 {
		window = min(window, c.TTL)
	}
	return jetstream.StreamConfig{
		Name: "KV_" + c.Bucket, Description: c.Description, Subjects: []string{"$KV." + c.Bucket + ".>"}, MaxAge: c.TTL,
		Storage: storage, Replicas: max(c.Replicas, 1), Discard: jetstream.DiscardNew, Duplicates: window,
		MaxMsgsPerSubject: 1, MaxMsgs: -1, MaxBytes: -1, MaxMsgSize: -1, MaxConsumers: -1,
		DenyDelete: true, AllowDirect: true,
	}
}

// Open returns the bucket and creates it when it is missing. One that exists with other
// limits is used as it is.
func Open[T any](ctx context.Context, js jetstream.JetStream, cfg Config) (*Bucket[T], error) {
	kv, err := js.KeyValue(ctx, cfg.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		_, err = js.CreateStream(ctx, cfg.Stream())
		if err == nil || errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // Another worker was faster.
			kv, err = js.KeyValue(ctx, cfg.Bucket)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("opening the bucket %s: %w", cfg.Bucket, err)
	}
	return &Bucket[T]{kv: kv, js: js}, nil
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
	return &Bucket[T]{kv: kv, js: js}, nil
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

// Put writes the value of key, whatever its revision.
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

// Entry is a value of the bucket with its key and revision.
type Entry[T any] struct {
	Key      string
	Value    T
	Revision uint64
	Stored   time.Time // When it was, on the server's clock.
}

// Watch calls found for every key: first for the values that are there, then live until ctx ends. known is called once
// between the two. A value that cannot be decoded ends the watch. It makes a consumer, for which only workers have the
// permission; others Follow.
func (b *Bucket[T]) Watch(ctx context.Context, found func(Entry[T]), known func()) error {
	watcher, err := b.kv.WatchAll(ctx, jetstream.IgnoreDeletes())
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
				known()
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

// read calls found for the values of a key ("" for all) that were written after a revision, in their latest revision, in order.
// A replica that has not got to the revision until yet is waited for.
func (b *Bucket[T]) read(ctx context.Context, key string, after, until uint64, found func(Entry[T]) error) error {
	prefix := "$KV." + b.kv.Bucket() + "."
	query := direct.Query{Stream: "KV_" + b.kv.Bucket(), Subject: prefix + cmp.Or(key, ">"), From: after + 1, Until: until}
	_, err := direct.Read(ctx, b.js, query, func(m direct.Message) error {
		if m.Header.Get("KV-Operation") != "" {
			return nil // It was deleted.
		}
		entry := Entry[T]{Key: strings.TrimPrefix(m.Subject, prefix), Revision: m.Seq, Stored: m.At}
		if err := json.Unmarshal(m.Data, &entry.Value); err != nil {
			return &undecodableError{fmt.Errorf("decoding key %s of %s: %w", entry.Key, b.kv.Bucket(), err)}
		}
		return found(entry)
	})
	return err
}

// undecodableError says that a value is not what it should be.
type undecodableError struct{ error }

// How a bucket is followed.
const (
	followEvery    = 250 * time.Millisecond // Between two looks.
	followPatience = 30 * time.Second       // So long it may fail: servers restart.
)

// Follow calls found for every value of a key ("" for all) that is written after a revision, in order, until ctx ends.
// What was written over between two looks is passed over. A value that cannot be decoded ends it.
func (b *Bucket[T]) Follow(ctx context.Context, key string, after uint64, found func(Entry[T])) error {
	for well := time.Now(); ; {
		err := b.read(ctx, key, after, 0, func(e Entry[T]) error {
			found(e)
			after = e.Revision
			return nil
		})
		_, undecodable := errors.AsType[*undecodableError](err)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			well = time.Now()
		case undecodable, time.Since(well) > followPatience:
			return fmt.Errorf("following %s: %w", b.kv.Bucket(), err)
		}
		if err := backoff.Sleep(ctx, followEvery); err != nil {
			return err
		}
	}
}

// All returns every value.
func (b *Bucket[T]) All(ctx context.Context) (map[string]T, error) {
	at, err := direct.PositionOf(ctx, b.js, "KV_"+b.kv.Bucket())
	if err != nil {
		return nil, err
	}
	all := map[string]T{}
	err = b.read(ctx, "", 0, at.Reached(), func(e Entry[T]) error {
		all[e.Key] = e.Value
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}
