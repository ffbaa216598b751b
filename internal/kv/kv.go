// Package kv is a typed view of a JetStream key-value bucket: JSON values, compare-and-set
// writes, and the domain's own errors.
package kv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/jobs"
)

// ErrUndecodable says that a value is not what it should be.
var ErrUndecodable = errors.New("decoding")

// Config names a bucket.
type Config struct {
	Bucket      string
	Description string
	TTL         time.Duration // How long a value is kept after its last write; 0: without a limit.
	Replicas    int           // Default 1.
	// Memory keeps the values in memory only: they are never on a disk, and gone with the server.
	Memory bool
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

// Store is a bucket whose values are JSON of a T. It is opened when it is first used. While the bucket is missing, nothing
// is stored; only a write makes it. A Store may be used by several goroutines at once.
type Store[T any] struct {
	js  jetstream.JetStream
	cfg Config

	mu sync.Mutex // Guards kv.
	kv jetstream.KeyValue
}

// New returns a store. It makes no request.
func New[T any](js jetstream.JetStream, cfg Config) *Store[T] { return &Store[T]{js: js, cfg: cfg} }

// open returns the bucket, or nil where it is missing.
func (s *Store[T]) open(ctx context.Context) (jetstream.KeyValue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kv != nil {
		return s.kv, nil
	}
	kv, err := s.js.KeyValue(ctx, s.cfg.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening the bucket %s: %w", s.cfg.Bucket, err)
	}
	s.kv = kv
	return kv, nil
}

// ensure returns the bucket and makes it where it is missing. One that exists with other limits is used as it is.
func (s *Store[T]) ensure(ctx context.Context) (jetstream.KeyValue, error) {
	kv, err := s.open(ctx)
	if kv != nil || err != nil {
		return kv, err
	}
	_, err = s.js.CreateStream(ctx, s.cfg.Stream())
	if err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // Then another worker was faster.
		return nil, fmt.Errorf("making the bucket %s: %w", s.cfg.Bucket, err)
	}
	if kv, err = s.open(ctx); kv == nil && err == nil {
		err = fmt.Errorf("making the bucket %s: %w", s.cfg.Bucket, jetstream.ErrBucketNotFound)
	}
	return kv, err
}

// Look reports, as an error, why the bucket cannot be used. One that is missing can.
func (s *Store[T]) Look(ctx context.Context) error {
	_, err := s.open(ctx)
	return err
}

// Load returns the value of key and its revision; the zero value and revision 0 where there is none, also for what no key
// can be.
func (s *Store[T]) Load(ctx context.Context, key string) (T, uint64, error) {
	var value T
	kv, err := s.open(ctx)
	if kv == nil {
		return value, 0, err
	}
	entry, err := kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
		return value, 0, nil
	}
	if err != nil {
		return value, 0, fmt.Errorf("reading key %s: %w", key, err)
	}
	if err := json.Unmarshal(entry.Value(), &value); err != nil {
		return value, 0, fmt.Errorf("%w key %s: %w", ErrUndecodable, key, err)
	}
	return value, entry.Revision(), nil
}

// Save writes the value of key when revision is still its latest (0: when there is none) and returns the new revision.
// The error is jobs.ErrConflict when it is not.
func (s *Store[T]) Save(ctx context.Context, key string, value T, revision uint64) (uint64, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return 0, fmt.Errorf("encoding key %s: %w", key, err)
	}
	kv, err := s.ensure(ctx)
	if err != nil {
		return 0, err
	}
	if revision == 0 {
		revision, err = kv.Create(ctx, key, data)
	} else {
		revision, err = kv.Update(ctx, key, data, revision)
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
func (s *Store[T]) Age(ctx context.Context, key string, revision uint64) (time.Duration, error) {
	kv, err := s.open(ctx)
	if err != nil {
		return 0, err
	}
	if kv == nil {
		return 0, jobs.ErrConflict
	}
	entry, err := kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) || err == nil && entry.Revision() != revision {
		return 0, jobs.ErrConflict
	}
	if err != nil {
		return 0, fmt.Errorf("reading key %s: %w", key, err)
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return 0, fmt.Errorf("asking for the time of %s: %w", s.cfg.Bucket, err)
	}
	stream, ok := status.(*jetstream.KeyValueBucketStatus)
	if !ok {
		return 0, fmt.Errorf("asking for the time of %s: it is kept in no stream", s.cfg.Bucket)
	}
	return stream.StreamInfo().TimeStamp.Sub(entry.Created()), nil
}

// Put writes the value of key, whatever it was.
func (s *Store[T]) Put(ctx context.Context, key string, value T) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encoding key %s: %w", key, err)
	}
	kv, err := s.ensure(ctx)
	if err != nil {
		return err
	}
	if _, err := kv.Put(ctx, key, data); err != nil {
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
